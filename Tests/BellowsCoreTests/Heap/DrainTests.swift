// A node is emptied of a heap, on a machine that a stand-in plays: what moves, what is named, and what stays as it was. That the
// kernel does its part is for the emulated machine to show (Tests/VM/programs/drain.c).

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct DrainTests {
  private let double = FailingPlatform()
  private let fixture: ArenaFixture
  private let user: HeapUser
  private var heap: HeapRef { fixture.heap }

  init() throws {
    var nodes = NodeStandIn(count: 3, current: 1)
    nodes.placesPages = true
    double.nodes = nodes
    fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 16, double: double))
    fixture.arena.spread(over: 7)
    let heap = fixture.heap
    heap.it.purgeDelay = 0
    user = try #require(HeapUser(heap))
  }

  private func written(_ bytes: UInt, count: Int) -> [UInt] {
    (0..<count).map { index in
      let block = user.malloc(bytes)
      for page in 0..<Page.count(bytes) { Ref<UInt>(block + page << Page.shift).it = UInt(index) }
      return block
    }
  }

  private func nodes(of blocks: [UInt]) -> Set<Int32> {
    Set(blocks.map { double.nodes?.node(of: $0) ?? -1 })
  }

  private func drain(_ node: Int32 = 1, milliseconds: UInt64 = 60_000, home: Bool = false) -> (
    Int32, DrainReport
  ) {
    var report = DrainReport()
    let request = DrainRequest(node: node, deadline: bellows_clock_milliseconds() + milliseconds)
    let client = fixture.client(user.own, Announcements())
    let error = home ? heap.bringHome(request, &report, client) : heap.drain(request, &report, client)
    return (error, report)
  }

  @Test func allKindsOfBlocksLeaveAndComeHome() throws {
    var blocks = written(100, count: 500) + written(5000, count: 300) + written(100_000, count: 20)
    #expect(nodes(of: blocks) == [1])
    let huge = written(65 << 20, count: 1)
    let (error, report) = drain()
    #expect(error == 0 && report.left == 0 && report.moved == report.found && report.found > 16_000)
    // To the nearest, and of those that are as far the first; memmap and records as well.
    #expect(nodes(of: blocks + huge) == [0] && double.nodes?.pages(on: 1) == 0)
    for (index, block) in blocks.prefix(500).enumerated() { #expect(Ref<UInt>(block).it == UInt(index)) }
    // What comes now: not there, in sections and in mappings of its own.
    let fresh = written(1000, count: 600) + written(66 << 20, count: 1)
    #expect(nodes(of: Array(fresh.suffix(300))) == [0])
    #expect(double.nodes?.nodes(of: fresh[600]) == 0b101)
    blocks += huge

    let (after, home) = drain(home: true)
    #expect(after == 0 && home.left == 0)
    #expect(nodes(of: Array(blocks.dropLast())) == [1] && nodes(of: huge) == [0])
    #expect(fixture.arena.avoided == 0)
    #expect(nodes(of: Array(written(1000, count: 900).suffix(300))) == [1])
    #expect(drain(home: true).0 == EINVAL)
  }

  @Test func withoutRoomNothingChanges() throws {
    let blocks = written(5000, count: 300)
    double.nodes?.room = [0: 1 << 20, 2: 64 << 10]
    let bound = double.nodes?.bound.count
    let (error, report) = drain()
    #expect(error == ENOMEM && report.moved == 0 && report.left == report.found && report.room == 256 + 16)
    #expect(nodes(of: blocks) == [1] && double.nodes?.bound.count == bound && fixture.arena.avoided == 0)
  }

  @Test func theDeadlineComesBeforeTheFirstBatch() throws {
    let blocks = written(5000, count: 300)
    let (error, report) = drain(milliseconds: 0)
    #expect(
      error == EBUSY && report.moved == 0 && report.left == report.found && report.notReached == report.left)
    #expect(nodes(of: blocks) == [1] && report.firstLeft != 0)
    // It is left out, and another call goes on.
    #expect(fixture.arena.avoided == 2 && drain().1.moved == report.left)
  }

  @Test func aCallerMayEndIt() throws {
    _ = written(100_000, count: 60)
    var report = DrainReport()
    var request = DrainRequest(node: 1, deadline: .max)
    request.progress = { _, done, total in done > 0 && done < total ? 1 : 0 }
    #expect(heap.drain(request, &report, fixture.client(user.own, Announcements())) == EINTR)
    #expect(report.moved > 0 && report.moved <= 512 && report.left == report.found - report.moved)
  }

  @Test func whatStaysIsNamed() throws {
    let blocks = written(4096 * 3, count: 40)
    double.nodes?.pinned = Set(blocks[3...5].map { $0.rounded(downTo: Page.bytes) })
    double.nodes?.locked = [blocks[4].rounded(downTo: Page.bytes)]
    double.nodes?.shared = [blocks[9].rounded(downTo: Page.bytes)]
    let (error, report) = drain()
    #expect(error == EBUSY && report.left == 4)
    #expect(report.busy == 2 && report.locked == 1 && report.shared == 1)
    #expect(blocks.contains { $0.rounded(downTo: Page.bytes) == report.firstLeft })
    double.nodes?.pinned = []
    double.nodes?.shared = []
    #expect(drain().0 == 0)
  }

  @Test func freeSectionsGoAndComeBack() throws {
    // Two sections and a bit; the last one's blocks stay.
    let runs = written(2 << 20, count: 18)
    for run in runs { user.free(run) }
    let (error, report) = drain()
    #expect(error == 0 && report.sections >= 2 && UInt(fixture.arena.it.offlineCount) == report.sections)
    #expect(drain(home: true).1.sections == report.sections && fixture.arena.it.offlineCount == 0)
    #expect(nodes(of: written(2 << 20, count: 2)) == [1])
  }

  @Test func twoNodesMayBeLeftOut() throws {
    let blocks = written(5000, count: 100)
    #expect(drain(0).0 == 0 && drain(1).0 == 0)
    #expect(nodes(of: blocks) == [2] && double.nodes?.pages(on: 0) == 0 && double.nodes?.pages(on: 1) == 0)
    #expect(drain(2).0 == EINVAL, "there must be one left")
    #expect(drain(1, home: true).0 == 0 && nodes(of: blocks) == [1])
    #expect(fixture.arena.avoided == 1)
  }

  @Test func nodesThatCannotBe() {
    for node in [-1, 3, 64] as [Int32] {
      #expect(drain(node).0 == EINVAL && drain(node, home: true).0 == EINVAL)
    }
  }

  // Whatever call fails: nothing is lost, and the next try gets to the end.
  @Test func eachCallMayFail() throws {
    let blocks = written(5000, count: 200) + written(65 << 20, count: 1)
    var call: UInt = 1
    while call < 200 {
      double.arm(.nth(call))
      _ = drain()
      let failed = double.failures
      double.arm(.none)
      let (error, report) = drain()
      try check(error, is: 0, "call \(call)")
      try check(report.left, is: 0, "call \(call)")
      try check(nodes(of: blocks).contains(1), is: false, "call \(call)")
      try check(drain(home: true).0, is: 0, "call \(call), home")
      try check(nodes(of: Array(blocks.dropLast())), is: [1], "call \(call), home")
      try check(fixture.arena.beginTransition(), is: 0, "call \(call), token")
      fixture.arena.endTransition()
      if failed == 0 { break }
      call += call < 40 ? 1 : 17
    }
  }

  @Test func aHotAddedNodeIsGrownOn() throws {
    double.nodes?.allowed = 1
    double.nodes?.current = 0
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, double: double))
    fixture.arena.spread(over: 1)
    let thread = try #require(HeapUser(fixture.heap))
    #expect(fixture.arena.knownSection(at: thread.malloc(1000)).it.memory.node == -1)
    // Memory of node 2 comes, the helper sees it, and the heap grows on it next.
    double.nodes?.allowed = 5
    double.nodes?.current = 2
    fixture.arena.lookForNodes()
    _ = (0..<9).map { _ in thread.malloc(2 << 20) }
    let last = (0..<40).map { _ in thread.malloc(300_000) }.last!
    #expect(fixture.arena.knownSection(at: last).it.memory.node == 2)
  }
}
