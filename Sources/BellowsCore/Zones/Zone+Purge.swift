// Returning free memory to the system.
//
// Pageblocks with dirty pages wait on a queue, the longest dirty first. A purge takes one off, isolates it
// so that nobody allocates in it, and drops the lock for the system calls: one a run of free pages, from its first dirty
// page to its last. (What lies between was returned already, and costs less than another call.)

import CShims

extension Ref where Pointee == Zone {
  /// Under the zone's lock.
  package func enqueuePurge(_ block: PageblockRef) { enqueuePurge(block, bellows_clock_milliseconds()) }

  /// The same where the time in milliseconds is known. Under the zone's lock.
  @inline(__always)
  func enqueuePurge(_ block: PageblockRef, _ now: UInt64) {
    block.set(Pageblock.queued)
    block.it.dirtySince = now
    block.it.purgeNext = 0
    block.it.purgePrevious = it.purgeTail
    if it.purgeTail != 0 {
      PageblockRef(it.purgeTail).it.purgeNext = block.address
    } else {
      it.purgeHead = block.address
    }
    it.purgeTail = block.address
  }

  /// Free pages that may be resident. Takes the zone's lock.
  package func dirtyPagesNow() -> UInt {
    lock.acquire()
    defer { lock.release() }
    return it.dirtyPages
  }

  /// Counts pages that the heap returned out of its shards. Takes the zone's lock.
  package func noteReturned(_ pages: UInt) {
    lock.acquire()
    it.returnedPages = it.returnedPages &+ pages
    it.returnCalls = it.returnCalls &+ 1
    lock.release()
  }

  /// Under the zone's lock.
  package func dequeuePurge(_ block: PageblockRef) {
    block.clear(Pageblock.queued)
    if block.it.purgeNext != 0 {
      PageblockRef(block.it.purgeNext).it.purgePrevious = block.it.purgePrevious
    } else {
      it.purgeTail = block.it.purgePrevious
    }
    if block.it.purgePrevious != 0 {
      PageblockRef(block.it.purgePrevious).it.purgeNext = block.it.purgeNext
    } else {
      it.purgeHead = block.it.purgeNext
    }
  }

  /// Returns the dirty pages of pageblocks that became dirty at or before `deadline` (milliseconds), until
  /// `keep` dirty pages are left. Answers the number of pages returned. Takes the zone's lock, not during
  /// the system calls.
  @discardableResult
  package func purge(dirtySince deadline: UInt64, keep: UInt = 0) -> UInt {
    var returned: UInt = 0
    lock.acquire()
    // A pageblock whose purge fails, or that is freed into meanwhile, goes to the end of the queue: stop
    // where the pass began.
    let last = it.purgeTail
    let began = bellows_clock_milliseconds()
    sinkSurplusLimit(began)
    while it.purgeHead != 0, keep == 0 || it.dirtyPages > keep {
      let block = PageblockRef(it.purgeHead)
      // What came to the queue since is left for the next pass, so that a pass ends where the system refuses.
      guard block.it.dirtySince <= deadline, block.it.dirtySince <= began else { break }
      dequeuePurge(block)
      returned = returned &+ purge(block)
      if block.address == last { break }
    }
    lock.release()
    return returned
  }

  /// Returns the dirty pages of a pageblock without waiting for its turn. Under the zone's lock, which it drops
  /// and takes again.
  @discardableResult
  package func returnNow(_ block: PageblockRef) -> UInt {
    // Where a purge is at work in it, that one puts it on the queue again.
    guard block.it.dirtyPages != 0, !block.has(Pageblock.isolated) else { return 0 }
    if block.has(Pageblock.queued) { dequeuePurge(block) }
    return purge(block)
  }

  /// Under the zone's lock, which it drops and takes again.
  private func purge(_ block: PageblockRef) -> UInt {
    guard block.it.dirtyPages != 0, !block.has(Pageblock.isolated) else { return 0 }
    let dirty = block.it.dirty
    let used = block.it.used.pages
    let undescribed = descriptorPagesToDrop(block)
    // In a signal handler: of the purge that it interrupted.
    let interrupted = bellows_purging()
    bellows_purging_set(block.address)
    block.set(Pageblock.isolated)
    settle(block)
    lock.release()

    let start = address(of: block)
    // A memmap that was populated when its section was added stays so.
    if !SectionRef(block.it.section).it.memory.has(SectionMemory.populated) {
      dropDescriptors(block, undescribed)
    }
    var gone = PageMask()
    var pages: UInt = 0
    var calls: UInt = 0
    var from: UInt = 0
    while let run = dirty.nextRun(from: from) {
      var count = run.count
      from = run.first &+ run.count
      while let next = dirty.nextRun(from: from), used.count(from, count: next.first &- from) == 0 {
        count = count &+ next.count
        from = next.first &+ next.count
      }
      calls = calls &+ 1
      if it.platform.attempt(.discard, start &+ run.first &<< Page.shift, (from &- run.first) &<< Page.shift)
      {
        gone.insert(run.first, count: from &- run.first)
        pages = pages &+ count
      }
    }

    lock.acquire()
    // Nobody allocated here meanwhile; what was freed here meanwhile is not in `gone`.
    block.it.dirty.formIntersection(complementOf: gone)
    block.it.dirtyPages &-= UInt16(truncatingIfNeeded: pages)
    it.dirtyPages = it.dirtyPages &- pages
    it.returnedPages = it.returnedPages &+ pages
    it.returnCalls = it.returnCalls &+ calls
    block.clear(Pageblock.isolated)
    bellows_purging_set(interrupted)
    if block.it.dirtyPages != 0, !block.has(Pageblock.queued) { enqueuePurge(block) }
    settle(block)
    return pages
  }

  /// A page of the memmap describes 64 pages: the pages of a pageblock's part, as bits, that describe free pages
  /// alone, of which some are dirty.
  ///
  /// Nothing is described there, so they are all zeros and can go as well. What was 2 GiB of blocks would otherwise
  /// leave 32 MiB of descriptors behind, and a few survivors in each pageblock would keep theirs whole.
  private func descriptorPagesToDrop(_ block: PageblockRef) -> UInt {
    var bits: UInt = 0
    for place in 0..<(blockPages &>> 6)
    where block.it.used.count(place &<< 6, count: 64) == 0
      && block.it.dirty.count(place &<< 6, count: 64) != 0
    {
      bits |= 1 &<< place
    }
    return bits
  }

  private func dropDescriptors(_ block: PageblockRef, _ pages: UInt) {
    let section = SectionRef(block.it.section)
    let start = section.it.memmap &+ UInt(block.it.index) &* blockPages &* Page.descriptorBytes
    var left = pages
    while left != 0 {
      let first = UInt(truncatingIfNeeded: left.trailingZeroBitCount)
      let count = UInt(truncatingIfNeeded: (~(left &>> first)).trailingZeroBitCount)
      it.platform.attempt(.discard, start &+ first &<< Page.shift, count &<< Page.shift)
      left &= ~(((1 &<< count) &- 1) &<< first)
    }
  }

  /// In the child of a fork, before anything else: tells pageblocks that purges of other threads had isolated from the one
  /// that its own thread is returning, if it was interrupted there. That purge goes on in the child and takes it back.
  package func orphanPurges() {
    forEachCommittedBlock { block in
      if block.has(Pageblock.isolated), block.address != bellows_purging() { block.set(Pageblock.orphaned) }
    }
  }

  /// In the child of a fork: pageblocks that `orphanPurges` found come back. Takes the zone's lock.
  package func recoverAfterFork() {
    lock.acquire()
    defer { lock.release() }
    forgetTaken()
    forEachCommittedBlock { block in
      guard block.has(Pageblock.orphaned) else { return }
      block.clear(Pageblock.isolated | Pageblock.orphaned)
      if block.it.dirtyPages != 0, !block.has(Pageblock.queued) { enqueuePurge(block) }
      settle(block)
    }
  }

  private func forEachCommittedBlock(_ body: (PageblockRef) -> Void) {
    var next = it.firstSection
    while next != 0 {
      let section = SectionRef(next)
      for index in UInt(section.it.memmapBlocks)..<UInt(section.it.committedBlocks) {
        body(section.block(index))
      }
      next = section.it.next
    }
  }
}
