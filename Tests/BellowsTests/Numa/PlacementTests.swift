// What holds on one node, which every machine has; NodeMachineTests has the rest.

import Glibc
import Testing

@testable import Bellows

@Suite struct PlacementTests {
  private var home: NodeNumber { NodeTopology.current().nodes.first { $0.memoryBytes > 0 }?.number ?? 0 }

  private func touch(_ pages: inout Allocation, _ count: Int) {
    var bytes = pages.mutableBytes
    for page in 0..<count { bytes.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
  }

  private func arena() throws -> Arena {
    try Arena(reserving: .mebibytes(32), configuration: .init(sectionSize: .mebibytes(4)))
  }

  @Test func pagesAreCountedWhereTheyAreAndNoneIsTouched() throws {
    let arena = try arena()
    var pages = try arena.allocate(pages: 8)
    let range = pages.addressRange
    #expect(PagePlacement(of: range).residentPages == 0)
    touch(&pages, 4)
    let placement = PagePlacement(of: pages.addressRange)
    #expect(placement.residentPages == 4 && placement.absentPages == 4)
    #expect(placement == PagePlacement(of: pages.addressRange))
  }

  @Test func absentNodesAreRefusedAndNothingChanges() throws {
    let arena = try arena()
    let beyond = NodeNumber(rawValue: 63)
    #expect(throws: PlacementError.self) { try arena.place(.preferred(beyond)) }
    #expect(throws: PlacementError.invalidNodes) { try arena.place(.preferred(64)) }
    #expect(throws: PlacementError.invalidNodes) { try arena.place(.bind([])) }
    #expect(throws: PlacementError.invalidNodes) { try arena.place(.weighted([home: 65])) }
    _ = try arena.allocate(pages: 1)
  }

  @Test func placementSurvivesTrimAndDecommit() throws {
    let arena = try arena()
    try arena.place(.bind([home]), memmap: .node(home))
    for _ in 0..<3 {
      var pages = try arena.allocate(pages: 300)
      touch(&pages, 300)
      let placement = PagePlacement(of: pages.addressRange)
      #expect(placement.pages == [home: 300])
      // Freed at the end of this scope, and trimmed before the next turn.
      arena.trim()
    }
    let placement = arena.placement()
    #expect(placement.sections.count == 1 && placement.memmapOutside == .zero)
    #expect(placement.records.residentPages > 0)
  }

  @Test func noNodeCanBeDrainedWhereThereIsNoOther() throws {
    let topology = NodeTopology.current()
    guard topology.nodes.filter({ $0.memoryBytes > 0 }).count == 1 else { return }
    let arena = try arena()
    #expect(throws: PageMover.Failure.invalidNodes) { try arena.drain([home]) }
    #expect(throws: PageMover.Failure.invalidNodes) { try PageMover(from: [home], to: [home]) }
    #expect(throws: PageMover.Failure.invalidNodes) { try PageMover(from: [home], to: []) }
    #expect(try arena.bringHome().isEmpty)
  }

  // Nothing is on a node that is not there: done at once.
  @Test func movingFromAnEmptyNodeIsDone() throws {
    let arena = try arena()
    var pages = try arena.allocate(pages: 2)
    touch(&pages, 1)
    let outcome = try PageMover(from: [62], to: [home]).move([pages.addressRange])
    #expect(outcome.isComplete && outcome.movedPages == 0 && outcome.blockers.isEmpty)
  }

  @Test func aThreadsPolicyAndPinning() throws {
    try PlacementPolicy.preferred(home).applyToThread()
    try PlacementPolicy.local.applyToThread()
    let cpuNode = try #require(NodeTopology.current().nodes.first { !$0.cpus.isEmpty }).number
    #expect(try NodePinning.run(on: cpuNode) { NodePinning.current } == cpuNode)
    #expect(throws: PlacementError.invalidNodes) { try NodePinning.pin(to: 999) }
  }

  @Test func experimentsMeasureSomething() throws {
    let node = try #require(NodeTopology.current().nodes.first { !$0.cpus.isEmpty && $0.memoryBytes > 0 })
      .number
    let experiments = NodeExperiments(bytes: 1 << 20, rounds: 1)
    #expect(try experiments.latency(from: node, to: node) > 0)
    let bandwidth = try experiments.bandwidth(from: node, to: node)
    #expect(bandwidth.read > 0 && bandwidth.write > 0 && bandwidth.copy > 0)
    #expect(try experiments.allocationRate(from: node, to: node, memmapOn: node) > 0)
  }
}
