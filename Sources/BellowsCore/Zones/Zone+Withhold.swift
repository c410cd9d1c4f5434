// Pages leave the allocator's management while their section stays online, and come back.
//
//     free ──allocate──► used ──withhold──► offline ──supply──► free
//
// A withheld page is present and not managed: nobody can allocate it, and to its pageblock it is in use. Its
// descriptor says offline, so that a free of its address is recognised as an error.

import CShims

extension Ref where Pointee == Zone {
  /// Takes allocated pages, which lie in one section, out of management. Takes the zone's lock.
  package func withhold(_ section: SectionRef, address: UInt, pages: UInt) {
    markOffline(section, address: address, pages: pages)
    lock.acquire()
    it.usedPages = it.usedPages &- pages
    it.managedPages = it.managedPages &- pages
    it.withheldPages = it.withheldPages &+ pages
    lock.release()
  }

  /// Gives withheld pages to the allocator. `isAbsent`: none of them is resident. Takes the zone's lock.
  package func supply(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool) {
    for page in 0..<pages {
      bellows_store(section.descriptor(of: address &+ page &<< Page.shift).address, GranuleWord.nothing.bits)
    }
    lock.acquire()
    it.managedPages = it.managedPages &+ pages
    it.withheldPages = it.withheldPages &- pages
    it.usedPages = it.usedPages &+ pages
    lock.release()
    free(section, address: address, pages: pages, isAbsent: isAbsent)
  }

  /// The descriptors of withheld pages say so.
  package func markOffline(_ section: SectionRef, address: UInt, pages: UInt) {
    for page in 0..<pages {
      bellows_store(section.descriptor(of: address &+ page &<< Page.shift).address, GranuleWord.offline.bits)
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
