// What a heap may hold.

import BellowsCore
import Testing

@Suite struct LimitTests {
  private func fixture() throws -> (ArenaFixture, HeapUser) {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    return (fixture, try #require(HeapUser(fixture.heap)))
  }

  @Test(arguments: [100, 1000, 20_000, 100_000, 3_000_000] as [UInt])
  func hardLimitRefusesAndIsNeverExceeded(bytes: UInt) throws {
    let (fixture, user) = try fixture()
    let hard: UInt = 2500
    fixture.heap.setLimit(soft: 0, hard: hard)
    var blocks: [UInt] = []
    while case let block = user.malloc(bytes), block != 0 {
      blocks.append(block)
      try check(fixture.heap.heldPages() <= hard, "above the limit")
    }
    // A request of this size did not fit any more, and what could be given back was.
    let rounded = max(Page.count(bytes) + Page.count(bytes) / 8, 64)
    #expect(fixture.heap.heldPages() + rounded > hard)
    #expect(fixture.heap.takeLimitNews() == Limit.hardBit)
    #expect(fixture.heap.takeLimitNews() == 0)
    #expect(fixture.heap.limitRefusals > 0)
    // Room that is made can be had.
    for block in blocks.suffix(blocks.count / 2 + 1) { user.free(block) }
    blocks.removeLast(blocks.count / 2 + 1)
    let again = user.malloc(bytes)
    #expect(again != 0)
    user.free(again)
    // Without a limit there is more.
    fixture.heap.setLimit(soft: 0, hard: 0)
    let more = (0..<(16 << 20) / bytes).map { _ in user.malloc(bytes) }
    #expect(!more.contains(0))
    for block in blocks + more { user.free(block) }
    user.leave()
  }

  @Test func softLimitGivesBackAndNeverRefuses() throws {
    let (fixture, user) = try fixture()
    fixture.heap.setLimit(soft: 1000, hard: 0)
    var blocks: [UInt] = []
    for _ in 0..<200 {
      // Half of it is freed at once: it must not pile up.
      blocks.append(user.malloc(40_000))
      let other = user.malloc(3_000_000)
      try check(other != 0 && blocks.last != 0, "refused")
      user.free(other)
    }
    #expect(fixture.heap.takeLimitNews() == Limit.softBit)
    let now = fixture.heap.statistics()
    #expect(now.returnedPages > 0 && now.dirtyPages <= 1024)
    for block in blocks { user.free(block) }
    user.leave()
  }

  /// A crossing is told once, until the heap was well below.
  @Test func crossingsAreToldOnce() throws {
    let (fixture, user) = try fixture()
    fixture.heap.setLimit(soft: 1000, hard: 0)
    func cross() -> [UInt] { (0..<60).map { _ in user.malloc(100_000) } }
    let first = cross()
    #expect(fixture.heap.takeLimitNews() == Limit.softBit)
    let second = cross()
    #expect(fixture.heap.takeLimitNews() == 0)
    for block in first + second { user.free(block) }
    fixture.heap.trim(user.own)
    user.free(user.malloc(100_000))
    let third = cross()
    #expect(fixture.heap.takeLimitNews() == Limit.softBit)
    for block in third { user.free(block) }
    user.leave()
  }

  @Test func hugeBlocksAreCounted() throws {
    let (fixture, user) = try fixture()
    let big: UInt = 80 << 20
    fixture.heap.setLimit(soft: 0, hard: Page.count(200 << 20))
    let first = user.malloc(big)
    let second = user.malloc(big)
    #expect(first != 0 && second != 0 && user.malloc(big) == 0)
    #expect(fixture.heap.heldPages() <= Page.count(200 << 20))
    // Growth is counted, in place and by moving, and the block stays what it was.
    #expect(user.realloc(second, 130 << 20) == 0)
    let grown = user.realloc(second, 110 << 20)
    #expect(grown != 0 && user.usable(grown) >= 110 << 20)
    #expect(user.realloc(first, 95 << 20) == 0 && user.usable(first) >= big)
    user.free(first)
    user.free(grown)
    user.leave()
  }

  @Test func growthOfARunIsCounted() throws {
    let (fixture, user) = try fixture()
    fixture.heap.setLimit(soft: 0, hard: 2000)
    let block = user.malloc(5 << 20)
    #expect(block != 0 && user.realloc(block, 9 << 20) == 0)
    #expect(user.usable(block) >= 5 << 20 && fixture.heap.heldPages() <= 2000)
    user.free(block)
    user.leave()
  }
}

@Suite struct LimitConcurrencyTests {
  /// Threads that fill a heap to its limit at once: none gets past it.
  @Test func threadsShareTheLimit() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let hard: UInt = 6000
    fixture.heap.setLimit(soft: 4000, hard: hard)
    try inThreads(4) { thread in
      let user = HeapUser(fixture.heap)!
      var random = Random(stream: UInt64(thread) + 90)
      var blocks: [UInt] = []
      for _ in 0..<5_000 {
        if random.chance(oneIn: 3), !blocks.isEmpty {
          user.free(blocks.removeLast())
        } else {
          let block = user.malloc(UInt(random.below(60_000)) + 1)
          if block != 0 { blocks.append(block) }
        }
        if random.chance(oneIn: 4) { try check(fixture.heap.heldPages() <= hard, "above the limit") }
      }
      for block in blocks { user.free(block) }
      user.leave()
    }
    #expect(fixture.heap.takeLimitNews() != 0)
  }
}
