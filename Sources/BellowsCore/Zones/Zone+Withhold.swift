// Pages leave the allocator's management while their section stays online, and come back.
//
//     free ──allocate──► used ──withhold──► offline ──supply──► free
//            an online hook keeps it ──► kept ──supplyKept──┘
//
// A withheld page is present and not managed: nobody can allocate it, and to its pageblock it is in use. Its
// descriptor says so, and that a free of its address is an error; and whether it is for anybody to supply, or a balloon's.

import CShims

extension Ref where Pointee == Zone {
  /// Takes allocated pages, which lie in one section, out of management. Takes the zone's lock.
  package func withhold(_ section: SectionRef, address: UInt, pages: UInt) {
    mark(section, address: address, pages: pages, as: .offline)
    lock.acquire()
    it.usedPages = it.usedPages &- pages
    it.managedPages = it.managedPages &- pages
    it.withheldPages = it.withheldPages &+ pages
    lock.release()
  }

  /// Gives withheld pages, which are the caller's, to the allocator. `isAbsent`: none of them is resident. Takes the zone's
  /// lock.
  package func supply(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool) {
    lock.acquire()
    defer { lock.release() }
    supplyLocked(section, address, pages, isAbsent)
  }

  /// The same of pages that an online hook kept. False, and nothing changed, where one of them is not: a balloon has it, or
  /// it has been supplied. Takes the zone's lock; O(pages).
  package func supplyKept(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool) -> Bool {
    lock.acquire()
    defer { lock.release() }
    // It may have left meanwhile; while it has not, its descriptors are there.
    guard section.it.zone == self.address, section.isInZone else { return false }
    for page in 0..<pages where word(section, address, page) != .kept { return false }
    supplyLocked(section, address, pages, isAbsent)
    return true
  }

  private func supplyLocked(_ section: SectionRef, _ address: UInt, _ pages: UInt, _ isAbsent: Bool) {
    mark(section, address: address, pages: pages, as: .nothing)
    it.managedPages = it.managedPages &+ pages
    it.withheldPages = it.withheldPages &- pages
    it.usedPages = it.usedPages &+ pages
    freeLocked(section, address: address, pages: pages, isAbsent: isAbsent)
  }

  /// Frees pages that somebody says are allocated. False, and nothing changed, where one is not: it is free, or withheld. Takes the
  /// zone's lock; O(pages) where pages are withheld, else O(pageblocks).
  package func freeAllocated(_ section: SectionRef, address: UInt, pages: UInt) -> Bool {
    lock.acquire()
    defer { lock.release() }
    guard section.it.zone == self.address, section.isInZone else { return false }
    guard usedPagesLocked(section, address: address, pages: pages) == pages else { return false }
    if it.withheldPages != 0 {
      for page in 0..<pages where word(section, address, page).isWithheld { return false }
    }
    freeLocked(section, address: address, pages: pages, isAbsent: false)
    return true
  }

  private func word(_ section: SectionRef, _ address: UInt, _ page: UInt) -> GranuleWord {
    GranuleWord(bellows_load(section.descriptor(of: address &+ page &<< Page.shift).address))
  }

  /// The descriptors of pages say who has them.
  package func mark(_ section: SectionRef, address: UInt, pages: UInt, as word: GranuleWord) {
    for page in 0..<pages {
      bellows_store(section.descriptor(of: address &+ page &<< Page.shift).address, word.bits)
    }
  }

  /// Makes the pageblocks through the end of a run accessible. False where the system refuses. Takes the zone's lock.
  package func makeAccessible(_ section: SectionRef, address: UInt, pages: UInt) -> Bool {
    let end = address &+ pages &<< Page.shift &- section.it.base
    lock.acquire()
    defer { lock.release() }
    return commit(section, through: (end &+ (it.geometry.pageblockBytes &- 1)) &>> it.geometry.pageblockShift)
  }
}
