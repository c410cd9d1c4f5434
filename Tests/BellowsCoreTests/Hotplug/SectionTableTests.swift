import BellowsCore
import CShims
import Testing

@Suite struct SectionTableTests {
  @Test func strangersFindTheNullMemmap() throws {
    let fixture = try #require(ArenaFixture(sections: 4))
    let section = try #require(fixture.addSection())
    let table = fixture.arena.it.table
    let end = section.it.base + fixture.geometry.sectionBytes
    let strangers: [UInt] = [
      0, 8, 4096, fixture.reservation - 1, end, end + 12345, fixture.reservation + fixture.capacity,
      1 << 46, 1 << 63, .max,
    ]
    for address in strangers {
      #expect(!table.covers(address), "\(address)")
      let descriptor = table.granule(of: address)
      #expect(descriptor >= table.base && descriptor < table.base + fixture.geometry.memmapBytes)
      #expect(bellows_load(descriptor) == 0)
      #expect(fixture.arena.section(at: address) == nil || !table.covers(address))
    }
  }

  @Test(arguments: ArenaFixture.sectionSizes)
  func granulesOfASection(sectionBytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: 2))
    for number in 0..<2 as Range<UInt> {
      let section = try #require(fixture.addSection())
      #expect(UInt(section.it.number) == number)
      let table = fixture.arena.it.table
      var address = section.it.base
      while address < section.it.base + sectionBytes {
        let page = (address - section.it.base) >> Page.shift
        let expected = section.it.memmap + page.rounded(downTo: Page.granulePages) * Page.descriptorBytes
        try check(table.granule(of: address), is: expected, "granule of page \(page)")
        try check(table.granule(of: address + 16383), is: expected, "granule of page \(page)")
        try check(table.covers(address), "section \(number) at page \(page)")
        address += Page.granuleBytes
      }
      #expect(fixture.arena.section(at: address - 1) == section)
      #expect(fixture.arena.section(at: section.it.base) == section)
    }
  }

  @Test func anEntryComesAndGoes() throws {
    let geometry = try #require(Geometry(sectionBytes: 4 << 20))
    let origin: UInt = 1 << 40
    let table = try #require(
      SectionTable(origin: origin, limit: 1 << 20, geometry: geometry, platform: .system))
    defer { table.release(platform: .system) }
    let memmap = Memory(geometry.memmapBytes)
    let place = origin + 77777 << geometry.sectionShift
    try #require(table.prepare(place, platform: .system))
    #expect(!table.covers(place))
    table.set(place, memmap: memmap.address)
    #expect(table.covers(place))
    #expect(table.granule(of: place) == memmap.address)
    table.set(place, memmap: 0)
    #expect(!table.covers(place))
    #expect(table.granule(of: place) == table.base)
  }
}
