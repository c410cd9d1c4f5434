// Taking particular pages (Linux: alloc_contig_range).

extension Ref where Pointee == Zone {
  /// Takes exactly the free pages of a range that lies in one section, or none: EBUSY where one of them is in use, or a
  /// purge is at work on its pageblock; ENOMEM where the system refuses to make them accessible. Answers whether all
  /// of them are known to be zero. Takes the zone's lock; O(pageblocks).
  package func allocateRange(
    _ section: SectionRef, address: UInt, pages: UInt
  ) throws(Refusal) -> PageRun {
    lock.acquire()
    defer { lock.release() }
    let limit = section.it.base &+ UInt(section.it.blocks) &<< it.geometry.pageblockShift
    guard pages > 0, address >= section.it.base, address &+ pages &<< Page.shift <= limit else {
      throw .invalid
    }
    guard section.it.state == .online else { throw .busy }
    var isFree = true
    forEachBlock(section, address, pages) { block, first, count in
      if block.has(Pageblock.isolated | Pageblock.caged) || block.it.used.count(first, count: count) != 0 {
        isFree = false
      }
    }
    guard isFree else { throw .busy }
    let last = (address &+ pages &<< Page.shift &- section.it.base &- 1) &>> it.geometry.pageblockShift
    guard commit(section, through: last &+ 1) else { throw .noMemory }
    return takeRun(section, address, pages)
  }

  /// Pages of a range that are in use. Takes the zone's lock; O(pageblocks).
  package func usedPages(_ section: SectionRef, address: UInt, pages: UInt) -> UInt {
    lock.acquire()
    defer { lock.release() }
    return usedPagesLocked(section, address: address, pages: pages)
  }

  func usedPagesLocked(_ section: SectionRef, address: UInt, pages: UInt) -> UInt {
    var used: UInt = 0
    forEachBlock(section, address, pages) { block, first, count in
      used = used &+ block.it.used.count(first, count: count)
    }
    return used
  }
}
