// A balloon, a pool or sub-blocks on an arena of their own, and sections that come online into them.

import BellowsCore
import CShims

final class BalloonBench: Sendable {
  let fixture: ArenaFixture
  let balloon: BalloonRef
  let other: BalloonRef
  let pool: BalloonRef
  let subBlocks: SubBlocksRef

  var arena: ArenaRef { fixture.arena }
  var zone: ZoneRef { fixture.zone }

  /// `answersShortage`: allocations about to fail may deflate the balloons.
  init?(
    sectionBytes: UInt = 4 << 20, sections: UInt = 4, double: FailingPlatform? = nil,
    answersShortage: Bool = true
  ) {
    guard
      let fixture = ArenaFixture(
        sectionBytes: sectionBytes, sections: sections, double: double),
      let balloon = fixture.arena.makeBalloon(BalloonTraits(answersShortage: answersShortage)),
      let other = fixture.arena.makeBalloon(BalloonTraits(answersShortage: answersShortage)),
      let pool = fixture.arena.makeBalloon(
        BalloonTraits(unitPages: fixture.geometry.pageblockPages, isHuge: true, answersShortage: false)),
      let subBlocks = fixture.arena.subBlocks()
    else { return nil }
    self.fixture = fixture
    self.balloon = balloon
    self.other = other
    self.pool = pool
    self.subBlocks = subBlocks
  }

  /// A section comes online, and all of its pages go to `owner`: their range.
  func online(into owner: BalloonRef) throws -> Range<UInt> { try online(.balloon(owner)) }

  func onlineUnplugged() throws -> Range<UInt> { try online(.subBlocks(subBlocks)) }

  private func online(_ owner: FreshOwner) throws -> Range<UInt> {
    guard let section = arena.addSection(for: owner) else { throw Violation(description: "no section") }
    let start = section.it.base + fixture.geometry.memmapBytes
    return start..<(start + fixture.managedPages << Page.shift)
  }

  /// Makes all descriptors of a section resident, so that none become so on the way.
  func populateMemmap(_ section: SectionRef) {
    Platform.system.attempt(.populate, section.it.memmap, fixture.geometry.memmapBytes)
  }

  /// Resident pages of all that the arena has, descriptors included.
  var residentPages: UInt { Kernel.residentPages(fixture.reservation, fixture.capacity) }

  /// Takes all that the allocator has, page by page in pieces of `pages`.
  func exhaust(pages: UInt = 1) -> [PageRun] {
    var runs: [PageRun] = []
    while let run = arena.allocate(pages: pages, alignment: 1) { runs.append(run) }
    return runs
  }

  /// Whether the descriptor of the page at `address` says that a balloon holds it.
  func isOffline(_ address: UInt) -> Bool {
    let descriptor = arena.knownSection(at: address).descriptor(of: address)
    return bellows_load(descriptor.address) == GranuleWord.offline.bits
  }
}

extension PageRun {
  /// Writes to each page.
  func touch() { for page in 0..<pages { Ref<UInt>(address + page << Page.shift).it = address + page } }
}
