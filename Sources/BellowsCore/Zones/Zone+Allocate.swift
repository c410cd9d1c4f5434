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
  /// `pages` pages in a row at a multiple of `alignment` pages (a power of two).
  ///
  /// Takes the zone's lock. One bit scan for a short run; above 64 KiB a scan of the maps of the sections that may have a
  /// hole so long, and for more alignment than a granule's one of their free pageblocks.
  ///
  /// Movable pages come from pageblocks of their own; from the others only where there is no room beside their like.
  package func allocate(pages: UInt, alignment: UInt, isMovable: Bool = false) -> PageOutcome {
    lock.acquire()
    defer { lock.release() }
    let order = max(pages.ceilingLog2, alignment.ceilingLog2)
    if pages > Zone.mostAlignedPages, alignment <= Page.granulePages {
      return allocateInHole(pages: pages, isMovable)
    }
    return order <= it.geometry.pageblockOrder
      ? allocateInBlock(pages: pages, order: order, isMovable)
      : allocateBlocks(pages: pages, alignment: alignment, isMovable)
  }

  /// The run that `allocate` would answer, if all of it may be resident already. For long runs without alignment that
  /// cannot move. Takes the zone's lock.
  package func allocateResident(pages: UInt) -> PageRun? {
    lock.acquire()
    defer { lock.release() }
    guard pages > Zone.mostAlignedPages,
      case .run(let run) = allocateInHole(pages: pages, false, isResident: true)
    else { return nil }
    return run
  }

  private func allocateInBlock(pages: UInt, order: UInt, _ isMovable: Bool) -> PageOutcome {
    let partial = partialPlace(order: order, isMovable)
    if let place = partial, isDirty(place) { return .run(take(place, pages)) }
    if let place = dirtyPlace(order: order, isMovable) {
      if place.block.it.usedPages == 0 { setType(place.block, isMovable) }
      return .run(take(place, pages))
    }
    if let partial { return .run(take(partial, pages)) }
    var section = SectionRef(firstSectionWithFreeBlock())
    while section.address != 0 {
      if section.it.freeBlocks > 0, let index = section.it.busy.next(member: false, from: 0) {
        guard commit(section, through: index &+ 1) else { return .refused }
        setType(section.block(index), isMovable)
        return .run(take((section.block(index), 0), pages))
      }
      section = SectionRef(section.it.next)
    }
    if let place = partialPlace(order: order, !isMovable) { return .run(take(place, pages)) }
    return .none
  }

  /// A pageblock and a page of it.
  private typealias PagePlace = (block: PageblockRef, first: UInt)

  /// In a partly used pageblock of one migrate type that has an aligned block of 2^order pages.
  private func partialPlace(order: UInt, _ isMovable: Bool) -> PagePlace? {
    let type = isMovable ? 1 : 0
    let first = UInt64(truncatingIfNeeded: order &* Zone.listsPerOrder)
    let candidates = it.occupied[type] & ((~0 as UInt64) &<< first)
    guard candidates != 0 else { return nil }
    let block = PageblockRef(it.heads[type &* Zone.listsPerType &+ candidates.trailingZeroBitCount])
    guard let start = block.it.used.firstFree(order: order) else { return nil }
    return (block, start)
  }

  /// In the pageblock that became dirty first: rather than pages that were never touched, those that would be returned
  /// next. (Batches of 20,000 blocks of 256 bytes, taken and freed: 6.9 MiB resident instead of 8.0, and 290 page faults
  /// less.)
  private func dirtyPlace(order: UInt, _ isMovable: Bool) -> PagePlace? {
    guard it.purgeHead != 0 else { return nil }
    let block = PageblockRef(it.purgeHead)
    guard !block.has(Pageblock.isolated | Pageblock.caged),
      block.it.usedPages == 0 || block.has(Pageblock.movable) == isMovable,
      let start = block.it.used.firstFree(order: order), isDirty((block, start))
    else { return nil }
    return (block, start)
  }

  private func isDirty(_ place: PagePlace) -> Bool {
    place.block.it.dirtyPages != 0 && place.block.it.dirty.contains(place.first)
  }

  // MARK: Long runs

  /// The lowest hole of the lowest section that has one. Address-ordered first fit leaves the least unused of all
  /// rules that are cheap (Wilson et al., "Dynamic Storage Allocation: A Survey and Critical Review", 1995): 64 live blocks
  /// of 32 KiB to 4 MiB, 38 MiB on average, take 53 MiB; within pageblocks they took 73.
  ///
  /// Where there was none is not looked at again until one has come (HoleHints).
  private func allocateInHole(pages: UInt, _ isMovable: Bool, isResident: Bool = false) -> PageOutcome {
    let outcome = takeLowest(pages, isMovable, beside: isMovable, isResident)
    // Rather beside pages of the other type than nowhere.
    guard case .none = outcome, !isResident, it.occupied[isMovable ? 0 : 1] != 0 else { return outcome }
    return takeLowest(pages, isMovable, beside: nil, isResident)
  }

  private func takeLowest(
    _ pages: UInt, _ isMovable: Bool, beside type: Bool?, _ isResident: Bool
  ) -> PageOutcome {
    let granules = (pages &+ (Page.granulePages &- 1)) &>> Page.granuleOrder
    var outcome = PageOutcome.none
    var section = SectionRef(it.firstSection)
    while section.address != 0 {
      if let first = hole(section, granules, type) {
        if isResident, !isDirty(section, first, pages) { return .none }
        outcome = takeHole(section, first, pages, isMovable)
        // Where the system refuses this one, a later section may have one that is accessible already.
        if case .run = outcome { return outcome }
      }
      section = SectionRef(section.it.next)
    }
    return outcome
  }

  /// The first page of a hole of so many granules where no pageblock is out of circulation or has pages of the other
  /// migrate type (nil: of whichever).
  private func hole(_ section: SectionRef, _ granules: UInt, _ isMovable: Bool?) -> UInt? {
    guard !section.isGoingOffline else { return nil }
    let map = map(section)
    let hint = section.it.hints.first(for: granules)
    var from = hint
    while let granule = map.firstHole(granules, from: from) {
      let first = granule &<< Page.granuleOrder
      guard let unfit = lastUnfit(section, first, granules &<< Page.granuleOrder, isMovable) else {
        if from == hint { section.it.hints.noHole(granules, before: granule) }
        return first
      }
      from = (unfit &+ 1) &* (blockPages &>> Page.granuleOrder)
    }
    if from == hint { section.it.hints.noHole(granules, before: it.geometry.granulesPerSection) }
    return nil
  }

  /// The last of the pageblocks of a hole that cannot be used.
  @inline(__always)
  private func lastUnfit(_ section: SectionRef, _ first: UInt, _ pages: UInt, _ isMovable: Bool?) -> UInt? {
    let order = it.geometry.pageblockOrder
    var index = (first &+ pages &- 1) &>> order
    while true {
      let block = section.block(index)
      if block.has(Pageblock.isolated | Pageblock.caged) { return index }
      if let isMovable, block.it.usedPages != 0, block.has(Pageblock.movable) != isMovable { return index }
      if index == first &>> order { return nil }
      index = index &- 1
    }
  }

  private func takeHole(_ section: SectionRef, _ first: UInt, _ pages: UInt, _ isMovable: Bool) -> PageOutcome
  {
    let end = ((first &+ pages &- 1) &>> it.geometry.pageblockOrder) &+ 1
    if end > UInt(section.it.committedBlocks), !commit(section, through: end) { return .refused }
    return .run(takeRun(section, section.it.base &+ first &<< Page.shift, pages, type: isMovable))
  }

  /// Whether all of these free pages may be resident.
  private func isDirty(_ section: SectionRef, _ first: UInt, _ pages: UInt) -> Bool {
    let order = it.geometry.pageblockOrder
    var page = first
    let end = first &+ pages
    while page < end {
      let block = section.block(page &>> order)
      let next = min(((page &>> order) &+ 1) &<< order, end)
      let dirty = UInt(block.it.dirtyPages)
      if dirty != blockPages {
        let count = next &- page
        guard dirty >= count, block.it.dirty.count(page & (blockPages &- 1), count: count) == count else {
          return false
        }
      }
      page = next
    }
    return true
  }

  /// Gives a wholly free pageblock its migrate type.
  private func setType(_ block: PageblockRef, _ isMovable: Bool) {
    if isMovable { block.set(Pageblock.movable) } else { block.clear(Pageblock.movable) }
  }

  private func take(_ place: PagePlace, _ pages: UInt) -> PageRun {
    let clean = mark(place.block, first: place.first, pages: pages)
    countTaken(pages)
    let start = address(of: place.block) &+ place.first &<< Page.shift
    enter(SectionRef(place.block.it.section), start, pages)
    return PageRun(address: start, pages: pages, isZero: clean)
  }

  @inline(__always)
  private func countTaken(_ pages: UInt) {
    it.usedPages = it.usedPages &+ pages
    it.takenPages = it.takenPages &+ pages
  }

  /// Marks free pages as used; true if none was dirty.
  private func mark(_ block: PageblockRef, first: UInt, pages: UInt) -> Bool {
    let isClean = block.it.dirtyPages == 0 || clean(block, first: first, pages: pages) == 0
    block.it.used.insert(first, count: pages)
    block.it.usedPages &+= UInt16(truncatingIfNeeded: pages)
    if pages == blockPages { settleWhole(block) } else { settle(block) }
    return isClean
  }

  /// Enters used pages into the map of their section.
  @inline(__always)
  private func enter(_ section: SectionRef, _ address: UInt, _ pages: UInt) {
    let first = (address &- section.it.base) &>> Page.granuleShift
    let last = (address &+ pages &<< Page.shift &- 1 &- section.it.base) &>> Page.granuleShift
    map(section).insert(first, count: last &- first &+ 1)
  }

  /// Takes free pages out of it, but for a granule at either end of which another page is used.
  @inline(__always)
  private func leave(_ section: SectionRef, _ address: UInt, _ pages: UInt) {
    let mask = Page.granulePages &- 1
    let page = (address &- section.it.base) &>> Page.shift
    var first = page &>> Page.granuleOrder
    var end = (page &+ pages &+ mask) &>> Page.granuleOrder
    if page & mask != 0, isUsed(section, first) { first = first &+ 1 }
    if first < end, (page &+ pages) & mask != 0, isUsed(section, end &- 1) { end = end &- 1 }
    guard first < end else { return }
    let hole = map(section).remove(first, count: end &- first)
    section.it.hints.hole(hole.length, at: hole.start)
  }

  /// Whether a page of a granule is used.
  private func isUsed(_ section: SectionRef, _ granule: UInt) -> Bool {
    let page = granule &<< Page.granuleOrder
    let block = section.block(page &>> it.geometry.pageblockOrder)
    return block.it.used.count(page & (blockPages &- 1), count: Page.granulePages) != 0
  }

  /// Takes pages out of the dirty ones; answers how many were such.
  @inline(__always)
  private func clean(_ block: PageblockRef, first: UInt, pages: UInt) -> UInt {
    var dirty = pages
    if UInt(block.it.dirtyPages) == blockPages {
      block.it.dirty.remove(first, count: pages)
    } else {
      dirty = block.it.dirty.take(first, count: pages)
      guard dirty != 0 else { return 0 }
    }
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
          let start = section.it.base &+ index &<< it.geometry.pageblockShift
          return .run(takeRun(section, start, pages, type: isMovable))
        }
      }
      section = SectionRef(section.it.next)
    }
    return .none
  }

  /// `type`: whether the pageblocks of it that are wholly free become movable ones; nil: they stay what they were.
  package func takeRun(_ section: SectionRef, _ address: UInt, _ pages: UInt, type: Bool? = nil) -> PageRun {
    var clean = true
    forEachBlock(section, address, pages) { block, first, count in
      if let type, block.it.usedPages == 0 { setType(block, type) }
      if !mark(block, first: first, pages: count) { clean = false }
    }
    enter(section, address, pages)
    countTaken(pages)
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
    guard it.platform.open(start, bytes) else { return false }
    for index in committed..<blocks {
      let block = section.block(index)
      block.it.section = section.address
      block.it.index = UInt16(truncatingIfNeeded: index)
    }
    section.it.committedBlocks = UInt16(truncatingIfNeeded: blocks)
    return true
  }

  // MARK: Giving back

  /// Gives pages back. The caller has cleared the words of what lay there. `isAbsent` says that none of
  /// them is resident. Takes the zone's lock.
  package func free(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool = false) {
    lock.acquire()
    defer { lock.release() }
    freeLocked(section, address: address, pages: pages, isAbsent: isAbsent)
  }

  @inline(never)
  func freeLocked(_ section: SectionRef, address: UInt, pages: UInt, isAbsent: Bool) {
    it.usedPages = it.usedPages &- pages
    if !isAbsent {
      it.dirtyPages = it.dirtyPages &+ pages
      if it.dirtyPages > it.surplusLimit { noteSurplus() }
    }
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
    leave(section, address, pages)
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
