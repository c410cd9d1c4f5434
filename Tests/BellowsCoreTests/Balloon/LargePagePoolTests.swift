// Pageblocks that a pool claims before the allocator sees them.

import BellowsCore
import CShims
import Testing

@Suite struct LargePagePoolTests {
  @Test func row0eAPoolClaimsFreshLargePagesBeforeTheAllocatorSeesThem() throws {
    let bench = try #require(BalloonBench(sectionBytes: 128 << 20, sections: 1))
    let range = try bench.online(into: bench.pool)
    _ = try bench.online(into: bench.pool)
    #expect(bench.pool.it.held.pages == 2 * 63 * 512)
    #expect(bench.arena.allocate(pages: 1, alignment: 1) == nil, "the allocator got none")
    let heap = try #require(HeapUser(bench.fixture.heap))
    #expect(heap.malloc(100) == 0, "out of memory until pages are released")
    // A unit is handed out as one piece of memory, and taken back.
    let unit = try bench.pool.takeUnit(reserved: false)
    #expect(range.contains(unit) && unit.isAligned(to: 2 << 20))
    #expect(Kernel.residentPages(range.lowerBound, UInt(range.count)) == 512)
    Ref<UInt>(unit + 4096).it = 1
    #expect(
      errorNumber { () throws(Refusal) in try bench.pool.giveUnit(unit + 4096, reserved: false) } == .invalid)
    try bench.pool.giveUnit(unit, reserved: false)
    #expect(errorNumber { () throws(Refusal) in try bench.pool.giveUnit(unit, reserved: false) } == .invalid)
    #expect(Kernel.residentPages(range.lowerBound, UInt(range.count)) == 0)
    #expect(Ref<UInt>(try bench.pool.takeUnit(reserved: false) + 4096).it == 0)
    // Released, a unit is the allocator's.
    #expect(bench.pool.deflate(512) == BalloonOutcome(pages: 512))
    #expect(heap.malloc(100) != 0)
  }

  @Test func aUnitIsAHugePageWhereTheSystemHasThem() throws {
    let bench = try #require(BalloonBench(sectionBytes: 128 << 20, sections: 1))
    _ = try bench.online(into: bench.pool)
    guard try Kernel.isHugeByAdvice() else { return try HugePages.skip("no transparent huge pages") }
    // The kernel has none in a row now and then: then others that ask for one get none either.
    var last: UInt = 0
    for _ in 0..<20 {
      last = try bench.pool.takeUnit(reserved: false)
      if try Kernel.hugeBytes(last, 2 << 20) == 2 << 20 { return }
      if try !HugePages.areToBeHad() { return print("skipped: no transparent huge page is to be had now") }
    }
    Issue.record("the unit at \(last) is no huge page, and others get one")
  }

  @Test func unitsOfTheKernelsReserve() throws {
    let bench = try #require(BalloonBench(sectionBytes: 128 << 20, sections: 1))
    let range = try bench.online(into: bench.pool)
    try HugePages.with(1) { hasPages in
      guard hasPages else {
        #expect(
          errorNumber { () throws(Refusal) in _ = try bench.pool.takeUnit(reserved: true) } == .noMemory)
        return try HugePages.skip("no huge pages are reserved, and this user may not reserve them")
      }
      let mappings = try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity)
      let unit = try bench.pool.takeUnit(reserved: true)
      Ref<UInt>(unit).it = 1
      #expect(
        try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity) > mappings,
        "a mapping of its own")
      try bench.pool.giveUnit(unit, reserved: true)
      #expect(Kernel.residentPages(range.lowerBound, UInt(range.count)) == 0)
      #expect(bench.pool.it.held.pages == 63 * 512)
    }
  }

  @Test func aLargePageBalloonTakesWholeUnits() throws {
    let bench = try #require(BalloonBench(sectionBytes: 128 << 20, sections: 1))
    _ = try #require(bench.fixture.addSection())
    let blocker = try #require(bench.zone.run(pages: 1, alignment: 1))
    let outcome = bench.pool.inflate(63 * 512)
    #expect(outcome == BalloonOutcome(pages: 62 * 512, reason: .busy), "one page is in use in one of 63")
    bench.arena.free(blocker)
    #expect(bench.pool.inflate(512) == BalloonOutcome(pages: 512))
    #expect(bench.pool.deflate(1) == BalloonOutcome(pages: 512), "in whole units")
    #expect(bench.zone.freePages == 512)
  }
}
