import ArgumentParser
import CTool
import Glibc

/// The last word on what went wrong: a message on stderr, and the exit status.
enum Report {
  /// Runs a command's work and ends the tool by what it throws.
  static func errors(_ body: () throws -> Void) throws {
    do { try body() } catch let error as TargetError {
      StandardError.error(error.message)
      // Who waits for the tool is to see what ended it.
      if case .interrupted(_, let signal) = error { bellows_interruption_follow(signal) }
      throw ExitCode(error.status)
    }
  }
}
