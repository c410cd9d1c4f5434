// Arenas side by side, and large ones.

import BellowsCore
import CShims
import Testing

@Suite struct ArenaTests {
  @Test func arenasOfDifferentGeometryDoNotMeet() throws {
    let sizes: [UInt] = [4 << 20, 8 << 20, 16 << 20, 128 << 20, 256 << 20]
    let fixtures = try sizes.map { try #require(ArenaFixture(sectionBytes: $0, sections: 2)) }
    var random = Random(stream: 4)
    var live: [(ArenaFixture, PageRun, UInt)] = []
    for _ in 0..<400 {
      let fixture = fixtures[Int(random.below(UInt(fixtures.count)))]
      guard let run = fixture.arena.allocate(pages: random.spread(1...400), alignment: 1) else { continue }
      let cookie = UInt(truncatingIfNeeded: random.next())
      Ref<UInt>(run.address).it = cookie
      live.append((fixture, run, cookie))
      for other in fixtures where other !== fixture {
        try check(!other.arena.it.table.covers(run.address), "an address of two arenas")
        try check(bellows_load(other.arena.it.table.granule(of: run.address)), is: 0, "a stranger's word")
      }
      if random.chance(oneIn: 2) {
        let (owner, run, cookie) = live.remove(at: Int(random.below(UInt(live.count))))
        try check(Ref<UInt>(run.address).it, is: cookie, "content")
        owner.zone.free(owner.arena.knownSection(at: run.address), address: run.address, pages: run.pages)
      }
    }
    for (owner, run, cookie) in live {
      try check(Ref<UInt>(run.address).it, is: cookie, "content")
      owner.zone.free(owner.arena.knownSection(at: run.address), address: run.address, pages: run.pages)
    }
    for fixture in fixtures { #expect(fixture.zone.it.usedPages == 0) }
  }

  @Test func capacityIsTheLimit() throws {
    let fixture = try #require(ArenaFixture(sections: 2))
    var count: UInt = 0
    while fixture.addSection() != nil { count += 1 }
    #expect(count == 3)
    #expect(fixture.capacity == 12 << 20)
    #expect(fixture.arena.it.sections == 3)
    // A run that no section can hold does not make the arena grow.
    let other = try #require(ArenaFixture(sections: 2))
    #expect(other.arena.allocate(pages: other.managedPages + 1, alignment: 1) == nil)
    #expect(other.arena.it.sections == 0)
    #expect(other.arena.allocate(pages: other.managedPages, alignment: 1) != nil)
  }

  @Test func impossibleCapacityIsRefused() throws {
    let memory = Memory(16384)
    let arena = ArenaRef(memory.address)
    let zone = ZoneRef(memory.address + 1024)
    for capacity in [UInt.max, 1 << 62, 1 << 50] as [UInt] {
      #expect(!arena.initialise(geometry: .standard, platform: .system, zone: zone, capacity: capacity))
    }
    #expect(arena.initialise(geometry: .standard, platform: .system, zone: zone, capacity: 1))
    #expect(arena.it.capacity == 128 << 20)
    arena.releaseReservation()
  }

  /// 16 TiB of 128 MiB sections: address space only. (Another test has 64 TiB of it at the same time, and where the
  /// system chooses addresses at random, not much more than 80 are in one piece.)
  @Test func aLargeReservationCostsLittle() throws {
    let double = FailingPlatform()
    let fixture = try #require(
      ArenaFixture(sectionBytes: 128 << 20, sections: (16 << 40) >> 27 - 1, double: double))
    #expect(fixture.capacity == 16 << 40)
    let table = fixture.arena.it.table
    let tableBytes = double.mappedBytes - fixture.capacity
    #expect(tableBytes < 16 << 20)
    #expect(try Kernel.rss(fixture.reservation, fixture.capacity) == 0)
    let section = try #require(fixture.addSection())
    #expect(section.it.base == fixture.reservation)
    let run = try #require(fixture.arena.allocate(pages: 100, alignment: 1))
    bellows_zero(run.address, run.bytes)
    #expect(fixture.residentPages().managed == 100)
    // One page of entries is writable; the rest of the table is untouched.
    #expect(Kernel.residentPages(table.base, tableBytes - fixture.arena.it.metadata.mappedBytes) <= 2)
    #expect(!table.covers(fixture.reservation + fixture.capacity - 1))
    #expect(table.covers(fixture.reservation))
  }

  @Test func anArenaWithoutReservationGrowsAnywhere() throws {
    let double = FailingPlatform()
    let memory = Memory(16384)
    let arena = ArenaRef(memory.address)
    let zone = ZoneRef(memory.address + 1024)
    let geometry = try #require(Geometry(sectionBytes: 4 << 20))
    try #require(
      arena.initialise(geometry: geometry, platform: double.platform, zone: zone, capacity: 0))
    var runs: [PageRun] = []
    for _ in 0..<5 { runs.append(try #require(arena.allocate(pages: 1000, alignment: 1))) }
    #expect(arena.it.sections == 5)
    for run in runs {
      #expect(arena.section(at: run.address)?.it.base == run.address.rounded(downTo: 4 << 20))
      Ref<UInt>(run.address).it = 1
      zone.free(arena.knownSection(at: run.address), address: run.address, pages: run.pages)
    }
    #expect(zone.it.usedPages == 0)
    #expect(zone.purge(dirtySince: .max) == 5000)
  }
}
