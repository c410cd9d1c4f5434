// Taking pages out of a zone and giving them back.

import CShims

/// What a request for pages came to.
package enum PageOutcome {
  case run(PageRun)
  /// No free pages in a row.
  case none
  /// There are, but the system refuses to make them accessible.
  case refused
}

/// Pages in a row.
package struct PageRun: BitwiseCopyable, Sendable {
  package var address: UInt
  package var pages: UInt
  /// Whether every byte is known to be zero: no page was handed out since the system last supplied it.
  package var isZero: Bool

  package var bytes: UInt { pages &<< Page.shift }
  package var end: UInt { address &+ bytes }
}

extension Ref where Pointee == Zone {
  /// `pages` pages in a row at a multiple of `alignment` pages (a power of two). What rounding up to an order leaves over goes back at once.
  ///
  /// Takes the zone's lock. One bit scan per request up to a pageblock; a scan of the sections with free
  /// pageblocks above.
  ///
  /// Movable pages come from pageblocks of their own; from the others only where no pageblock is free.
  package func allocate(pages: UInt, alignment: UInt, isMovable: Bool = false) -> PageOutcome {
    lock.acquire()
    defer { lock.release() }
    let order = max(pages.ceilingLog2, alignment.ceilingLog2)
    let isLoose = pages > Zone.mostAlignedPages && alignment <= Page.granulePages
    return order <= it.geometry.pageblockOrder
      ? allocateInBlock(pages: pages, order: order, isMovable, isLoose)
      : allocateBlocks(pages: pages, alignment: alignment, isMovable)
  }

  private func allocateInBlock(
    pages: UInt, order: UInt, _ isMovable: Bool, _ isLoose: Bool
  ) -> PageOutcome {
    if isLoose, let run = takeTight(pages: pages, order: order, isMovable) { return .run(run) }
    if let run = takePartial(pages: pages, order: order, isMovable, isLoose) { return .run(run) }
    var section = SectionRef(firstSectionWithFreeBlock())
    while section.address != 0 {
      if section.it.freeBlocks > 0, let index = section.it.busy.next(member: false, from: 0) {
        guard commit(section, through: index &+ 1) else { return .refused }
        setType(section.block(index), isMovable)
        return .run(take(section.block(index), first: 0, pages: pages))
      }
      section = SectionRef(section.it.next)
    }
    if let run = takePartial(pages: pages, order: order, !isMovable, isLoose) { return .run(run) }
    return .none
  }

  /// From a partly used pageblock of one migrate type that has an aligned block of 2^order pages.
  private func takePartial(pages: UInt, order: UInt, _ isMovable: Bool, _ isLoose: Bool) -> PageRun? {
    let type = isMovable ? 1 : 0
    let first = UInt64(truncatingIfNeeded: order &* Zone.listsPerOrder)
    let candidates = it.occupied[type] & ((~0 as UInt64) &<< first)
    guard candidates != 0 else { return nil }
    let block = PageblockRef(it.heads[type &* Zone.listsPerType &+ candidates.trailingZeroBitCount])
    guard let start = isLoose ? looseStart(block, pages) : block.it.used.firstFree(order: order) else {
      return nil
    }
    return take(block, first: start, pages: pages)
  }

  /// From a partly used pageblock of one migrate type whose largest aligned block is shorter than the run, but lies
  /// in a hole that is not.
  ///
  /// A hole of more than 2^(order - 1) pages has an aligned block of a quarter of 2^order at least. Looks at 16
  /// pageblocks at most, those with the shortest such blocks first. (64 live blocks of 32 KiB to 4 MiB, freed in the
  /// order in which they came: 73 MiB instead of 114.)
  private func takeTight(pages: UInt, order: UInt, _ isMovable: Bool) -> PageRun? {
    let type = isMovable ? 1 : 0
    let end = UInt64(truncatingIfNeeded: order &* Zone.listsPerOrder)
    let first = end &- 2 &* UInt64(truncatingIfNeeded: Zone.listsPerOrder)
    var lists = it.occupied[type] & (((1 as UInt64) &<< end) &- ((1 as UInt64) &<< first))
    var looks = 16
    while lists != 0 {
      var next = it.heads[type &* Zone.listsPerType &+ lists.trailingZeroBitCount]
      while next != 0 {
        let block = PageblockRef(next)
        if let start = looseStart(block, pages) { return take(block, first: start, pages: pages) }
        looks &-= 1
        if looks == 0 { return nil }
        next = block.it.next
      }
      lists &= lists &- 1
    }
    return nil
  }

  /// The lowest place in a pageblock for a run that need not be aligned to more than a granule.
  private func looseStart(_ block: PageblockRef, _ pages: UInt) -> UInt? {
    block.it.used.pages.firstFreeRun(
      length: pages, alignment: Page.granulePages, origin: 0, limit: blockPages)
  }

  /// Gives a wholly free pageblock its migrate type.
  private func setType(_ block: PageblockRef, _ isMovable: Bool) {
    if isMovable { block.set(Pageblock.movable) } else { block.clear(Pageblock.movable) }
  }

  private func take(_ block: PageblockRef, first: UInt, pages: UInt) -> PageRun {
    let clean = mark(block, first: first, pages: pages)
    it.usedPages = it.usedPages &+ pages
    return PageRun(address: address(of: block) &+ first &<< Page.shift, pages: pages, isZero: clean)
  }

  /// Marks free pages as used; true if none was dirty.
  private func mark(_ block: PageblockRef, first: UInt, pages: UInt) -> Bool {
    let isClean = block.it.dirtyPages == 0 || clean(block, first: first, pages: pages) == 0
    block.it.used.insert(first, count: pages)
    block.it.usedPages &+= UInt16(truncatingIfNeeded: pages)
    if pages == blockPages { settleWhole(block) } else { settle(block) }
    return isClean
  }

  /// Takes pages out of the dirty ones; answers how many were such.
  @inline(__always)
  private func clean(_ block: PageblockRef, first: UInt, pages: UInt) -> UInt {
    let all = UInt(block.it.dirtyPages) == blockPages
    let dirty = all ? pages : block.it.dirty.count(first, count: pages)
    guard dirty != 0 else { return 0 }
    block.it.dirty.remove(first, count: pages)
    block.it.dirtyPages &-= UInt16(truncatingIfNeeded: dirty)
    it.dirtyPages = it.dirtyPages &- dirty
    // A buffer that is freed and taken again all the time would otherwise keep the time of its first free, and
    // be purged whenever the clock finds it free.
    if block.it.dirtyPages == 0, block.has(Pageblock.queued) { dequeuePurge(block) }
    return dirty
  }

  private func firstSectionWithFreeBlock() -> UInt {
    var section = it.firstFreeSection
    while section != 0, SectionRef(section).it.freeBlocks == 0 { section = SectionRef(section).it.next }
    it.firstFreeSection = section
    return section
  }

  private func allocateBlocks(pages: UInt, alignment: UInt, _ isMovable: Bool) -> PageOutcome {
    let order = it.geometry.pageblockOrder
    let blocks = (pages &+ (blockPages &- 1)) &>> order
    let step = alignment <= blockPages ? 1 : alignment &>> order
    var section = SectionRef(firstSectionWithFreeBlock())
    while section.address != 0 {
      if UInt(section.it.freeBlocks) >= blocks {
        let origin = section.it.base &>> it.geometry.pageblockShift
        if let index = section.it.busy.firstFreeRun(
          length: blocks, alignment: step, origin: origin, limit: UInt(section.it.blocks))
        {
          guard commit(section, through: index &+ blocks) else { return .refused }
          for block in index..<(index &+ blocks) { setType(section.block(block), isMovable) }
          return .run(takeRun(section, section.it.base &+ index &<< it.geometry.pageblockShift, pages))
        }
      }
      section = SectionRef(section.it.next)
    }
    return .none
  }

  package func takeRun(_ section: SectionRef, _ address: UInt, _ pages: UInt) -> PageRun {
    var clean = true
    forEachBlock(section, address, pages) { block, first, count in
      if !mark(block, first: first, pages: count) { clean = false }
    }
    it.usedPages = it.usedPages &+ pages
    return PageRun(address: address, pages: pages, isZero: clean)
  }

  /// Makes the first `blocks` pageblocks accessible. One mprotect moves the border between the two mappings
  /// of a section; committing by pageblock instead of by section costs 1 us per 2 MiB (512 first touches)
  /// and keeps what is charged (overcommit 2, RLIMIT_DATA) or prefaulted (mlockall) near what is used.
  package func commit(_ section: SectionRef, through blocks: UInt) -> Bool {
    let committed = UInt(section.it.committedBlocks)
    guard blocks > committed else { return true }
    let start = section.it.base &+ committed &<< it.geometry.pageblockShift
    let bytes = (blocks &- committed) &<< it.geometry.pageblockShift
    guard it.platform.attempt(.commit, start, bytes) else { return false }
    it.platform.attempt(.dump, start, bytes)
    for index in committed..<blocks {
      let block = section.block(index)
      block.it.section = section.address
      block.it.index = UInt16(truncatingIfNeeded: index)
    }
    section.it.committedBlocks = UInt16(truncatingIfNeeded: blocks)
    return true
  }

  // MARK: Giving back

  /// Gives pages back. The caller has cleared their granules' descriptor words. `isAbsent` says that none of
  /// them is resident. Takes the zone's lock.
  package func free(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool = false) {
    lock.acquire()
    defer { lock.release() }
    it.usedPages = it.usedPages &- pages
    if !isAbsent { it.dirtyPages = it.dirtyPages &+ pages }
    let isLeaving = !isAbsent && section.returnsAtOnce
    var now: UInt64 = 0
    forEachBlock(section, address, pages) { block, first, count in
      if block.has(Pageblock.caged) { it.cagedPages = it.cagedPages &+ count }
      block.it.used.remove(first, count: count)
      block.it.usedPages &-= UInt16(truncatingIfNeeded: count)
      if !isAbsent {
        block.it.dirty.insert(first, count: count)
        block.it.dirtyPages &+= UInt16(truncatingIfNeeded: count)
        if !block.has(Pageblock.queued) {
          if now == 0 { now = bellows_clock_milliseconds() }
          enqueuePurge(block, now)
        }
      }
      if count == blockPages { settleWhole(block) } else { settle(block) }
    }
    if isLeaving { forEachBlock(section, address, pages) { block, _, _ in returnNow(block) } }
  }

  /// Grows the run of `pages` pages at `address` by `extra` pages in place. False, and nothing changed,
  /// where the pages behind it are not free. Takes the zone's lock.
  package func extend(_ section: SectionRef, address: UInt, pages: UInt, extra: UInt) -> Bool {
    let end = address &+ pages &<< Page.shift
    let limit = section.it.base &+ UInt(section.it.blocks) &<< it.geometry.pageblockShift
    guard end &+ extra &<< Page.shift <= limit else { return false }
    lock.acquire()
    defer { lock.release() }
    var free = true
    forEachBlock(section, end, extra) { block, first, count in
      if block.has(Pageblock.isolated | Pageblock.caged) || block.it.used.count(first, count: count) != 0 {
        free = false
      }
    }
    let last = (end &+ extra &<< Page.shift &- section.it.base &- 1) &>> it.geometry.pageblockShift
    guard free, commit(section, through: last &+ 1) else { return false }
    _ = takeRun(section, end, extra)
    return true
  }
}
