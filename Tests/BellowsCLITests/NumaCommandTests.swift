import Foundation
import Glibc
import Testing

@testable import Bellows
@testable import BellowsCLI

@Suite struct NumaCommandTests {
  @Test func nodeLists() {
    #expect(NodeListArgument(argument: "2,0-1")?.nodes == [2, 0, 1])
    #expect(NodeListArgument(argument: "") == nil && NodeListArgument(argument: "a") == nil)
    #expect(NodeListArgument(argument: "1,,2") == nil)
  }

  @Test func topologyOfFourNodes() throws {
    let topology = NodeTopology(reading: Fixtures.files("nodes-4-cpuless"))
    let tables = TopologyReport.tables(topology)
    #expect(tables.count == 2)
    #expect(tables[0].text().contains("memory only") && tables[0].text().contains("none"))
    #expect(tables[1].rows.count == 4 && tables[1].rows[0].count == 5)
    #expect(NumaOutput.remarks(topology).isEmpty)
    let json = try JSONText.of(TopologyReport(topology), pretty: false)
    #expect(json.hasPrefix("{\"nodes\":[{\"cpus\":") && json.contains("\"schema\":1"))
    // Nearest first; of node 0's neighbours as the fixture has them.
    #expect(topology.fallback(from: 0).first == 0 && topology.fallback(from: 0).count == 4)
  }

  @Test func oneNodeSaysWhatCannotBeLearnt() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-1"))
    #expect(NumaOutput.remarks(topology).first?.contains("cannot be learnt") == true)
    #expect(TopologyReport.tables(topology).count == 1)
  }

  @Test func placementOfThisProcess() throws {
    let report = try PlacementReport(of: TargetProcess.one("\(ProcessInfo.processInfo.processIdentifier)"))
    #expect(!report.hasSections)
    #expect(report.parts.reduce(0) { $0 + $1.total } > 1 << 20)
    #expect(try JSONText.of(report, pretty: false).contains("\"kind\":\"stack\""))
  }

  @Test func whatDidNotMoveIsNamed() {
    let outcome = PageMover.Outcome(
      movedPages: 3, leftPages: 2, blockers: [.init(reason: .shared, pages: 2)], firstLeft: 4096, passes: 1,
      seconds: 1)
    #expect(MoveReport.table(outcome).text().contains("shared with other processes"))
    #expect(MoveReport.message(.notEnoughRoom(needed: .mebibytes(2), available: 0)).contains("2 MiB"))
  }

  @Test func aDrainSaysWhatCameOfIt() throws {
    let process = try TargetProcess.one("\(ProcessInfo.processInfo.processIdentifier)")
    var report = DrainFigures()
    report.found = 80 << 20
    report.room = 1 << 20
    report.left = 80 << 20
    let refused = NodeDrain.outcome(ENOMEM, report, 1, false, nil, nil)
    #expect(refused.status == .failed && !refused.hasTable)
    #expect(
      refused.headline(process).hasSuffix("nothing moved: 80 MiB are to move, and there is room for 1 MiB"))

    report.moved = 79 << 20
    report.left = 1 << 20
    report.stayed = [
      .init(kind: "busy", pages: 253, bytes: 253 << 12), .init(kind: "locked", pages: 3, bytes: 3 << 12),
    ]
    report.passes = 5
    let partly = NodeDrain.outcome(EBUSY, report, 1, false, 80 << 20, 1 << 20)
    #expect(partly.status == .partly && partly.reason == nil)
    #expect(partly.headline(process).contains("node 1 is left out, but 1 MiB"))
    for words in ["busy, or pinned", "locked (mlock)", "before, by the kernel"] {
      #expect(partly.table.text().contains(words))
    }
    let json = try JSONText.of(partly.object(process), pretty: false)
    #expect(json.contains(#""blockers":[{"bytes":1036288,"kind":"busy","pages":253}"#), "\(json)")

    report.left = 0
    let done = NodeDrain.outcome(0, report, 1, true, nil, nil)
    #expect(done.status == .done && done.headline(process).contains("node 1 serves again, 79 MiB came home"))
  }

  // One node here: what is refused is said. The emulated machine shows the rest (Tests/VM/outside.sh).
  @Test func theOnlyNodeIsNotDrained() throws {
    guard Bench.isComplete, NodeTopology.current().nodes.count == 1 else { return }
    let target = try Target("idle", run: ["--control"])
    for (options, words) in [
      (["--node", "0"], "no other one"), (["--node", "5"], "no such node"),
      (["--node", "0", "--home"], "not emptied"),
    ] {
      let command = [Bench.tool, "numa", "drain", target.name] + options
      let result = try Child(command, environment: Bench.environment()).wait()
      #expect(result.status == 1 && result.output.contains(words), "\(result)")
    }
    let wrong = try Bench.bellows("numa", "drain", target.name, "--node", "64")
    #expect(wrong.status == 64, "\(wrong)")
  }

  // A matrix with a hole: the table shows it, the reason is named.
  @Test func measurementsThatFailAreHoles() {
    let matrix = NodeMatrix<Double>.measure("nothing") { _, node in
      throw MeasurementFailure.noRoom(node, needed: .mebibytes(64))
    }
    #expect(matrix.table("t", .nanoseconds).text().contains("–"))
    #expect(matrix.remarks.first?.contains("no room for 64 MiB") == true)
  }
}
