import Testing

@testable import Bellows

@Suite struct ZoneTests {
  private func arena() throws -> Arena {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    return try Arena(reserving: .mebibytes(32), configuration: configuration)
  }

  private func add(_ arena: Arena, node: Int?) throws {
    var options = Arena.AddOptions()
    options.node = node
    try arena.online(try arena.add(options: options))
  }

  @Test func oneZoneWhereNobodyChoosesANode() throws {
    let arena = try arena()
    try add(arena, node: nil)
    let zones = arena.zones
    #expect(zones.count == 1 && zones[0].node == nil && zones[0].distances == [10])
    #expect(zones[0].present == .mebibytes(4))
    #expect(zones[0].free == arena.statistics().present - arena.statistics().memmap)
  }

  @Test func aNodeHasAZoneOfItsOwn() throws {
    let arena = try arena()
    try add(arena, node: 0)
    try add(arena, node: nil)
    #expect(arena.zones.map(\.node) == [nil, 0])
    #expect(arena.zones.map(\.present) == [.mebibytes(4), .mebibytes(4)])
    #expect(arena.zones.map(\.distances) == [[10, 11], [11, 10]])
    let near = try arena.allocate(pages: 16, near: 0)
    #expect(arena.zones.map(\.allocated) == [.zero, .pages(16)])
    #expect(arena.sections[0].addressRange.contains(near.addressRange.start))
    let anywhere = try arena.allocate(pages: 16)
    #expect(arena.zones.map(\.allocated) == [.pages(16), .pages(16)])
    #expect(arena.statistics().allocated == .pages(32))
    _ = consume near
    #expect(arena.zones.map(\.allocated) == [.pages(16), .zero])
    _ = consume anywhere
  }
}
