// Taking a section out of circulation, and bringing it back: the zone's part of going offline.
//
// The free pages of a caged pageblock are on no list, so nobody can allocate them: they are the cage's. "What you
// own is not in use": when the cage owns every page behind the memmap, the section can go. Nothing marks a page as
// taken but that its pageblock is caged and the page is free, so a page that is freed into a cage is taken by that.
//
//     online ──isolate──► going-offline ──take, return──► all free? ──detach──► offline
//        ▲                     │   ▲ │                                             │
//        └──────release────────┘   └─┘ freed pages                 attach          │
//        └─────────────────────────────────────────────────────────────────────────┘
//
// One at a time does this to a section: whoever holds the transition's token (Offline.swift).

import CShims

/// What is in a section, in pages behind its memmap.
package struct SectionCensus: BitwiseCopyable, Sendable {
  /// Allocated.
  package var used: UInt = 0
  /// Free, and out of circulation.
  package var caged: UInt = 0
  /// Free, and perhaps resident.
  package var dirty: UInt = 0
  /// Pageblocks that a purge is at work in.
  package var busyBlocks: UInt = 0
  /// Caged pageblocks that are wholly free, and pageblocks in all.
  package var wholeBlocks: UInt = 0
  package var blocks: UInt = 0

  package init() {}
}

/// How often a piece of each order was tried, and how often all of it was there to take.
package struct Pieces: BitwiseCopyable, Sendable {
  /// Orders 0 to 18: the largest section, 1 GiB, has 2^18 pages.
  package static var orders: UInt { 19 }
  package var tried: InlineArray<19, UInt32> = InlineArray(repeating: 0)
  package var taken: InlineArray<19, UInt32> = InlineArray(repeating: 0)

  package init() {}
}

extension Ref where Pointee == Zone {
  private func forEachBlock(_ section: SectionRef, _ body: (PageblockRef) -> Void) {
    for index in UInt(section.it.memmapBlocks)..<UInt(section.it.blocks) { body(section.block(index)) }
  }

  private func free(_ block: PageblockRef) -> UInt { blockPages &- UInt(block.it.usedPages) }

  // MARK: Out of circulation

  /// Takes an online section out of circulation: from now on nothing is allocated in it. False, and nothing
  /// done, where it is not online in this zone. `returnsFreed`: what is freed from now on goes back to the system
  /// at once. Takes the zone's lock; O(pageblocks).
  package func isolate(_ section: SectionRef, returnsFreed: Bool) -> Bool {
    lock.acquire()
    defer { lock.release() }
    guard section.it.state == .online, section.it.zone == address else { return false }
    section.setReturnsFreed(returnsFreed)
    section.move(to: .goingOffline)
    if isUntouched(section) {
      it.cagedPages = it.cagedPages &+ bodyPages(section)
    } else {
      nameBlocks(section)
      forEachBlock(section) { if !$0.has(Pageblock.caged) { cage($0) } }
    }
    section.it.busy.insert(0, count: UInt(section.it.blocks))
    section.it.freeBlocks = 0
    return true
  }

  /// Tells the pageblocks where they belong: those that were never committed do not know.
  private func nameBlocks(_ section: SectionRef) {
    for index in UInt(section.it.memmapBlocks)..<UInt(section.it.blocks) {
      let block = section.block(index)
      block.it.section = section.address
      block.it.index = UInt16(truncatingIfNeeded: index)
    }
  }

  private func cage(_ block: PageblockRef) {
    it.cagedPages = it.cagedPages &+ free(block)
    block.set(Pageblock.caged | Pageblock.countedBusy)
    if block.it.list != 0 { settle(block) }
  }

  /// Whether a section on its way offline is all the cage's without a word in its pageblocks: nobody ever had a page of it.
  private func isUntouched(_ section: SectionRef) -> Bool {
    section.it.state == .goingOffline && !section.it.needsFresh
  }

  private func bodyBlocks(_ section: SectionRef) -> UInt {
    UInt(section.it.blocks &- section.it.memmapBlocks)
  }
  private func bodyPages(_ section: SectionRef) -> UInt { bodyBlocks(section) &* blockPages }

  private func uncage(_ block: PageblockRef) {
    block.clear(Pageblock.caged)
    it.cagedPages = it.cagedPages &- free(block)
    // A pageblock that is wholly free is on no list, caged or not.
    if block.it.usedPages == 0 { settleWhole(block) } else { settle(block) }
  }

  /// The section's part of that, where every pageblock is wholly free.
  private func uncageAll(_ section: SectionRef) {
    section.it.busy.remove(UInt(section.it.memmapBlocks), count: bodyBlocks(section))
    section.it.freeBlocks = UInt16(truncatingIfNeeded: bodyBlocks(section))
    it.cagedPages = it.cagedPages &- bodyPages(section)
  }

  /// Brings a section back: what is free in it can be allocated again. Takes the zone's lock; O(pageblocks).
  package func release(_ section: SectionRef) {
    lock.acquire()
    defer { lock.release() }
    if isUntouched(section) {
      uncageAll(section)
      if it.firstFreeSection == 0 || SectionRef(it.firstFreeSection).it.number > section.it.number {
        it.firstFreeSection = section.address
      }
    } else {
      forEachBlock(section) { if $0.has(Pageblock.caged) { uncage($0) } }
    }
    if section.it.state == .goingOffline { section.move(to: .online) }
  }

  /// Brings back what is not wholly free and leaves the rest out of circulation; answers the pageblocks that stay
  /// out. (Linux: virtio-mem keeps the sub-blocks that it got.) Takes the zone's lock; O(pageblocks).
  package func keepWholeBlocks(_ section: SectionRef) -> UInt {
    lock.acquire()
    defer { lock.release() }
    if isUntouched(section) {
      // From here on its pageblocks say it.
      section.it.needsFresh = true
      it.cagedPages = it.cagedPages &- bodyPages(section)
      nameBlocks(section)
      forEachBlock(section) { cage($0) }
    }
    var kept: UInt = 0
    forEachBlock(section) { block in
      if block.it.usedPages != 0 || block.it.dirtyPages != 0 { uncage(block) } else { kept = kept &+ 1 }
    }
    section.move(to: .online)
    return kept
  }

  // MARK: Looking

  /// Whether the page that holds `address` is out of circulation. Takes the zone's lock.
  package func isCaged(_ section: SectionRef, _ address: UInt) -> Bool {
    lock.acquire()
    defer { lock.release() }
    let index = (address &- section.it.base) &>> it.geometry.pageblockShift
    if section.it.state == .offline { return true }
    guard index >= UInt(section.it.memmapBlocks), index < UInt(section.it.blocks) else { return false }
    return isUntouched(section) || section.block(index).has(Pageblock.caged)
  }

  /// Takes the zone's lock; O(pageblocks).
  package func census(_ section: SectionRef) -> SectionCensus {
    lock.acquire()
    defer { lock.release() }
    var result = SectionCensus()
    if isUntouched(section) {
      result.blocks = bodyBlocks(section)
      result.wholeBlocks = result.blocks
      result.caged = bodyPages(section)
      return result
    }
    forEachBlock(section) { block in
      result.blocks = result.blocks &+ 1
      result.used = result.used &+ UInt(block.it.usedPages)
      result.dirty = result.dirty &+ UInt(block.it.dirtyPages)
      if block.has(Pageblock.isolated) { result.busyBlocks = result.busyBlocks &+ 1 }
      if block.has(Pageblock.caged) {
        result.caged = result.caged &+ free(block)
        if block.it.usedPages == 0 { result.wholeBlocks = result.wholeBlocks &+ 1 }
      }
    }
    return result
  }

  /// Whether anything behind the memmap is allocated. Takes the zone's lock; O(pageblocks).
  package func hasUsedPages(_ section: SectionRef) -> Bool {
    lock.acquire()
    defer { lock.release() }
    var used: UInt16 = 0
    if !isUntouched(section) { forEachBlock(section) { used |= $0.it.usedPages } }
    return used != 0
  }

  /// Calls `body` with the address of each granule of a section that has an allocated page. Takes the zone's lock
  /// for each pageblock, not during the calls.
  package func forEachUsedGranule(_ section: SectionRef, _ body: (UInt) -> Void) {
    forEachBlock(section) { block in
      lock.acquire()
      let used = block.it.used.pages
      let count = block.it.usedPages
      let start = section.it.base &+ UInt(block.it.index) &<< it.geometry.pageblockShift
      lock.release()
      guard count != 0 else { return }
      var page: UInt = 0
      while page < blockPages {
        if used.count(page, count: Page.granulePages) != 0 { body(start &+ page &<< Page.shift) }
        page = page &+ Page.granulePages
      }
    }
  }

  /// What `body` answers where the granule at `address` has an allocated page, else false. Under the zone's lock, so
  /// nobody gives its pages back meanwhile.
  package func ifUsed(_ section: SectionRef, _ address: UInt, _ body: () -> Bool) -> Bool {
    lock.acquire()
    defer { lock.release() }
    let page = (address &- section.it.base) &>> Page.shift
    let block = section.block(page &>> it.geometry.pageblockOrder)
    return block.it.used.count(page & (blockPages &- 1), count: Page.granulePages) != 0 && body()
  }

  // MARK: Taking

  /// Takes what is free in a caged section in as few pieces as there are: the whole order first, then the ladder of
  /// smaller ones. Adds them to `pieces`. Takes the zone's lock; O(pages) at worst.
  package func take(_ section: SectionRef, _ pieces: inout Pieces) {
    lock.acquire()
    defer { lock.release() }
    takeWhole(&pieces) { first, order in ownedPages(section, first: first, order: order) }
  }

  /// The same of a section of which every page behind the memmap is the cage's. O(orders): looks at no pageblock.
  package func takeAll(_ section: SectionRef, _ pieces: inout Pieces) {
    let start = UInt(section.it.memmapBlocks) &* blockPages
    let end = UInt(section.it.blocks) &* blockPages
    takeWhole(&pieces) { first, order in
      let (low, high) = (max(first, start), min(first &+ 1 &<< order, end))
      return low < high ? high &- low : 0
    }
  }

  private func takeWhole(_ pieces: inout Pieces, _ owned: (_ first: UInt, _ order: UInt) -> UInt) {
    take(first: 0, order: it.geometry.sectionShift &- Page.shift, owned, &pieces)
  }

  /// The aligned piece of 2^order pages at page `first` of a section, or what there is of it. `owned`: how many pages of a
  /// piece are the cage's; the memmap's never are.
  private func take(
    first: UInt, order: UInt, _ owned: (_ first: UInt, _ order: UInt) -> UInt, _ pieces: inout Pieces
  ) {
    let count: UInt = 1 &<< order
    let pages = owned(first, order)
    if pages == 0 { return }
    pieces.tried[Int(order)] &+= 1
    if pages == count {
      pieces.taken[Int(order)] &+= 1
      return
    }
    take(first: first, order: order &- 1, owned, &pieces)
    take(first: first &+ count &>> 1, order: order &- 1, owned, &pieces)
  }

  private func ownedPages(_ section: SectionRef, first: UInt, order: UInt) -> UInt {
    let shift = it.geometry.pageblockOrder
    let index = first &>> shift
    if order < shift {
      let block = section.block(index)
      guard isTaken(section, index) else { return 0 }
      return (1 &<< order) &- block.it.used.count(first & (blockPages &- 1), count: 1 &<< order)
    }
    var owned: UInt = 0
    for place in index..<(index &+ 1 &<< (order &- shift)) where isTaken(section, place) {
      owned = owned &+ free(section.block(place))
    }
    return owned
  }

  private func isTaken(_ section: SectionRef, _ index: UInt) -> Bool {
    index >= UInt(section.it.memmapBlocks) && index < UInt(section.it.blocks)
      && (isUntouched(section) || section.block(index).has(Pageblock.caged))
  }

  /// Returns the pages of a caged section that are free and perhaps resident to the system; answers how many went.
  /// Takes the zone's lock, not during the system calls.
  package func returnFree(_ section: SectionRef) -> UInt {
    lock.acquire()
    defer { lock.release() }
    var returned: UInt = 0
    forEachBlock(section) { if $0.has(Pageblock.caged) { returned = returned &+ returnNow($0) } }
    return returned
  }

  // MARK: Going and coming back

  /// Takes a caged section whose every page is the cage's, and none of them resident, as a census has just told, out
  /// of the zone. False, and nothing done, where the system refuses. Its memmap stays as it is; the rest becomes
  /// inaccessible, and its commit charge goes back. Takes the zone's lock, not during the system calls.
  package func detach(_ section: SectionRef) -> Bool {
    let start = section.it.base &+ UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
    let committed = section.it.committedBlocks
    let bytes = UInt(committed &- section.it.memmapBlocks) &<< it.geometry.pageblockShift
    let wasUntouched = isUntouched(section)
    // Before it is so: the child of a fork in between must not take it for accessible.
    setCommitted(section, section.it.memmapBlocks)
    var isFresh = section.it.needsFresh
    if bytes != 0 {
      guard section.shut(start, bytes, isFresh: &isFresh, platform: it.platform) else {
        setCommitted(section, committed)
        return false
      }
      if isFresh { preferAgain(section, start, bytes) }
    }
    lock.acquire()
    defer { lock.release() }
    section.it.needsFresh = isFresh
    if !wasUntouched {
      forEachBlock(section) { block in
        if block.has(Pageblock.queued) { dequeuePurge(block) }
        block.clear(Pageblock.caged | Pageblock.countedBusy)
      }
    }
    uncageAll(section)
    remove(section)
    section.it.zone = 0
    section.it.next = 0
    section.it.previous = 0
    section.move(to: .offline)
    return true
  }

  private func setCommitted(_ section: SectionRef, _ blocks: UInt16) {
    lock.acquire()
    section.it.committedBlocks = blocks
    lock.release()
  }
}
