import ArgumentParser
import Foundation
import Testing

@testable import BellowsCLI

/// The help texts as files, so that a change to them is seen and read.
///
/// BELLOWS_GOLDEN=write makes them anew.
@Suite struct HelpTests {
  private static let commands: [any ParsableCommand.Type] = [
    RunCommand.self, DoctorCommand.self, LsCommand.self, ChCommand.self, TrimCommand.self, LimitCommand.self,
    StatCommand.self, TopCommand.self, StressCommand.self, RecordCommand.self,
    NumaCommand.self,
  ]

  @Test(arguments: ["bellows"] + commands.map { $0.configuration.commandName ?? "" })
  func helpIsAsRecorded(name: String) throws {
    let command = Self.commands.first { $0.configuration.commandName == name }
    let text =
      command.map { BellowsCommand.helpMessage(for: $0, columns: 80) }
      ?? BellowsCommand.helpMessage(columns: 80)
    let path = Fixtures.tests.appending("Golden").appending("\(name).txt").string
    if ProcessInfo.processInfo.environment["BELLOWS_GOLDEN"] == "write" {
      try (text + "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text + "\n")
    #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 })
  }
}
