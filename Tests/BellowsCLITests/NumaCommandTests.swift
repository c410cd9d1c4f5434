import Foundation
import Testing

@testable import BellowsCLI
@testable import Bellows

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

  // A matrix with a hole: the table shows it, the reason is named.
  @Test func measurementsThatFailAreHoles() {
    let matrix = NodeMatrix<Double>.measure("nothing") { _, node in
      throw MeasurementFailure.noRoom(node, needed: .mebibytes(64))
    }
    #expect(matrix.table("t", .nanoseconds).text().contains("–"))
    #expect(matrix.remarks.first?.contains("no room for 64 MiB") == true)
  }
}
