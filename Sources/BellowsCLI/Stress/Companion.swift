// The files that the tool brings along: the workload program and the recorder. They lie beside the tool where it is
// built, and in lib/bellows where it is installed.

import Glibc
import SystemPackage

/// A file of the tool's own.
struct Companion {
  /// The file's name.
  let name: String
  /// The variable of the environment that names another one.
  let variable: String

  /// The program that does what a scenario says.
  static let workload = Companion(name: "bellows-workload", variable: "BELLOWS_WORKLOAD")
  /// The library that records allocations.
  static let recorder = Companion(name: "libbellows-record.so", variable: "BELLOWS_RECORDER")

  /// Finds the file.
  func find(_ environment: [String: String]) throws(StressFailure) -> String {
    if let named = environment[variable], !named.isEmpty {
      guard unsafe access(named, R_OK) == 0 else {
        throw StressFailure(message: "\(variable) names \(named), which cannot be read.")
      }
      return Launch.resolved(named)
    }
    let own = FilePath(Launch.ownFolder)
    let near = own.removingLastComponent()
    let places = [
      own.appending(name), near.appending("lib/bellows").appending(name),
      near.appending("libexec/bellows").appending(name),
    ].map(\.string)
    guard let found = places.first(where: { unsafe access($0, R_OK) == 0 }) else {
      throw StressFailure(
        message: "\(name) was not found. Looked for:\n  \(places.joined(separator: "\n  "))\n"
          + "Build it with `swift build`, or name it with \(variable).")
    }
    return found
  }
}
