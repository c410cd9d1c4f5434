// The page allocator against a naive model and against the kernel.

import BellowsCore
import CShims
import Testing

@Suite struct ZoneTests {
  @Test(arguments: zip(ArenaFixture.sectionSizes, [1500, 1500, 1000]))
  func randomRunsAgreeWithTheModelAndTheKernel(sectionBytes: UInt, steps: Int) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: 5))
    var model = ZoneModel(fixture, stream: UInt64(sectionBytes))
    for step in 1...steps {
      try model.takeStep()
      if step % 150 == 0 { try model.compareKernel() }
      if step % 300 == 0 {
        try model.purge()
        try model.compareKernel()
      }
    }
    try model.freeAll()
    try model.compareKernel()
    try model.compareEmpty()
    try model.purge()
    #expect(fixture.residentPages().managed == 0)
    try model.compareKernel()
  }

  @Test func memmapsAreCountedAsTheyAre() throws {
    let fixture = try #require(ArenaFixture(sections: 2))
    for _ in 0..<2 {
      let section = try #require(fixture.addSection())
      bellows_zero(section.it.memmap, fixture.geometry.memmapBytes)
    }
    #expect(fixture.residentPages().memmap == 2 * fixture.memmapPages)
    let rss = try Kernel.rss(fixture.reservation, fixture.capacity)
    #expect(rss == 2 * fixture.geometry.memmapBytes)
  }

  /// What rounding up to an order leaves over is free at once, and is what the next request gets.
  @Test func tailsAreAvailable() throws {
    let fixture = try #require(ArenaFixture())
    _ = try #require(fixture.addSection())
    let five = try #require(fixture.zone.run(pages: 5, alignment: 1))
    #expect(fixture.zone.it.usedPages == 5)
    let one = try #require(fixture.zone.run(pages: 1, alignment: 1))
    #expect(one.address == five.end)
    let two = try #require(fixture.zone.run(pages: 2, alignment: 2))
    #expect(two.address == one.end)
    // Larger than a pageblock: the last pageblock's tail.
    let block = fixture.geometry.pageblockPages
    let large = try #require(fixture.zone.run(pages: 2 * block + 3, alignment: 1))
    #expect(fixture.zone.it.usedPages == 8 + 2 * block + 3)
    #expect(fixture.zone.extend(fixture.section(0), address: large.address, pages: large.pages, extra: 1))
    #expect(Ref<UInt>(large.end).it == 0)
  }

  /// The fullest pageblock that has room serves first, so that others can drain.
  @Test func fullPageblocksServeFirst() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 1))
    _ = try #require(fixture.addSection())
    let block = fixture.geometry.pageblockPages
    var runs: [PageRun] = []
    for _ in 0..<3 { runs.append(try #require(fixture.zone.run(pages: block, alignment: 1))) }
    let section = fixture.section(0)
    // One page free in the third, half of the second, most of the first.
    fixture.zone.free(section, address: runs[2].address, pages: 1)
    fixture.zone.free(section, address: runs[1].address, pages: block / 2)
    fixture.zone.free(section, address: runs[0].address, pages: block - 1)
    let first = try #require(fixture.zone.run(pages: 1, alignment: 1))
    #expect(first.address == runs[2].address)
    let second = try #require(fixture.zone.run(pages: 4, alignment: 4))
    #expect(second.address == runs[1].address)
  }

  @Test func lowSectionsServeFirst() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    for _ in 0..<3 { _ = try #require(fixture.addSection()) }
    let block = fixture.geometry.pageblockPages
    let low = try #require(fixture.zone.run(pages: fixture.managedPages, alignment: 1))
    let next = try #require(fixture.zone.run(pages: block, alignment: 1))
    #expect(fixture.arena.section(at: next.address) == fixture.section(1))
    fixture.zone.free(fixture.section(0), address: low.address, pages: low.pages)
    let again = try #require(fixture.zone.run(pages: 1, alignment: 1))
    #expect(fixture.arena.section(at: again.address) == fixture.section(0))
  }

  /// Commit is a prefix: a page beyond what was asked for stays inaccessible.
  @Test func commitFollowsUse() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 1))
    let section = try #require(fixture.addSection())
    #expect(section.it.committedBlocks == 1)
    _ = try #require(fixture.zone.run(pages: 1, alignment: 1))
    #expect(section.it.committedBlocks == 2)
    _ = try #require(fixture.zone.run(pages: 10 * fixture.geometry.pageblockPages, alignment: 1))
    #expect(section.it.committedBlocks == 12)
    // One accessible mapping and one inaccessible one, however often commit moved.
    #expect(try Kernel.mappings(section.it.base, fixture.geometry.sectionBytes) == 2)
  }

  @Test func purgeKeepsWhatItIsToldTo() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 1))
    var runs: [PageRun] = []
    for _ in 0..<8 {
      let run = try #require(fixture.arena.allocate(pages: fixture.geometry.pageblockPages, alignment: 1))
      bellows_zero(run.address, run.bytes)
      runs.append(run)
    }
    for run in runs { fixture.zone.free(fixture.section(0), address: run.address, pages: run.pages) }
    let block = fixture.geometry.pageblockPages
    #expect(fixture.zone.it.dirtyPages == 8 * block)
    // Nothing became dirty before the clock began.
    #expect(fixture.zone.purge(dirtySince: 0) == 0)
    #expect(fixture.zone.purge(dirtySince: .max, keep: 3 * block) == 5 * block)
    #expect(fixture.zone.it.dirtyPages == 3 * block)
    #expect(fixture.zone.it.returnedPages == 5 * block)
    #expect(fixture.residentPages().managed == 3 * block)
    // A pass that returns pages uses one call for each run of them.
    #expect(fixture.zone.it.returnCalls == 5)
  }

  @Test func aFailedPurgeKeepsItsPagesOnTheBooks() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(double: double))
    let run = try #require(fixture.arena.allocate(pages: 40, alignment: 1))
    bellows_zero(run.address, run.bytes)
    fixture.zone.free(fixture.section(0), address: run.address, pages: 40)
    double.arm(.nthOf(.discard, 1))
    let returned = fixture.zone.purge(dirtySince: .max)
    #expect(double.failures == 1)
    #expect(fixture.zone.it.dirtyPages == 40 - returned)
    #expect(fixture.residentPages().managed == 40 - returned)
    double.arm(.none)
    #expect(fixture.zone.purge(dirtySince: .max) == 40 - returned)
    #expect(fixture.residentPages().managed == 0)
  }
}
