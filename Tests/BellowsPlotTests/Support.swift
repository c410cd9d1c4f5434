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
