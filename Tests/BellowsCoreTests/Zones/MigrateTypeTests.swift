import Testing

@testable import BellowsCore

/// Pages that can move and pages that cannot are kept in pageblocks of their own.
@Suite struct MigrateTypeTests {
  private func take(_ zone: ZoneRef, _ pages: UInt, isMovable: Bool) throws -> PageRun {
    guard case .run(let run) = zone.allocate(pages: pages, alignment: 1, isMovable: isMovable) else {
      throw Exhausted()
    }
    return run
  }

  private struct Exhausted: Error {}

  @Test func typesShareNoPageblockWhileOneIsFree() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 128 << 20, sections: 1))
    let arena = fixture.arena
    arena.free(try #require(arena.allocate(pages: 1, alignment: 1)))
    let zone = arena.it.zone
    let shift = arena.it.geometry.pageblockShift
    var blocks: [Set<UInt>] = [[], []]
    var runs: [PageRun] = []
    for step in 0..<600 {
      let isMovable = step % 3 == 0
      let run = try take(zone, 4, isMovable: isMovable)
      blocks[isMovable ? 1 : 0].insert(run.address >> shift)
      runs.append(run)
    }
    #expect(blocks[0].isDisjoint(with: blocks[1]))
    for run in runs { arena.free(run) }
    #expect(zone.it.usedPages == 0)
  }

  @Test func theOtherTypeServesWhereNothingElseIsLeft() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 4 << 20, sections: 1))
    let arena = fixture.arena
    arena.free(try #require(arena.allocate(pages: 1, alignment: 1)))
    let zone = arena.it.zone
    var runs: [PageRun] = []
    while case .run(let run) = zone.allocate(pages: 1, alignment: 1, isMovable: runs.count % 2 == 0) {
      runs.append(run)
    }
    #expect(UInt(runs.count) == zone.it.managedPages)
    for run in runs { arena.free(run) }
    #expect(zone.it.usedPages == 0)
  }
}
