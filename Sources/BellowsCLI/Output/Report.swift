import ArgumentParser
import Glibc

/// The last word on what went wrong: a message on stderr, and the exit status.
enum Report {
  /// Runs a command's work and ends the tool by what it throws.
  static func errors(_ body: () throws -> Void) throws {
    do { try body() } catch let error as TargetError {
      StandardError.error(error.message)
      throw ExitCode(error.status)
    }
  }
}
