import Bellows
import Testing

@Suite("Arena against the kernel's figures")
struct ArenaModelTests {
  /// Random allocations, frees and trims: contents stay, nothing overlaps, and after every step the arena's
  /// figures are those of its sections, of mincore, and now and then (it is slow) of smaps.
  @Test(arguments: [1, 2, 3] as [UInt64])
  func randomOperations(seed: UInt64) throws {
    var dice = Dice(seed: seed)
    let arena = try Arena(reserving: .mebibytes(64), configuration: .init(sectionSize: .mebibytes(4)))
    var live: [(box: Box, mark: UInt64, pages: Int)] = []
    var refusals = 0
    for step in 0..<600 {
      switch Int.random(in: 0..<100, using: &dice) {
      case ..<55:
        let pages = Int.random(in: 1...(Bool.random(using: &dice) ? 20 : 900), using: &dice)
        let alignment = 4096 << Int.random(in: 0..<6, using: &dice)
        do {
          let box = Box(try arena.allocate(pages: pages, alignment: .bytes(alignment)))
          #expect(box.range.start % UInt(alignment) == 0)
          #expect(arena.addressRange.contains(box.range))
          #expect(!live.contains { $0.box.range.start < box.range.end && box.range.start < $0.box.range.end })
          #expect(box.holds(0))
          box.fill(UInt64(step) + 1)
          live.append((box, UInt64(step) + 1, pages))
        } catch .exhausted {
          refusals += 1
        }
      case ..<97:
        guard !live.isEmpty else { continue }
        let gone = live.remove(at: Int.random(in: 0..<live.count, using: &dice))
        #expect(gone.box.holds(gone.mark))
      default:
        arena.trim(keeping: .pages(Int.random(in: 0..<200, using: &dice)))
      }
      try check(arena, live.reduce(0) { $0 + $1.pages }, smaps: step % 20 == 0)
    }
    #expect(refusals > 0, "the arena was never full")
    #expect(live.allSatisfy { $0.box.holds($0.mark) })
    live = []
    arena.trim()
    try check(arena, 0)
    #expect(try Mappings(in: arena.addressRange).resident == .zero)
  }

  private func check(_ arena: Arena, _ pages: Int, smaps: Bool = true) throws {
    let figures = arena.statistics()
    let sections = arena.sections
    #expect(figures.allocated == .pages(pages))
    #expect(figures.sections == sections.count)
    #expect(figures.present == .bytes(sections.count * arena.configuration.sectionSize.rawValue))
    #expect(figures.committed == .pages(sections.reduce(0) { $0 + $1.committedPages }))
    #expect(figures.memmap == .pages(sections.reduce(0) { $0 + $1.memmapPages }))
    #expect(figures.allocated == .pages(sections.reduce(0) { $0 + $1.usedPages }))
    #expect(figures.freeResident == .pages(sections.reduce(0) { $0 + $1.dirtyPages }))
    for section in sections {
      #expect(section.committedPages == section.memmapPages + section.usedPages + section.freePages)
      #expect(section.dirtyPages <= section.freePages)
    }
    // Every page was written when it was allocated, and no descriptor is needed for pages alone.
    let resident = figures.allocated + figures.freeResident
    #expect(sections.reduce(0) { $0 + residentPages(of: $1.addressRange) } == resident.rawValue / 4096)
    if smaps { #expect(try Mappings(in: arena.addressRange).resident == resident) }
  }
}
