// Runs in slots, and free pages of shards that are partly used.

import BellowsCore
import CShims
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
