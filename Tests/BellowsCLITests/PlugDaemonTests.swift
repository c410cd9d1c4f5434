import Foundation
import Testing

/// A program of Examples, which is built beside the tests.
private func example(_ name: String) -> String {
  URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    .appendingPathComponent(name).path
}

/// The example that follows a requested size by sub-blocks, as a program of its own.
@Suite("Plug daemon") struct PlugDaemonTests {
  private struct Status: Decodable {
    struct Reason: Decodable {
      var reason: String
      var subBlocks: Int
      var usedPages: Int
    }
    var requested: Int
    var plugged: Int
    var state: String
    var reasons: [Reason]
    var retryIn: Int
  }

  /// What the daemon reports for these commands, line by line.
  private func reports(_ commands: String..., options: [String] = []) throws -> [Status] {
    let program = example("plug-daemon")
    let result = try Child(
      [program] + options, environment: [:], input: commands.joined(separator: "\n") + "\n"
    ).wait()
    #expect(result.status == 0 && !result.isSignal, "\(result.errors)")
    return try result.output.split(separator: "\n").map {
      try JSONDecoder().decode(Status.self, from: Data($0.utf8))
    }
  }

  @Test func row1hPluggedMemoryConvergesToTheTarget() throws {
    let reports = try reports("resize 300", "status", "resize 20", "status", "resize 0")
    #expect(reports.map(\.plugged) == [300, 300, 20, 20, 0])
    #expect(reports.allSatisfy { $0.state == "done" && $0.reasons.isEmpty && $0.retryIn == 0 })
  }

  @Test func row1hAShortfallIsReportedWithItsReasons() throws {
    let reports = try reports(
      "resize 200", "use 150", "resize 64", "drop", "retry", "status", "resize 900",
      options: ["--capacity", "256"])
    try #require(reports.count == 5)
    #expect(reports[0].plugged == 200)
    // 150 MiB are in use: what was free went, and the rest is tried again later.
    #expect(reports[1].plugged == 150 && reports[1].state == "again" && reports[1].retryIn > 0)
    #expect(reports[1].reasons.map(\.reason) == ["in use"])
    #expect(reports[1].reasons.first?.subBlocks == 75 && reports[1].reasons.first?.usedPages == 75 * 512)
    #expect(reports[2].plugged == 64 && reports[2].state == "done")
    #expect(reports[4].plugged == 252 && reports[4].reasons.map(\.reason) == ["no memory"])
  }

  @Test func delaysDouble() throws {
    let reports = try reports(
      "resize 10", "use 10", "resize 0", "retry", "retry", "retry", "retry", options: ["--retry", "10000"])
    let delays = reports.dropFirst().map { ($0.retryIn + 5000) / 10000 }
    #expect(delays == [1, 2, 4, 6, 6])
  }

  @Test func anOutdatedRequestIsNotFoughtFor() throws {
    let reports = try reports("resize 400", "resize 8", "status")
    #expect(reports.map(\.plugged) == [8, 8], "the first was given up at once")
  }
}

/// The example of a page balloon.
@Suite("Page balloon example") struct PageBalloonExampleTests {
  @Test func residentFollowsTheBalloon() throws {
    let result = try Child([example("page-balloon")], environment: [:]).wait()
    #expect(result.status == 0, "\(result.errors)")
    let figures = result.output.split(separator: "\n").filter { $0.hasPrefix("  held") }
    #expect(
      figures.prefix(2) == [
        "  held 126 MiB, managed 0 MiB, resident 2 MiB", "  held 94 MiB, managed 32 MiB, resident 34 MiB",
      ])
    #expect(figures.count == 5)
  }
}
