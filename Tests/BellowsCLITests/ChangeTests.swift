import Bellows
import Foundation
import Glibc
import Testing

@testable import BellowsCLI

/// `bellows ch` on live processes under the library.
@Suite struct ChangeTests {
  private struct Report: Decodable {
    struct Blocker: Decodable {
      let kind: String
      let detail: Int
      let count: Int
      let bytes: Int
    }
    let schema: Int
    let status: String
    let changed: Int
    let wanted: Int
    let returned: Int
    let online: Int
    let offline: Int
    let blockers: [Blocker]
  }

  private let section = 128 << 20

  private func change(_ target: Target, status: Int32, _ options: String...) throws -> Report {
    let command = [Bench.tool, "ch", "--json", target.name] + options
    let result = try Child(command, environment: Bench.environment()).wait()
    #expect(result.status == status, "\(result)")
    return try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
  }

  private func states(_ target: Target) throws -> [String: Int] {
    let result = try Bench.bellows("ls", "-a", "-n", "-r", "-o", "STATE,SIZE", "--summary=never", target.name)
    return result.output.split(separator: "\n").reduce(into: [:]) {
      $0[String($1.split(separator: " ")[0]), default: 0] += 1
    }
  }

  /// Free sections of an idle process go, their memory with them, and come back empty.
  @Test func offlineAndOnlineBySize() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "300", run: ["--control", "--purge-delay", "600000"])
    #expect(try states(target) == ["online": 3])
    let before = target.resident
    let gone = try change(target, status: 0, "--offline", "256M")
    #expect(gone.status == "done" && gone.changed == 2 * section && gone.blockers.isEmpty)
    #expect(gone.online == section && gone.offline == 2 * section)
    #expect(gone.returned > 150 << 20 && target.resident < before - 150 << 20)
    #expect(try states(target) == ["online": 1, "offline": 2])
    // A number alone counts MiB.
    let back = try change(target, status: 0, "--online", "100")
    #expect(back.changed == section && back.offline == section)
    #expect(try states(target) == ["online": 2, "offline": 1])
    // More than there is: as much as there is.
    let rest = try change(target, status: 3, "--online", "1G")
    #expect(rest.status == "partly" && rest.changed == section && rest.offline == 0)
    let none = try change(target, status: 1, "--online", "128M")
    #expect(none.status == "failed" && none.changed == 0)
  }

  @Test func blocksAndRanges() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "300", run: ["--control", "--purge-delay", "600000"])
    #expect(try change(target, status: 0, "--offline", "-b", "1-2").changed == 2 * section)
    #expect(try states(target) == ["online": 1, "offline": 2])
    // What is so already is no error.
    #expect(try change(target, status: 0, "--offline", "-b", "1,2").changed == 2 * section)
    let range = try Bench.bellows("ls", "-n", "-o", "RANGE,STATE", "--summary=never", target.name).output
      .split(separator: "\n").first { $0.contains("offline") }?.split(separator: " ").first
    let back = try change(target, status: 0, "--online", String(try #require(range)))
    #expect(back.changed == 2 * section && back.offline == 0)
    for wrong in [["-b", "77"], ["0x1000-0x1fff"], ["0x0-0x7ffffff"], ["64M", "--zone", "movable"]] {
      let command = [Bench.tool, "ch", target.name, "--offline"] + wrong
      let result = try Child(command, environment: Bench.environment()).wait()
      #expect(result.status == 1 && !result.errors.isEmpty, "\(wrong) \(result)")
    }
  }

  /// What lives there is named, and everything is as before.
  @Test func blockersAreNamed() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    let before = target.resident
    let report = try change(target, status: 1, "--offline", "-b", "0", "--deadline", "0.2")
    #expect(report.status == "failed" && report.online == section)
    #expect(report.blockers.contains { $0.kind == "blocks" && $0.detail == 1024 && $0.count == 50_000 })
    #expect(report.blockers.contains { $0.kind == "runs" && $0.bytes > 3 << 20 })
    #expect(try states(target) == ["online": 1] && target.resident <= before + 1 << 20)
    // In words, on one line each.
    let words = try Bench.bellows("ch", target.name, "--offline", "-b", "0", "--deadline", "0.1")
    #expect(words.output.contains("  50000 live blocks of 1 KiB, on "), "\(words)")
  }

  @Test func aPartIsKeptOut() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    let part = try change(target, status: 3, "--offline", "128M", "--deadline", "0.2", "--keep-partial")
    #expect(part.status == "partly" && part.changed > 10 << 20 && part.changed < section)
    let caged = try Bench.bellows("ls", "-b", "-n", "-r", "-o", "CAGED", "--summary=never", target.name)
    #expect(Int(caged.output.trimmed) == part.changed, "\(caged)")
    #expect(try change(target, status: 0, "--online", "128M").online == section)
    let way = try change(target, status: 3, "--offline", "128M", "--deadline", "0.1", "--stay")
    #expect(way.status == "partly" && !way.blockers.isEmpty)
    #expect(try states(target) == ["going-offline": 1])
    #expect(try change(target, status: 0, "--online", "128M").online == section)
    #expect(try states(target) == ["online": 1])
  }

  /// Threads that allocate all the time go on; what they held is given back when it is theirs no more.
  @Test func busyProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("busy", "3", run: ["--control"])
    for _ in 0..<3 {
      let result = try Bench.bellows(
        "ch", target.name, "--offline", "128M", "--keep-partial", "--deadline", "1")
      #expect([0, 1, 3].contains(result.status), "\(result)")
      let back = try Bench.bellows("ch", target.name, "--online", "128M")
      #expect([0, 1].contains(back.status), "\(back)")
    }
    #expect(kill(target.child.processID, 0) == 0)
    #expect(try Bench.bellows("ls", target.name).status == 0)
  }

  @Test(arguments: [
    ["--offline"], ["128M"], ["--offline", "--online", "128M"], ["--offline", "x"],
    ["--offline", "-b", "2-1"],
    ["--offline", "-b", "1,,2"], ["--offline", "128M", "-b", "1"], ["--online", "128M", "--keep-partial"],
    ["--offline", "128M", "--keep-partial", "--stay"], ["--offline", "0x20-0x10"], ["--offline", "0"],
    ["--offline", "128M", "--deadline", "-1"], ["--online", "128M", "--node", "0"],
  ])
  func mistakes(options: [String]) throws {
    let result = try Child([Bench.tool, "ch", "1"] + options, environment: Bench.environment()).wait()
    #expect(result.status == 64 && result.output.isEmpty, "\(result)")
  }

  @Test func choices() throws {
    let data = try Data(
      contentsOf: URL(fileURLWithPath: Fixtures.tests.appending("Fixtures/snapshots/mixed.json").string))
    let snapshot = try JSONDecoder().decode(HeapSnapshot.self, from: data)
    func blocks(
      _ amount: String?, _ blocks: String? = nil, node: Int? = nil, zone: String? = nil, online: Bool
    ) throws -> [Int] {
      let choice = try #require(SectionChoice(amount: amount, blocks: blocks, node: node, zone: zone))
      return try choice.sections(of: snapshot, online: online).map(\.block)
    }
    // The emptiest, then the youngest of equals.
    #expect(try blocks("16M", online: false) == [3, 4])
    #expect(try blocks("1G", online: false) == [3, 4, 6, 5])
    #expect(try blocks("1G", node: 1, online: false) == [6])
    // On its way, then offline ones.
    #expect(try blocks("24M", online: true) == [2, 1, 0])
    #expect(try blocks(nil, "0-1,5", online: true) == [0, 1, 5])
    #expect(try blocks("0x7f0000000000-0x7f0000ffffff", online: false) == [4, 5])
    #expect(throws: SectionChoice.Problem.misaligned(sectionBytes: 8 << 20)) {
      try blocks("0x7f0000001000-0x7f0000ffffff", online: false)
    }
    #expect(throws: SectionChoice.Problem.noSuchBlock(9)) { try blocks(nil, "5,9", online: false) }
    #expect(throws: SectionChoice.Problem.nothingThere) { try blocks("1M", zone: "device", online: false) }
  }
}
