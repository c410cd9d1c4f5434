// Runs in slots, and free pages of shards that are partly used.

import BellowsCore
import CShims
import Foundation
import Testing

@Suite struct RunBinTests {
  @Test func everyLengthHasTheTightestBin() throws {
    for pages in RunBin.leastPages...RunBin.mostPages {
      let bin = RunBin(pages: pages)
      try check(bin.index < RunBin.count, "bin of \(pages) pages")
      try check(bin.pages >= pages && (bin.pages - pages) * 8 < pages, "\(pages) pages in \(bin.pages)")
      let isTight = bin.index == 0 || RunBin(index: bin.index - 1).pages < pages
      try check(isTight, "\(pages) pages in \(bin.pages)")
      try check(RunBin.fits(pages), is: bin.pages == pages, "fits(\(pages))")
    }
    for index in 0..<RunBin.count { #expect(RunBin(pages: RunBin(index: index).pages).index == index) }
    #expect(!RunBin.fits(RunBin.leastPages - 1) && !RunBin.fits(RunBin.mostPages + 1))
  }
}

@Suite struct SlotTests {
  /// The run freed last is the next one of its length.
  @Test func theRunFreedLastComesBack() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    let block = user.malloc(20 << 20)
    user.free(block)
    #expect(fixture.heap.statistics().slottedPages == RunBin(pages: 5120).pages)
    #expect(user.malloc(20 << 20) == block)
    #expect(fixture.heap.statistics().slottedPages == 0)
    user.free(block)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// Rather than a page that was never touched, the front of the shortest run that is long enough, and not more than
  /// twice as long, is used.
  @Test func aLongerRunIsCut() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    fixture.heap.it.purgeDelay = 3_600_000
    let (long, longest) = (user.malloc(8 << 20), user.malloc(16 << 20))
    user.free(longest)
    user.free(long)
    let front = Block(address: user.malloc(5 << 20), bytes: 5 << 20, cookie: 7)
    front.fill()
    #expect(front.address == long, "the longer one is cut, not the longest")
    #expect(user.usable(front.address) == 5 << 20)
    #expect(fixture.heap.statistics().slottedPages == RunBin(pages: 4096).pages, "the longest is kept")
    // What was cut off serves others; what is left of all is as long as before.
    #expect(user.malloc(3 << 20) == long + 5 << 20)
    #expect(user.malloc(16 << 20) == longest)
    #expect(fixture.heap.statistics().usedPages == 24 << 8)
    #expect(front.isIntact)
    for block in [front.address, long + 5 << 20, longest] { user.free(block) }
    let two = (user.malloc(40 << 20), user.malloc(60 << 20))
    user.free(two.0)
    user.free(two.1)
    #expect(fixture.heap.statistics().slottedPages >= 100 << 8)
    let short = user.malloc(7 << 20)
    #expect(fixture.heap.statistics().slottedPages == 0, "40 MiB are not cut for 7")
    user.free(short)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// One of each length is kept; and all of them are given up before a run is taken that was never touched.
  @Test func oneOfEachLengthIsKept() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 4))
    let user = try #require(HeapUser(fixture.heap))
    fixture.heap.it.purgeDelay = 3_600_000
    let blocks = (1...10).map { user.malloc(UInt($0) << 20) }
    var kept: UInt = 0
    for (number, block) in blocks.enumerated() {
      user.free(block)
      kept += RunBin(pages: UInt(number + 1) << 8).pages
      try check(fixture.heap.statistics().slottedPages, is: kept, "pages in slots after block \(number)")
    }
    let long = user.malloc(60 << 20)
    #expect(fixture.heap.statistics().slottedPages == 0)
    #expect(long == blocks[0], "the memory that was kept is used first")
    user.free(long)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// A program that frees nothing but long runs comes by the clock as well, though each free keeps its run.
  @Test func theClockIsLookedAt() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    fixture.heap.it.purgeDelay = 20
    let first = Block(address: user.malloc(30 << 20), bytes: 30 << 20, cookie: 1)
    first.fill()
    user.free(first.address)
    // The first look takes it out of its slot, the second returns what the others do not use.
    for _ in 0..<2 {
      usleep(100_000)
      for _ in 0..<20 { user.free(user.malloc(5 << 20)) }
    }
    #expect(fixture.heap.statistics().returnedPages >= 20 << 8)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// What a slot has is used for another length before pages are that were never touched, with a limit or without.
  @Test(arguments: [0, 100 << 8] as [UInt]) func residentMemoryComesFirst(hardPages: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    fixture.heap.setLimit(soft: 0, hard: hardPages)
    let first = Block(address: user.malloc(24 << 20), bytes: 24 << 20, cookie: 1)
    first.fill()
    user.free(first.address)
    let second = Block(address: user.malloc(20 << 20), bytes: 20 << 20, cookie: 2)
    second.fill()
    #expect(second.address == first.address)
    #expect(fixture.residentPages().managed <= 25 << 8)
    user.free(second.address)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// A text that grows anew again and again grows into the pages of the one before.
  @Test func whatGrewIsGrownInto() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    for round in 0..<5 {
      var text = user.malloc(40_000)
      var bytes: UInt = 40_000
      while bytes < 40 << 20 {
        let more = bytes + bytes / 8
        text = user.realloc(text, more)
        Block(address: text + bytes, bytes: more - bytes, cookie: 7).fill()
        bytes = more
      }
      let resident = fixture.residentPages().managed
      try check(resident < 50 << 8, "\(resident) pages resident in round \(round)")
      user.free(text)
    }
    user.leave()
    try fixture.compareEmptyHeap()
  }
}

@Suite struct HoleTests {
  /// One survivor in twenty: most pages of the shards go, the survivors stay, and what is allocated next fills
  /// the holes before it takes new pages.
  @Test(arguments: [48, 200, 848, 3000, 12288] as [UInt])
  func pagesWithoutALiveBlockAreReturned(bytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let user = try #require(HeapUser(fixture.heap))
    var random = Random(stream: 12)
    let count = (8 << 20) / bytes
    var survivors: [Block] = []
    var rest: [UInt] = []
    for number in 0..<count {
      let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(truncatingIfNeeded: number))
      block.fill()
      if random.chance(oneIn: 400) { survivors.append(block) } else { rest.append(block.address) }
    }
    let full = fixture.residentPages().managed
    for block in rest { user.free(block) }
    fixture.heap.trim(user.own)
    let now = fixture.heap.statistics()
    let left = fixture.residentPages().managed
    #expect(left < full / 2)
    // The ledger: what is used and not in a hole may be resident, and nothing else.
    #expect(left <= now.usedPages - now.holePages)
    #expect(now.dirtyPages == 0)
    for block in survivors { try check(block.isIntact, "a survivor of \(bytes) bytes") }
    // All of it again: no block twice, none of the survivors.
    let again = rest.map { _ in user.malloc(bytes) }
    try check(Set(again + survivors.map(\.address)).count, is: Int(count), "distinct blocks")
    for block in again {
      bellows_zero(block, bytes)
    }
    for block in survivors { try check(block.isIntact, "a survivor of \(bytes) bytes") }
    #expect(fixture.heap.statistics().holePages == 0)
    for block in again + survivors.map(\.address) { user.free(block) }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// Shards that an ended thread left are gone over too, once they have lain for the purge delay.
  @Test func abandonedShardsLoseTheirFreePages() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let user = try #require(HeapUser(fixture.heap))
    var survivors: [Block] = []
    let all = (0..<4000).map { number in
      let block = Block(address: user.malloc(1000), bytes: 1000, cookie: UInt8(truncatingIfNeeded: number))
      block.fill()
      return block
    }
    for (number, block) in all.enumerated() {
      if number % 200 == 0 { survivors.append(block) } else { user.free(block.address) }
    }
    user.leave()
    fixture.heap.trim(nil)
    let now = fixture.heap.statistics()
    #expect(now.holePages > 0)
    #expect(fixture.residentPages().managed <= now.usedPages - now.holePages)
    for block in survivors { try check(block.isIntact, "content") }
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for block in survivors { sweeper.free(block.address) }
    try fixture.compareEmptyHeap()
  }
}
