// Runs the scenarios of Fixtures twice at the same time, once as they are and once with Bellows preloaded into
// everything that they start, each in an empty folder of its own and with the same small environment.

import Foundation
import Testing

enum Lab {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  static let fixtures = root.appending(path: "Tests/BellowsProgramTests/Fixtures")

  /// The library under test.
  static let library =
    ProcessInfo.processInfo.environment["BELLOWS_LIB"]
    ?? root.appending(path: ".build/release/libbellows-malloc.so").path(percentEncoded: false)

  /// Where a missing tool is a failure, not a reason to skip.
  static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"
  /// The long variants of `make soak`.
  static let isSoak = ProcessInfo.processInfo.environment["BELLOWS_SOAK"] == "1"

  static let searchPath: String = {
    let inherited = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return ["/usr/bin", "/bin", "/opt/swift/usr/bin", inherited].joined(separator: ":")
  }()

  static func find(_ name: String) -> String? {
    let candidates = name.hasPrefix("/") ? [name] : searchPath.split(separator: ":").map { "\($0)/\(name)" }
    return candidates.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// What of the library and the named programs is not on this machine.
  static func missing(_ names: [String]) -> [String] {
    let programs = (names + ["cc", "bash"]).filter { find($0) == nil }
    return FileManager.default.fileExists(atPath: library) ? programs : [library] + programs
  }

  /// The program that measures the others, compiled once for all tests.
  static let measure = Task<String, any Error> {
    let folder = try makeFolder("measure")
    let path = folder.appending(path: "measure").path(percentEncoded: false)
    let source = fixtures.appending(path: "measure.c").path(percentEncoded: false)
    let compiler = Process()
    compiler.executableURL = URL(filePath: try #require(find("cc")))
    compiler.arguments = ["-O2", "-Wall", "-Wextra", "-Werror", "-o", path, source]
    let status = try await compiler.runToEnd()
    try #require(status == 0, "measure.c does not compile")
    return path
  }

  /// Everything that the tests write is in here, and goes when the test process ends.
  static let scratch: URL = {
    atexit { try? FileManager.default.removeItem(at: Lab.scratch) }
    return FileManager.default.temporaryDirectory
      .appending(path: "bellows-programs-\(ProcessInfo.processInfo.processIdentifier)")
  }()

  static func makeFolder(_ name: String) throws -> URL {
    let folder = scratch.appending(path: name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }
}

extension Process {
  /// Starts the process and gives its status when it has ended, without holding a thread meanwhile.
  func runToEnd() async throws -> Int32 {
    standardInput = FileHandle.nullDevice
    return try await withCheckedThrowingContinuation { continuation in
      terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
      do { try run() } catch { continuation.resume(throwing: error) }
    }
  }
}

extension Trait where Self == ConditionTrait {
  /// Skips the test, with the reason, where a program or the library is missing; on CI that is a failure.
  static func needs(_ names: String...) -> Self {
    let missing = Lab.missing(names)
    return .enabled(
      if: missing.isEmpty || Lab.isCI, "not on this machine: \(missing.joined(separator: ", "))")
  }
}
