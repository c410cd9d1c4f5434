// Sections come into a zone.

extension Ref where Pointee == Zone {
  /// Takes in a section whose memmap is committed: its pages become free, the memmap's stay reserved.
  /// Takes the zone's lock.
  package func attach(_ section: SectionRef) {
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
    for index in 0..<reserved {
      let block = section.block(index)
      block.it.used.insert(0, count: blockPages)
      block.it.usedPages = UInt16(truncatingIfNeeded: blockPages)
      settle(block)
    }
    it.presentPages = it.presentPages &+ blocks &* blockPages
    it.managedPages = it.managedPages &+ (blocks &- reserved) &* blockPages
    insert(section)
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
    if section.it.next == 0 { it.lastSection = section.address }
    let first = it.firstFreeSection
    if first == 0 || SectionRef(first).it.number > section.it.number { it.firstFreeSection = section.address }
  }
}
