// The zones of an arena's nodes: which section belongs to which, whom a request asks, and in which order.

import BellowsCore
import CShims
import Testing

@Suite struct NodeZoneTests {
  private static let uneven: [[UInt8]] = [
    [10, 15, 20, 40], [15, 10, 25, 25], [20, 25, 10, 17], [40, 25, 17, 10],
  ]

  private func make(_ nodes: NodeStandIn, sections: UInt = 8) -> (ArenaFixture, FailingPlatform)? {
    let double = FailingPlatform()
    double.nodes = nodes
    guard let fixture = ArenaFixture(sections: sections, double: double) else { return nil }
    fixture.arena.it.growsByNeed = false
    return (fixture, double)
  }

  /// Adds and onlines one section of each of `nodes`, in this order.
  private func add(_ arena: ArenaRef, _ nodes: [Int32]) throws {
    for node in nodes {
      var request = AddRequest()
      request.node = node
      let index = try arena.add(request)
      try arena.online(index..<(index + 1))
    }
  }

  private func node(_ arena: ArenaRef, of run: PageRun) -> Int32 {
    arena.zone(of: arena.knownSection(at: run.address)).it.node
  }

  @Test func oneNodeHasOneZone() throws {
    let fixture = try #require(ArenaFixture())
    fixture.arena.spread(over: 1)
    let run = try #require(fixture.arena.allocate(pages: 4, alignment: 4))
    #expect(fixture.zone.it.next == 0)
    #expect(!fixture.arena.isSpread)
    #expect(fixture.section(0).it.zone == fixture.zone.address)
    fixture.arena.free(run)
  }

  @Test func sectionsBelongToTheZoneOfTheirNode() throws {
    let (fixture, _) = try #require(make(NodeStandIn(distances: Self.uneven)))
    let arena = fixture.arena
    try add(arena, [2, 0, -1, 2])
    var seen: [Int32] = []
    arena.forEachZone { seen.append($0.it.node) }
    #expect(seen == [-1, 2, 0])
    let two = try #require(arena.zone(node: 2))
    #expect(two.it.presentPages == 2 * fixture.geometry.sectionPages)
    #expect(two.it.managedPages == 2 * fixture.managedPages)
    #expect(two.freePages == 2 * fixture.managedPages)
    #expect(fixture.zone.it.presentPages == fixture.geometry.sectionPages)
    #expect(arena.totals().present == 4 * fixture.geometry.sectionPages)
    #expect(arena.isSpread)
  }

  @Test func requestsFallBackByDistance() throws {
    let (fixture, _) = try #require(make(NodeStandIn(distances: Self.uneven)))
    let arena = fixture.arena
    try add(arena, [0, 1, 2, 3])
    // A section's largest run, so that one request takes all that a zone has but for less than a pageblock.
    let pages = fixture.managedPages
    var served: [Int32] = []
    while let run = arena.allocate(pages: pages, alignment: 1, node: 3) {
      served.append(node(arena, of: run))
    }
    #expect(served == [3, 2, 1, 0])
  }

  @Test func memoryOfNoNodeIsNearerThanThatOfAnother() throws {
    let (fixture, _) = try #require(make(NodeStandIn(distances: Self.uneven)))
    let arena = fixture.arena
    try add(arena, [1, -1, 0])
    let pages = fixture.managedPages
    var served: [Int32] = []
    while let run = arena.allocate(pages: pages, alignment: 1, node: 0) {
      served.append(node(arena, of: run))
    }
    #expect(served == [0, -1, 1])
  }

  @Test func aRequestWithoutAWishTakesWhatIsThere() throws {
    let (fixture, _) = try #require(make(NodeStandIn(distances: Self.uneven)))
    let arena = fixture.arena
    try add(arena, [3, 1])
    let pages = fixture.managedPages
    var served: [Int32] = []
    while let run = arena.allocate(pages: pages, alignment: 1) { served.append(node(arena, of: run)) }
    #expect(served == [3, 1])
  }

  @Test func freedPagesGoToTheZoneOfTheirSection() throws {
    let (fixture, _) = try #require(make(NodeStandIn(count: 2)))
    let arena = fixture.arena
    try add(arena, [0, 1])
    let zones = try (#require(arena.zone(node: 0)), #require(arena.zone(node: 1)))
    let run = try #require(arena.allocate(pages: 8, alignment: 8, node: 1))
    #expect(zones.1.it.usedPages == 8)
    #expect(zones.0.it.usedPages == 0)
    arena.free(run)
    #expect(zones.1.it.usedPages == 0)
    #expect(zones.1.it.dirtyPages == 8)
    #expect(zones.0.it.dirtyPages == 0)
    #expect(arena.purge(dirtySince: .max) == 8)
  }

  @Test func growthIsOnTheNodeThatWantsIt() throws {
    let (fixture, double) = try #require(make(NodeStandIn(count: 3)))
    let arena = fixture.arena
    arena.it.growsByNeed = true
    arena.spread(over: 7)
    let first = try #require(arena.allocate(pages: 4, alignment: 4, node: 1))
    let second = try #require(arena.allocate(pages: 4, alignment: 4, node: 2))
    #expect(node(arena, of: first) == 1)
    #expect(node(arena, of: second) == 2)
    // A preference, and one that keeps its nodes: never a strict policy.
    let policy = try #require(double.nodes?.bound.first?.policy)
    #expect(policy == 1 | 1 << 15)
    #expect(double.nodes?.nodes(of: first.address) == 2)
    #expect(double.nodes?.nodes(of: second.address) == 4)
    // The memmap is in front, under the same policy.
    #expect(double.nodes?.nodes(of: arena.knownSection(at: first.address).it.base) == 2)
  }

  @Test func aNodeThatTheSystemRefusesIsServedWithMemoryOfNone() throws {
    var nodes = NodeStandIn(count: 3)
    nodes.allowed = 3
    let (fixture, _) = try #require(make(nodes))
    let arena = fixture.arena
    arena.it.growsByNeed = true
    arena.spread(over: 7)
    for _ in 0..<8 {
      let run = try #require(arena.allocate(pages: 16, alignment: 1, node: 2))
      #expect(node(arena, of: run) == -1)
    }
    // Asked once, not for each request.
    #expect(arena.it.sections == 1)
  }

  @Test func whereThereIsNoRoomToGrowOtherNodesServe() throws {
    let (fixture, double) = try #require(make(NodeStandIn(count: 2)))
    let arena = fixture.arena
    arena.it.growsByNeed = true
    arena.spread(over: 3)
    _ = try #require(arena.allocate(pages: 4, alignment: 4, node: 0))
    double.arm(.from(1))
    let run = try #require(arena.allocate(pages: 1, alignment: 1, node: 1))
    double.arm(.none)
    #expect(node(arena, of: run) == 0)
  }

  @Test func aPreferenceSurvivesDecommit() throws {
    let (fixture, double) = try #require(make(NodeStandIn(count: 2)))
    let arena = fixture.arena
    arena.it.growsByNeed = true
    arena.spread(over: 3)
    let run = try #require(arena.allocate(pages: 16, alignment: 16, node: 1))
    let block = run.address
    arena.free(run)
    arena.purge(dirtySince: .max)
    arena.shrink()
    #expect(arena.knownSection(at: block).it.committedBlocks == arena.knownSection(at: block).it.memmapBlocks)
    #expect(double.nodes?.nodes(of: block) == 2)
  }

  @Test func offlineAndOnlineKeepTheNode() throws {
    let (fixture, _) = try #require(make(NodeStandIn(count: 2)))
    let arena = fixture.arena
    try add(arena, [0, 1])
    var report = OfflineReport()
    let request = OfflineRequest(policy: .wholeOnly)
    try arena.offline(1..<2, request, &report) { _ in }
    let one = try #require(arena.zone(node: 1))
    #expect(one.it.presentPages == 0)
    #expect(arena.allocate(pages: 1, alignment: 1, node: 1).map { node(arena, of: $0) } == 0)
    try arena.online(1..<2)
    #expect(one.it.managedPages == fixture.managedPages)
    #expect(arena.allocate(pages: 1, alignment: 1, node: 1).map { node(arena, of: $0) } == 1)
  }
}
