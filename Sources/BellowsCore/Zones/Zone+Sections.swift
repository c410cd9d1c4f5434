// Sections come into a zone.

import CShims

extension Ref where Pointee == Zone {
  /// Takes in a section whose memmap is committed: its pages become free, the memmap's stay reserved.
  /// `isWithheld`: all of them stay out of management; whoever has them supplies them. Takes the zone's lock.
  package func attach(_ section: SectionRef, isWithheld: Bool = false) {
    lock.acquire()
    defer { lock.release() }
    let blocks = UInt(section.it.blocks)
    let reserved = UInt(section.it.memmapBlocks)
    if blockPages < PageMask.capacity {
      // Pageblocks smaller than a mask: the numbers beyond their end are never free.
      for index in 0..<blocks {
        section.block(index).it.used.insert(blockPages, count: PageMask.capacity &- blockPages)
      }
    }
    let map = map(section)
    map.clear()
    section.it.hints = HoleHints()
    let granules = blockPages &>> Page.granuleOrder
    if blocks < it.geometry.pageblocksPerSection {
      map.insert(blocks &* granules, count: (it.geometry.pageblocksPerSection &- blocks) &* granules)
    }
    for index in 0..<(isWithheld ? blocks : reserved) {
      let block = section.block(index)
      // Those that are not committed yet, too.
      block.it.section = section.address
      block.it.index = UInt16(truncatingIfNeeded: index)
      block.it.used.insert(0, count: blockPages)
      block.it.usedPages = UInt16(truncatingIfNeeded: blockPages)
      map.insert(index &* granules, count: granules)
      settle(block)
    }
    // Who has withheld pages writes to them without a word.
    section.it.needsFresh = isWithheld
    it.presentPages = it.presentPages &+ blocks &* blockPages
    let pages = (blocks &- reserved) &* blockPages
    if isWithheld {
      it.withheldPages = it.withheldPages &+ pages
    } else {
      it.managedPages = it.managedPages &+ pages
    }
    section.it.zone = address
    section.move(to: .goingOnline)
    insert(section)
    section.move(to: .online)
  }

  /// Into the list by number. A new section goes to its end.
  private func insert(_ section: SectionRef) {
    var previous = it.lastSection
    if previous != 0, SectionRef(previous).it.number > section.it.number {
      previous = 0
      var after = it.firstSection
      while SectionRef(after).it.number < section.it.number {
        previous = after
        after = SectionRef(after).it.next
      }
    }
    if previous == 0 {
      section.it.next = it.firstSection
      it.firstSection = section.address
    } else {
      section.it.next = SectionRef(previous).it.next
      SectionRef(previous).it.next = section.address
    }
    section.it.previous = previous
    if section.it.next == 0 {
      it.lastSection = section.address
    } else {
      SectionRef(section.it.next).it.previous = section.address
    }
    let first = it.firstFreeSection
    if first == 0 || SectionRef(first).it.number > section.it.number { it.firstFreeSection = section.address }
  }

  // MARK: Giving back

  /// Makes the clean, free pageblocks at the end of each section's committed prefix inaccessible, so that
  /// their commit charge goes back. Takes the zone's lock, during the system calls too: for the moment when
  /// memory has run out.
  package func decommitTails() {
    lock.acquire()
    defer { lock.release() }
    var next = it.firstSection
    while next != 0 {
      let section = SectionRef(next)
      next = section.it.next
      let committed = UInt(section.it.committedBlocks)
      var kept = committed
      while kept > UInt(section.it.memmapBlocks), isIdle(section.block(kept &- 1)) { kept = kept &- 1 }
      guard kept < committed else { continue }
      let start = section.it.base &+ kept &<< it.geometry.pageblockShift
      // A fresh mapping takes the charge back; mprotect alone would keep it.
      guard it.platform.attempt(.reset, start, (committed &- kept) &<< it.geometry.pageblockShift) else {
        continue
      }
      preferAgain(section, start, (committed &- kept) &<< it.geometry.pageblockShift)
      section.it.committedBlocks = UInt16(truncatingIfNeeded: kept)
    }
  }

  /// A fresh mapping has no policy: it gets the one of its section again.
  func preferAgain(_ section: SectionRef, _ start: UInt, _ bytes: UInt) {
    let serving = bellows_load(address &+ Zone.servingOffset)
    if serving != 0 {
      it.platform.prefer(among: UInt64(serving), start, bytes)
    } else if section.it.memory.has(SectionMemory.prefersNode) {
      it.platform.prefer(section.it.memory.node, start, bytes)
    }
  }

  /// Whether nothing in a pageblock is used, dirty or under way.
  private func isIdle(_ block: PageblockRef) -> Bool {
    block.it.usedPages == 0 && block.it.dirtyPages == 0 && !block.has(Pageblock.isolated)
      && !block.has(Pageblock.queued)
  }

  /// Takes out a section of which nothing but the memmap is used or accessible; nil where there is none.
  /// Takes the zone's lock.
  package func detachFreeSection() -> SectionRef? {
    lock.acquire()
    defer { lock.release() }
    var next = it.firstSection
    while next != 0 {
      let section = SectionRef(next)
      // What a balloon holds is neither free nor accessible.
      if section.it.committedBlocks == section.it.memmapBlocks, section.it.state == .online,
        section.it.freeBlocks == section.it.blocks &- section.it.memmapBlocks
      {
        remove(section)
        section.move(to: .goingOffline)
        section.move(to: .offline)
        return section
      }
      next = section.it.next
    }
    return nil
  }

  /// Under the lock. O(1).
  package func remove(_ section: SectionRef) {
    let previous = section.it.previous
    if previous == 0 {
      it.firstSection = section.it.next
    } else {
      SectionRef(previous).it.next = section.it.next
    }
    if section.it.next == 0 {
      it.lastSection = previous
    } else {
      SectionRef(section.it.next).it.previous = previous
    }
    if it.firstFreeSection == section.address { it.firstFreeSection = section.it.next }
    let blocks = UInt(section.it.blocks)
    it.presentPages = it.presentPages &- blocks &* blockPages
    it.managedPages = it.managedPages &- (blocks &- UInt(section.it.memmapBlocks)) &* blockPages
  }
}
