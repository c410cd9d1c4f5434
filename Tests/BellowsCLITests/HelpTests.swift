import ArgumentParser
import Foundation
import Testing

@testable import BellowsCLI

/// The help texts as files, so that a change to them is seen and read.
///
/// BELLOWS_GOLDEN=write makes them anew.
@Suite struct HelpTests {
  @Test(arguments: ["bellows", "run", "doctor"]) func helpIsAsRecorded(name: String) throws {
    let text =
      switch name {
      case "run": BellowsCommand.helpMessage(for: RunCommand.self, columns: 80)
      case "doctor": BellowsCommand.helpMessage(for: DoctorCommand.self, columns: 80)
      default: BellowsCommand.helpMessage(columns: 80)
      }
    let path = Fixtures.tests.appending("Golden").appending("\(name).txt").string
    if ProcessInfo.processInfo.environment["BELLOWS_GOLDEN"] == "write" {
      try (text + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text + "\n")
    #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
  }
}
