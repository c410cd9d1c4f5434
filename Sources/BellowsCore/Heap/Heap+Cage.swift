// The heap's part of taking a section offline: malloc must not return a block there any more, and what is freed
// there must go.
//
// A shard of a section that goes offline (a caged shard) belongs to nobody and is on no list, so nothing is
// allocated from it, and whoever frees in it claims it, returns the pages that became free, and lets go of it again.
// The hit paths do not change: they meet a word that is not their heap's.
//
//     owned by a thread ──acknowledge──┐
//     on an abandoned list ──gather────┼──► caged: unowned, on no list ──last free──► zone, to the system
//     full and unowned ──gather────────┘            ▲        │
//                                                   └─ free ─┘
//
// A thread's own shards are taken out of its heap by itself, at its next slow path (`epoch` says that it is due);
// or, if it is blocked in a system call, by whoever takes the section offline (Heap+Seize.swift). So that a thread
// which runs on hit paths alone comes by a slow path, its hot word is pointed to the empty heap. Until a thread has
// acknowledged, what it owns in the section is used memory like any other, and is not touched.
//
// The order that all rests on: the section's state is written, then `cages`, then `epoch`, and only then are heaps
// emptied, each under its lock. So whoever looks at the state under a heap's lock after it acknowledged sees it.

import CShims

/// What the heap cannot do by itself: the process's part.
package struct CageEnvironment: BitwiseCopyable, Sendable {
  /// Makes every running thread pass a memory barrier.
  package var barrier: @convention(c) () -> Void
  /// Whether thread `tid`, with `stack` on its stack, is blocked in a system call other than to wait for `lock`, and
  /// outside the hit paths.
  package var isParked: @convention(c) (_ tid: UInt32, _ stack: UInt, _ words: UInt, _ lock: UInt) -> Bool
  /// Tells the listeners: `(context, event, start, bytes)`; answers an errno, and in the upper half which of them.
  package var announce: @convention(c) (UInt, UInt32, UInt, UInt) -> Int
  package var context: UInt
  package var sleep: @convention(c) (UInt64) -> Void

  package init(
    context: UInt, barrier: @escaping @convention(c) () -> Void,
    isParked: @escaping @convention(c) (UInt32, UInt, UInt, UInt) -> Bool,
    announce: @escaping @convention(c) (UInt, UInt32, UInt, UInt) -> Int,
    sleep: @escaping @convention(c) (UInt64) -> Void
  ) {
    self.context = context
    self.barrier = barrier
    self.isParked = isParked
    self.announce = announce
    self.sleep = sleep
  }
}

extension Ref where Pointee == Heap {
  // MARK: Beginning and end

  /// A section is on its way: threads have to acknowledge that.
  package func beginCage() {
    _ = bellows_fetch_add(address &+ Heap.cagesOffset, 1)
    bellows_store_release(address &+ Heap.epochOffset, epoch &+ 1)
  }

  /// It is no longer.
  package func endCage() { _ = bellows_fetch_add(address &+ Heap.cagesOffset, 0 &- 1) }

  /// What thread heaps have to acknowledge.
  var epoch: UInt { bellows_load_acquire(address &+ Heap.epochOffset) }

  /// Whether any section is on its way offline, or memory of several nodes is about: whether it matters where a block lies.
  /// A load.
  @inline(__always)
  package var hasCages: Bool { bellows_load(address &+ Heap.cagesOffset) != 0 }

  /// Whether the page that holds `block` lies in a section on its way offline. A load where there is none.
  @inline(__always)
  package func isCaged(_ block: UInt) -> Bool { _slowPath(hasCages) && liesInCage(block) }

  @inline(never)
  private func liesInCage(_ block: UInt) -> Bool {
    isCaging && it.arena.section(at: block)?.isGoingOffline ?? false
  }

  /// Whether any section is on its way offline, whatever else matters.
  private var isCaging: Bool { bellows_load(address &+ Heap.cagesOffset) & ~Heap.spreadBit != 0 }

  // MARK: Shards

  /// A shard that the caller owns, whose counts are right, and which it is about to let go of: off its list, and
  /// what is free of it back to the system.
  func cage(_ shard: ShardRef) {
    unlist(shard)
    if it.arena.knownSection(at: shard.it.base).returnsAtOnce { punchHoles(shard) }
  }

  /// Takes every shard that lies in a section on its way offline out of a heap, and every run out of its slots.
  /// Under the heap's lock, by its own thread or while it is in no hit path and comes by none.
  package func acknowledge(_ heap: ThreadHeapRef) {
    let now = epoch
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      // What the thread freed may be of any shard, even one that is not its own any more.
      returnLists(heap, SizeClass(index))
      let current = heap.it.current[place]
      if current != 0, isCaged(ShardRef(current).it.base) {
        heap.it.current[place] = 0
        unbias(ShardRef(current))
        giveUp(ShardRef(current))
      }
      var next = heap.it.first[place]
      while next != 0 {
        let shard = ShardRef(next)
        next = shard.it.next
        guard isCaged(shard.it.base) else { continue }
        heap.dequeue(shard)
        giveUp(shard)
      }
    }
    emptySlots(heap)
    heap.it.epoch = now
  }

  /// As `acknowledge`, if it is due. Under the heap's lock.
  @inline(__always)
  package func acknowledgeLocked(_ heap: ThreadHeapRef) {
    if _slowPath(heap.it.epoch != epoch) { acknowledge(heap) }
  }

  /// As `acknowledge`, for a thread in none of its hit paths, if it is due. Takes the heap's lock.
  package func acknowledgeIfDue(_ heap: ThreadHeapRef) {
    guard isCaging else { return }
    heap.lock.acquire()
    acknowledgeLocked(heap)
    heap.lock.release()
  }

  /// One round of asking every thread: those that no hit path knows and those that are blocked are acknowledged for,
  /// the others sent to a slow path. Answers how many have not acknowledged. Takes the registry lock; tries each
  /// heap's.
  package func acknowledgeAll(_ environment: CageEnvironment) -> UInt {
    registry.acquire()
    forEachThreadHeap { heap in
      guard heap.lock.tryAcquire() else { return }
      if heap.it.epoch != epoch {
        if heap.it.isIdle || heap.it.isShared || it.isChecking {
          acknowledge(heap)
        } else if heap.it.words != 0 {
          bellows_store(heap.it.words, bellows_empty_heap())
        }
      }
      heap.lock.release()
    }
    registry.release()
    environment.barrier()
    var missing: UInt = 0
    forEachThreadHeap { heap in
      guard heap.lock.tryAcquire() else {
        missing = missing &+ 1
        return
      }
      if heap.it.epoch != epoch {
        if heap.it.words != 0, bellows_load(heap.it.words) == bellows_empty_heap(),
          environment.isParked(heap.it.threadID, heap.it.stack, heap.it.words, heap.lock.word)
        {
          acknowledge(heap)
          it.seizures = it.seizures &+ 1
        } else {
          missing = missing &+ 1
        }
      }
      heap.lock.release()
    }
    return missing
  }

  private func forEachThreadHeap(_ body: (ThreadHeapRef) -> Void) {
    var next = bellows_load_acquire(address &+ Heap.heapsOffset)
    while next != 0 {
      body(ThreadHeapRef(next))
      next = ThreadHeapRef(next).it.nextHeap
    }
  }

  /// Goes over the shards of a section that nobody owns and puts each where it belongs now: out of all lists while
  /// the section is on its way offline, to the abandoned ones when it is back. Costs a look at each granule with an
  /// allocated page. No lock held.
  ///
  /// Several heaps on one arena have lists of their own: with `isShared`, only shards on no list are gone over, and
  /// `sweep` does the others.
  package func gather(
    _ section: SectionRef, isShared: Bool = false, _ body: (ShardRef, UInt32) -> Void = { _, _ in }
  ) {
    let zone = it.arena.zone(of: section)
    zone.forEachUsedGranule(section) { address in
      let shard = ShardRef(granule(of: address))
      // Under the lock it is no descriptor that was returned, which is all zeros and could be claimed.
      guard shard.owner == .unowned,
        zone.ifUsed(section, address, { shard.owner == .unowned && shard.claim() })
      else { return }
      collectRemote(shard)
      let used = shard.used
      if used != 0 { body(shard, used) }
      if isShared, shard.it.state != .loose { letGo(shard) } else { giveUp(shard) }
    }
  }

  /// Disowns a shard that stays where it is.
  private func letGo(_ shard: ShardRef) {
    shard.setUsed(shard.used, tellAfter: shard.used)
    while !shard.disown() {
      collectRemote(shard)
      shard.setUsed(shard.used, tellAfter: shard.used)
    }
  }

  /// Goes over the shards on this heap's lists: those of sections on their way offline leave them.
  package func sweep() {
    forEachSlot { slot in
      for index in 0..<SizeClass.count {
        sweep(abandoned(SizeClass(index), slot))
        sweep(perforated(SizeClass(index), slot))
      }
    }
  }

  private func sweep(_ list: AbandonedListRef) {
    let now = UInt32(truncatingIfNeeded: bellows_clock_milliseconds() &+ 1)
    list.lock.acquire()
    var left = list.it.count
    list.lock.release()
    // What is listed anew comes to the front; the oldest are taken from the end.
    while left > 0, let shard = list.takeOldest(listedBefore: now) {
      giveUp(shard)
      left = left &- 1
    }
  }

  /// Says which blocks and threads hold pages of a section that goes offline; answers how many pages that explains.
  package func explain(_ section: SectionRef, isShared: Bool = false, _ report: inout OfflineReport) -> UInt {
    var known: UInt = 0
    gather(section, isShared: isShared) { shard, used in
      let pages = UInt(shard.it.spanPages)
      known = known &+ pages
      report.add(.blocks, shard.sizeClass.bytes, count: UInt(used), bytes: pages &<< Page.shift)
    }
    it.arena.zone(of: section).forEachUsedGranule(section) { address in
      let word = GranuleWord(bellows_load(granule(of: address)))
      let run = it.arena.knownRun(at: address).word
      if run != .nothing {
        known = known &+ run.pages
        report.add(.runs, 0, count: 1, bytes: run.pages &<< Page.shift)
      } else if word.isShard, word != .unowned {
        let pages = UInt(ShardRef(granule(of: address)).it.spanPages)
        known = known &+ pages
        report.add(.thread, UInt(ThreadHeapRef(word.bits).it.threadID), count: 1, bytes: pages &<< Page.shift)
      }
    }
    // Others may have blocks of the section in their lists.
    forEachThreadHeap { heap in
      guard heap.lock.tryAcquire() else { return }
      if heap.it.epoch != epoch { report.add(.thread, UInt(heap.it.threadID), count: 0, bytes: 0) }
      heap.lock.release()
    }
    return known
  }
}
