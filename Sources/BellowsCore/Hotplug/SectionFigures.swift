// How many of a section's pages came online, are the allocator's, are in use.

import CShims

/// In pages.
package struct SectionFigures: BitwiseCopyable, Sendable {
  /// Came online, the memmap's included; 0 while it is offline.
  package var present: UInt = 0
  /// The allocator's: without the memmap, and without what hooks and balloons keep.
  package var managed: UInt = 0
  /// Of these, allocated.
  package var used: UInt = 0

  package init() {}
}

extension Ref where Pointee == Arena {
  /// Under the growth lock; takes the zone's. O(pageblocks), or O(pages) where pages are withheld in the zone.
  package func figures(_ section: SectionRef) -> SectionFigures {
    var figures = SectionFigures()
    guard section.it.zone != 0, section.it.state != .device else { return figures }
    let zone = ZoneRef(section.it.zone)
    zone.lock.acquire()
    defer { zone.lock.release() }
    // It may have left meanwhile; while it has not, its descriptors are there.
    guard section.isInZone else { return figures }
    let blockPages = it.geometry.pageblockPages
    let (first, end) = (UInt(section.it.memmapBlocks), UInt(section.it.blocks))
    figures.present = end &* blockPages
    figures.managed = (end &- first) &* blockPages
    for index in first..<end { figures.used = figures.used &+ UInt(section.block(index).it.usedPages) }
    guard zone.it.withheldPages != 0 else { return figures }
    var withheld: UInt = 0
    for page in (first &* blockPages)..<(end &* blockPages) {
      let word = section.it.memmap &+ page &* Page.descriptorBytes
      if GranuleWord(bellows_load(word)).isWithheld { withheld = withheld &+ 1 }
    }
    figures.managed = figures.managed &- withheld
    figures.used = figures.used &- withheld
    return figures
  }
}
