// Blocks that are mappings of their own.

import BellowsCore
import CShims
import Testing

@Suite struct HugeTests {
  @Test func theTableStaysInOrder() throws {
    let fixture = try #require(ArenaFixture())
    let user = try #require(HeapUser(fixture.heap))
    var random = Random(stream: 9)
    var live: [Block] = []
    for step in 0..<400 {
      if live.count < 90, random.below(8) < 5 {
        let bytes = (2 << 20) + random.spread(1...(6 << 20))
        let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(random.below(256)))
        try check(block.address != 0, "step \(step)")
        Ref<UInt8>(block.address).it = block.cookie
        Ref<UInt8>(block.address + bytes - 1).it = ~block.cookie
        live.append(block)
      } else if !live.isEmpty {
        let block = live.remove(at: Int(random.below(UInt(live.count))))
        try check(Ref<UInt8>(block.address).it, is: block.cookie, "step \(step)")
        try check(Ref<UInt8>(block.address + block.bytes - 1).it, is: ~block.cookie, "step \(step)")
        user.free(block.address)
      }
      let now = fixture.heap.statistics()
      try check(now.hugeBlocks, is: UInt(live.count), "blocks, step \(step)")
      let bytes = live.reduce(0) { $0 + $1.bytes.rounded(upTo: Page.bytes) }
      try check(now.hugeBytes, is: bytes, "bytes, step \(step)")
      for block in live {
        try check(fixture.heap.knows(block.address + block.bytes - 1), "the last byte, step \(step)")
      }
    }
    for block in live { user.free(block.address) }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// Growing step by step moves page tables, and copies nothing: what is resident is what was written.
  @Test func growthNeitherCopiesNorTouches() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 2))
    let user = try #require(HeapUser(fixture.heap))
    let pages: UInt = (5 << 20) >> Page.shift
    var block = user.malloc(5 << 20)
    for page in 0..<pages { Ref<UInt>(block + page << Page.shift).it = page }
    for size in [9 << 20, 30 << 20, 70 << 20, 150 << 20, 400 << 20] as [UInt] {
      block = user.realloc(block, size)
      try #require(block != 0)
      for page in 0..<pages {
        try check(Ref<UInt>(block + page << Page.shift).it, is: page, "content at \(size >> 20) MiB")
      }
      let resident = Kernel.residentPages(block, size.rounded(upTo: Page.bytes))
      try check(resident, is: pages, "resident pages at \(size >> 20) MiB")
    }
    user.free(block)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// While a block moves, its old place is free for another thread's block, which has an entry of its own.
  /// In a process of its own: a block that is freed with another's length takes strangers' memory along.
  @Test func theOldPlaceOfAMovedBlockMayBeTaken() async {
    await #expect(processExitsWith: .success) {
      let double = FailingPlatform()
      let fixture = try #require(ArenaFixture(double: double))
      let user = try #require(HeapUser(fixture.heap))
      let other = try #require(HeapUser(fixture.heap))
      let old = user.malloc(16 << 20)
      var taken: UInt = 0
      double.afterNextRemap = {
        double.nextReservation = old
        taken = other.malloc(4 << 20)
      }
      let moved = user.realloc(old, 64 << 20)
      try #require(moved != 0 && moved != old)
      try #require(taken == old)
      let now = fixture.heap.statistics()
      try #require(now.hugeBlocks == 2)
      try #require(now.hugeBytes == 68 << 20)
      try #require(user.usable(moved) == 64 << 20)
      try #require(user.usable(taken) == 4 << 20)
      user.free(moved)
      other.free(taken)
      try #require(fixture.heap.statistics().hugeBytes == 0)
      try #require(double.mappedBytes < 64 << 20)
    }
  }
}
