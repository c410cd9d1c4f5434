// Returning free memory to the system.
//
// Pageblocks with dirty pages wait on a queue, the longest dirty first. A purge takes one off, isolates it
// so that nobody allocates in it, and drops the lock for the system calls: one a run of dirty pages.

import CShims

extension Ref where Pointee == Zone {
  /// Under the zone's lock.
  package func enqueuePurge(_ block: PageblockRef) {
    block.set(Pageblock.queued)
    block.it.dirtySince = bellows_clock_milliseconds()
    block.it.purgeNext = 0
    block.it.purgePrevious = it.purgeTail
    if it.purgeTail != 0 {
      PageblockRef(it.purgeTail).it.purgeNext = block.address
    } else {
      it.purgeHead = block.address
    }
    it.purgeTail = block.address
  }

  /// Counts pages that the heap returned out of its shards. Takes the zone's lock.
  package func noteReturned(_ pages: UInt) {
    lock.acquire()
    it.returnedPages = it.returnedPages &+ pages
    it.returnCalls = it.returnCalls &+ 1
    lock.release()
  }

  private func dequeuePurge(_ block: PageblockRef) {
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

  /// Under the zone's lock, which it drops and takes again.
  private func purge(_ block: PageblockRef) -> UInt {
    guard block.it.dirtyPages != 0, !block.has(Pageblock.isolated) else { return 0 }
    let dirty = block.it.dirty
    let isFree = block.it.usedPages == 0
    block.set(Pageblock.isolated)
    settle(block)
    lock.release()

    let start = address(of: block)
    // Nothing is described in a free pageblock, so its part of the memmap is all zeros and can go as well: what
    // was 2 GiB of blocks would otherwise leave 32 MiB of descriptors behind.
    if isFree {
      let section = SectionRef(block.it.section)
      let bytes = blockPages &* Page.descriptorBytes
      if bytes.isAligned(to: Page.bytes) {
        it.platform.attempt(.discard, section.it.memmap &+ UInt(block.it.index) &* bytes, bytes)
      }
    }
    var gone = PageMask()
    var pages: UInt = 0
    var calls: UInt = 0
    var from: UInt = 0
    while let run = dirty.nextRun(from: from) {
      calls = calls &+ 1
      if it.platform.attempt(.discard, start &+ run.first &<< Page.shift, run.count &<< Page.shift) {
        gone.insert(run.first, count: run.count)
        pages = pages &+ run.count
      }
      from = run.first &+ run.count
      if from >= PageMask.capacity { break }
    }

    lock.acquire()
    // Nobody allocated here meanwhile; what was freed here meanwhile is not in `gone`.
    block.it.dirty.formIntersection(complementOf: gone)
    block.it.dirtyPages &-= UInt16(truncatingIfNeeded: pages)
    it.dirtyPages = it.dirtyPages &- pages
    it.returnedPages = it.returnedPages &+ pages
    it.returnCalls = it.returnCalls &+ calls
    block.clear(Pageblock.isolated)
    if block.it.dirtyPages != 0, !block.has(Pageblock.queued) { enqueuePurge(block) }
    settle(block)
    return pages
  }

  /// In the child of a fork: pageblocks that a purge in another thread had isolated come back. Takes the zone's
  /// lock.
  package func recoverAfterFork() {
    lock.acquire()
    defer { lock.release() }
    var next = it.firstSection
    while next != 0 {
      let section = SectionRef(next)
      for index in UInt(section.it.memmapBlocks)..<UInt(section.it.committedBlocks) {
        let block = section.block(index)
        guard block.has(Pageblock.isolated) else { continue }
        block.clear(Pageblock.isolated)
        if block.it.dirtyPages != 0, !block.has(Pageblock.queued) { enqueuePurge(block) }
        settle(block)
      }
      next = section.it.next
    }
  }
}
