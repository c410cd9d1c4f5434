// The heap on an arena of small sections: contents, sizes, and that nothing is left over.

import BellowsCore
import CShims
import Testing

extension ArenaFixture {
  /// Gives everything back that no block lies in, and says what is left: nothing, once all is freed and all
  /// threads have left.
  func compareEmptyHeap() throws {
    heap.trim(nil)
    let now = heap.statistics()
    try check(now.usedPages, is: 0, "used pages")
    try check(now.dirtyPages, is: 0, "dirty pages")
    try check(now.slottedPages, is: 0, "pages in slots")
    try check(now.holePages, is: 0, "pages of holes")
    try check(now.hugeBlocks, is: 0, "huge blocks")
    try check(now.hugeBytes, is: 0, "huge bytes")
    try check(residentPages().managed, is: 0, "resident pages")
    for index in 0..<SizeClass.count {
      for list in [heap.abandoned(SizeClass(index)), heap.perforated(SizeClass(index))] {
        try check(list.it.count, is: 0, "shards of class \(index) that nobody owns")
        try check(list.it.first, is: 0, "shards of class \(index) that nobody owns")
      }
    }
    // Every granule's words say "nothing".
    for index in 0..<UInt(arena.it.sections) {
      let memmap = section(index).it.memmap
      for granule in stride(from: 0, to: geometry.sectionPages, by: Int(Page.granulePages)) {
        try check(bellows_load(memmap + granule * Page.descriptorBytes), is: 0, "word of page \(granule)")
        let run = arena.knownRun(at: section(index).it.base + granule << Page.shift)
        try check(run.word, is: .nothing, "run at page \(granule)")
      }
    }
  }
}

@Suite struct HeapTests {
  @Test(arguments: zip(ArenaFixture.sectionSizes, [200_000, 200_000, 600_000]))
  func randomOperationsKeepContents(sectionBytes: UInt, operations: Int) throws {
    let sections = (512 << 20) / sectionBytes
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: sections))
    let user = try #require(HeapUser(fixture.heap))
    var model = HeapModel(user, stream: UInt64(sectionBytes) + 1, largest: 3 << 20)
    for _ in 0..<operations { try model.takeStep() }
    try model.freeAll()
    user.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func everySizeClass() throws {
    let fixture = try #require(ArenaFixture(sections: 60))
    let user = try #require(HeapUser(fixture.heap))
    for index in 0..<SizeClass.count {
      let bytes = SizeClass(index).bytes
      // More than three shards' worth.
      let count = SizeClass(index).blocksPerShard * 3 + 5
      var blocks: [UInt] = []
      for number in 0..<count {
        let block = user.malloc(bytes)
        try check(block != 0 && block.isAligned(to: 16), "block of \(bytes)")
        try check(user.usable(block), is: bytes, "usable")
        Ref<UInt>(block).it = number
        Ref<UInt>(block + bytes - 8).it = ~number
        blocks.append(block)
      }
      for (number, block) in blocks.enumerated() {
        try check(Ref<UInt>(block).it, is: UInt(number), "content of \(bytes)")
        try check(Ref<UInt>(block + bytes - 8).it, is: ~UInt(number), "content of \(bytes)")
      }
      for block in index.isMultiple(of: 2) ? blocks : blocks.reversed() { user.free(block) }
    }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func edgeSizes() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 3))
    let user = try #require(HeapUser(fixture.heap))
    var blocks: [Block] = []
    let edges: [UInt] = [
      0, 1, 15, 16, 17, 128, 129, 4096, 32768, 32769, 65536, 1 << 20, 2 << 20, 64 << 20,
      (64 << 20) + 1, 65 << 20,
    ]
    for edge in edges {
      for bytes: UInt in [edge &- 1, edge, edge + 1] where bytes != .max {
        for address in [user.malloc(bytes), user.calloc(bytes)] {
          try check(address != 0 && address.isAligned(to: 16), "\(bytes) bytes")
          try check(user.usable(address) >= bytes, "\(bytes) bytes, usable \(user.usable(address))")
          blocks.append(Block(address: address, bytes: bytes, cookie: UInt8(truncatingIfNeeded: bytes)))
        }
      }
    }
    for block in blocks { block.fill() }
    for block in blocks { try check(block.isIntact, "\(block.bytes) bytes") }
    for bytes in [1 << 47, UInt(Int.max)] as [UInt] { #expect(user.malloc(bytes) == 0) }
    for block in blocks { user.free(block.address) }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func alignments() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 12))
    let user = try #require(HeapUser(fixture.heap))
    for shift in 0...30 as ClosedRange<UInt> {
      let alignment: UInt = 1 << shift
      var blocks: [Block] = []
      for bytes in [0, 1, 24, 100, 5000, 32768, 40000, 70000, 1 << 20] as [UInt] {
        let block = Block(address: user.aligned(bytes, alignment), bytes: bytes, cookie: UInt8(shift))
        try check(block.address != 0, "\(bytes) at \(alignment)")
        try check(block.address.isAligned(to: alignment), "\(bytes) at \(alignment)")
        try check(user.usable(block.address) >= bytes, "\(bytes) at \(alignment)")
        block.fill()
        blocks.append(block)
      }
      for block in blocks { try check(block.isIntact, "\(block.bytes) at \(alignment)") }
      for block in blocks { user.free(block.address) }
    }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// Memory that was used before is zero again when zero is asked for.
  @Test func zeroedBlocks() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let user = try #require(HeapUser(fixture.heap))
    var random = Random(stream: 6)
    for round in 0..<60 {
      let sizes = (0..<20).map { _ in random.spread(1...400_000) }
      let dirty = sizes.map { user.malloc($0) }
      for (bytes, block) in zip(sizes, dirty) {
        for place in stride(from: 0, to: bytes, by: 8) where place + 8 <= bytes {
          if bytes < 5000 || place % 512 == 0 { Ref<UInt>(block + place).it = .max }
        }
      }
      for block in dirty { user.free(block) }
      if round % 20 == 19 { fixture.heap.trim(user.own) }
      let clean = sizes.map { user.calloc($0) }
      for (bytes, block) in zip(sizes, clean) {
        for place in stride(from: 0, to: bytes, by: 8) where place + 8 <= bytes {
          guard bytes < 5000 || place % 512 == 0 else { continue }
          try check(Ref<UInt>(block + place).it, is: 0, "\(bytes) bytes at \(place), round \(round)")
        }
      }
      for block in clean { user.free(block) }
    }
    user.leave()
    try fixture.compareEmptyHeap()
  }

  /// One buffer grows from a run through every way of resizing, and shrinks again.
  @Test func aGrowingBuffer() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 2))
    let user = try #require(HeapUser(fixture.heap))
    var block = Block(address: user.malloc(10), bytes: 10, cookie: 42)
    block.fill()
    let sizes: [UInt] = [
      100, 5000, 40000, 1 << 20, 3 << 20, 5 << 20, 63 << 20, 65 << 20, 120 << 20, 200 << 20, 130 << 20,
      40 << 20, 1 << 20, 33000, 32000, 90, 1,
    ]
    for bytes in sizes {
      let moved = user.realloc(block.address, bytes)
      try check(moved != 0, "\(bytes) bytes")
      block.address = moved
      try check(block.isIntact(min(block.bytes, bytes)), "to \(bytes) bytes")
      try check(user.usable(moved) >= bytes, "usable of \(bytes)")
      block.bytes = bytes
      block.fill()
    }
    user.free(block.address)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func trimReturnsWhatIsFree() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let user = try #require(HeapUser(fixture.heap))
    let keep = Block(address: user.malloc(1000), bytes: 1000, cookie: 1)
    keep.fill()
    let blocks = (0..<20_000).map { _ in user.malloc(300) }
    for block in blocks { Ref<UInt>(block).it = 1 }
    let full = fixture.residentPages().managed
    #expect(full > 1400)
    for block in blocks { user.free(block) }
    fixture.heap.trim(user.own)
    let left = fixture.heap.statistics()
    #expect(left.dirtyPages == 0)
    #expect(fixture.residentPages().managed <= left.usedPages)
    // The shard of `keep`, and at most one other of each class in use.
    #expect(left.usedPages <= 16 + 4)
    #expect(keep.isIntact)
    user.free(keep.address)
    user.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func statisticsAreExact() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let user = try #require(HeapUser(fixture.heap))
    let before = fixture.heap.statistics()
    #expect(before.heaps == 1)
    let run = user.malloc(100_000)
    let pages = RunBin(pages: 25).pages
    #expect(fixture.heap.statistics().usedPages == before.usedPages + pages)
    let huge = user.malloc(20 << 20)
    #expect(fixture.heap.statistics().hugeBytes == 20 << 20)
    #expect(fixture.heap.statistics().hugeBlocks == 1)
    let small = user.malloc(64)
    #expect(fixture.heap.statistics().usedPages == before.usedPages + pages + 4)
    #expect(fixture.heap.statistics().sections == 1)
    #expect(fixture.heap.statistics().presentPages == fixture.geometry.sectionPages)
    #expect(fixture.heap.statistics().memmapPages == fixture.memmapPages)
    for block in [run, huge, small] { user.free(block) }
    #expect(fixture.heap.statistics().slottedPages == pages)
    user.leave()
    try fixture.compareEmptyHeap()
  }
}
