// The heap on a machine with several nodes: which node's memory a thread gets. That the pages lie there is for the emulated
// machine to show (Tests/VM/near.sh).

import BellowsCore
import CShims
import Testing

@Suite struct NodeHeapTests {
  private let double = FailingPlatform()
  private let fixture: ArenaFixture
  private var heap: HeapRef { fixture.heap }

  init() throws {
    double.nodes = NodeStandIn(count: 2)
    fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 12, double: double))
    fixture.arena.spread(over: 3)
    // The clock of tests stands still.
    heap.it.purgeDelay = 0
  }

  private func node(of block: UInt) -> Int32 { fixture.arena.knownSection(at: block).it.memory.node }

  private func nodes(of blocks: [UInt]) -> Set<Int32> { Set(blocks.map { node(of: $0) }) }

  /// So much that the thread has asked for pages more than 16 times.
  private func fill(_ user: HeapUser, _ bytes: UInt = 1000, count: Int = 600) -> [UInt] {
    (0..<count).map { _ in user.malloc(bytes) }
  }

  @Test(arguments: [16, 1000, 30_000, 100_000, 2 << 20] as [UInt])
  func blocksAreOfTheNodeThatTheThreadRunsOn(bytes: UInt) throws {
    for place in [1, 0] {
      double.nodes?.current = place
      let user = try #require(HeapUser(heap))
      #expect(nodes(of: fill(user, bytes, count: 3)) == [Int32(place)])
    }
  }

  @Test func freshMemoryFollowsAThreadThatMoved() throws {
    let user = try #require(HeapUser(heap))
    let before = fill(user)
    double.nodes?.current = 1
    let after = fill(user)
    #expect(nodes(of: before) == [0])
    // The answer of before serves for 16 requests, each for a shard of 16 blocks.
    #expect(nodes(of: Array(after.suffix(300))) == [1])
  }

  @Test func aThreadThatMovedForGoodGivesUpWhatItLeft() throws {
    let user = try #require(HeapUser(heap))
    let before = fill(user)
    // Free, and the thread's own: without the move these blocks would be next.
    for place in stride(from: 0, to: before.count, by: 2) { user.free(before[place]) }
    double.nodes?.current = 1
    // Slow paths enough for three looks at the clock.
    let between = fill(user, 5000, count: 3 * 64 * 8)
    #expect(node(of: between.last!) == 1)
    #expect(nodes(of: fill(user)) == [1])
    let list = heap.abandoned(SizeClass(bytes: 1000), 1)
    #expect(list.it.count > 0)
  }

  @Test func aShortVisitChangesNothing() throws {
    let user = try #require(HeapUser(heap))
    let before = fill(user, 200)
    for block in before { user.free(block) }
    double.nodes?.current = 1
    _ = fill(user, 200, count: 10)
    double.nodes?.current = 0
    #expect(nodes(of: fill(user, 200)) == [0])
  }

  @Test func shardsLeftBehindAreFoundByThreadsOfTheirNode() throws {
    let first = try #require(HeapUser(heap))
    let blocks = fill(first)
    for place in stride(from: 0, to: blocks.count, by: 2) { first.free(blocks[place]) }
    first.leave()
    let used = fixture.arena.totals().used

    double.nodes?.current = 1
    let far = try #require(HeapUser(heap))
    #expect(nodes(of: fill(far, count: 200)) == [1])

    double.nodes?.current = 0
    let grown = fixture.arena.totals().used
    let near = try #require(HeapUser(heap))
    #expect(nodes(of: fill(near, count: 200)) == [0])
    #expect(grown > used)
    #expect(fixture.arena.totals().used == grown, "it found room")
  }

  @Test func whoFreesFromAfarKeepsNothing() throws {
    let owner = try #require(HeapUser(heap))
    let blocks = fill(owner)
    owner.leave()
    double.nodes?.current = 1
    let other = try #require(HeapUser(heap))
    for place in stride(from: 0, to: blocks.count, by: 2) { other.free(blocks[place]) }
    #expect(nodes(of: fill(other)) == [1])
  }

  @Test(arguments: [50_000, 3 << 20] as [UInt])
  func aFreedRunServesItsNodeAlone(bytes: UInt) throws {
    let owner = try #require(HeapUser(heap))
    let run = owner.malloc(bytes)
    let other = try #require(HeapUser(heap))
    double.nodes?.current = 1
    other.free(run)
    #expect(node(of: other.malloc(bytes)) == 1)
    double.nodes?.current = 0
    // One that a thread of its node freed, and that all may take.
    owner.free(owner.malloc(bytes))
    double.nodes?.current = 1
    #expect(node(of: other.malloc(bytes)) == 1)
  }

  @Test func whereNoMemoryIsToBeHadThatOfAnotherNodeServes() throws {
    let first = try #require(HeapUser(heap))
    let blocks = fill(first)
    first.leave()
    let thread = try #require(HeapUser(heap))
    double.nodes?.current = 1
    for place in stride(from: 0, to: blocks.count, by: 2) { thread.free(blocks[place]) }
    double.arm(.from(1))
    let block = thread.malloc(1000)
    double.arm(.none)
    #expect(block != 0)
    #expect(node(of: block) == 0)
  }

  @Test func aThreadWithAPolicyOfItsOwnHasMemoryOfNoNode() throws {
    double.nodes?.current = nil
    let user = try #require(HeapUser(heap))
    #expect(nodes(of: fill(user)) == [-1])
  }

  @Test func theNodeIsSeldomAskedFor() throws {
    let user = try #require(HeapUser(heap))
    let before = double.nodes?.questions ?? 0
    // 600 shards of 16 blocks and less.
    _ = fill(user, 1000, count: 9600)
    #expect((double.nodes?.questions ?? 0) - before <= 600 / 16 + 9600 / 64)
  }

  @Test func onOneNodeNobodyIsAsked() throws {
    let double = FailingPlatform()
    double.nodes = NodeStandIn(count: 1)
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, double: double))
    fixture.arena.spread(over: 1)
    let user = try #require(HeapUser(fixture.heap))
    for block in fill(user) { user.free(block) }
    user.free(user.malloc(100_000))
    user.leave()
    #expect(double.nodes?.questions == 0)
    #expect(double.nodes?.bound.isEmpty == true)
    #expect(!fixture.heap.hasCages)
  }
}
