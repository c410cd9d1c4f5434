import Foundation
import Testing

/// Says that a test could not do its work, loudly; where everything must be there (CI), that is a failure.
func skip(_ missing: String, _ location: SourceLocation = #_sourceLocation) {
  if ProcessInfo.processInfo.environment["CI"] == "true" {
    Issue.record("this test needs \(missing)", sourceLocation: location)
  } else {
    FileHandle.standardError.write(Data("SKIPPED, for want of \(missing): \(location)\n".utf8))
  }
}

/// A folder that goes away with its owner.
final class TemporaryFolder: Sendable {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/bellows-cli-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ bytes: [UInt8], to name: String, mode: Int = 0o644) throws {
    let file = URL(fileURLWithPath: "\(path)/\(name)")
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
  }

  func write(_ text: String, to name: String, mode: Int = 0o644) throws {
    try write(Array(text.utf8), to: name, mode: mode)
  }

  func copy(_ source: String, to name: String) throws {
    try write(Array(try Data(contentsOf: URL(fileURLWithPath: source))), to: name, mode: 0o755)
  }
}
