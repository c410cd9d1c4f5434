// fork: the child has the memory of all threads and only one of them.
//
// Before the fork the calling thread takes every lock, in rank order, so that no slow path is under way. Hit
// paths of other threads are not held up, and need not be: they leave a shard's list whole at every
// instruction, since a free stores the link before the list's head, and the head before the count. So the
// child recounts from the lists.
//
// A fork in a signal handler may have interrupted a slow path of its own thread, or another fork. What that holds it keeps: it
// goes on after the handler, in the parent and in the child. What others hold who may be waiting for one of these locks is
// not waited for long. In the child their heaps stay as they are (whose thread was between two steps), and what else
// is to be taken over waits for the end of the slow path.

import CShims

extension Ref where Pointee == Heap {
  /// Every lock, in the order of ranks.
  private func forEachLock(_ body: (Lock) -> Void) {
    body(registry)
    forEachHeap { body($0.lock) }
    forEachList { body($0.lock) }
    body(hugeTable.lock)
    it.arena.forEachOwnerLock { body($0) }
    body(it.arena.growth)
    it.arena.forEachZone { body($0.lock) }
  }

  /// The highest rank of the locks that the calling thread holds; 0: it holds none.
  private var highestRankHeld: UInt32 {
    var rank: UInt32 = 0
    forEachLock { if $0.isOwn { rank = max(rank, $0.rank.rawValue) } }
    return rank
  }

  /// Takes every lock that the calling thread does not hold. In the parent, before fork.
  package func lockForFork() {
    let held = highestRankHeld
    bellows_self_set(bellows_self() &+ BELLOWS_LOCK_FORK)
    var patience: UInt64? = patience
    var forEver: UInt64?
    forEachLock { lock in
      if lock.rank.rawValue <= held { lock.acquireForFork(&patience) } else { lock.acquireForFork(&forEver) }
    }
    if patience == 0 { it.impatientSince = bellows_clock_milliseconds() }
  }

  /// Milliseconds that a fork waits in all for those who may be waiting for the thread that it interrupted. At most a tenth of the
  /// time: where signals come faster than that, the interrupted thread would never go on.
  private var patience: UInt64 {
    bellows_clock_milliseconds() &- it.impatientSince < 100 ? 0 : 10
  }

  /// Lets go of what `lockForFork` took. In the parent, after fork.
  package func unlockAfterFork() {
    // Where the heap was set up between the two, there was nothing to take.
    guard bellows_self() >= BELLOWS_LOCK_FORK else { return }
    forEachLock { $0.releaseAfterFork() }
    bellows_self_set(bellows_self() &- BELLOWS_LOCK_FORK)
  }

  /// Opens every lock that nobody holds who goes on, and whatever its owner was about is forgotten. For the end.
  package func openOwnLocks() { forEachLock { if $0.isOwn { $0.release() } } }

  /// In the child: opens every lock and takes over the heaps of the threads that are not there. `parent` is the number
  /// that the calling thread had in the parent.
  package func adoptAfterFork(_ own: ThreadHeapRef?, parent: UInt32 = 0) {
    let before = bellows_self()
    bellows_self_set(before & ~BELLOWS_LOCK_THREAD | bellows_thread_id())
    var isInterrupted = false
    forEachLock {
      switch $0.inherit(from: before) {
      case .open: break
      case .held: isInterrupted = true
      case .orphaned: if $0.rank == .heap { heap(of: $0).it.isLost = true }
      }
    }
    it.arena.forEachZone { $0.orphanPurges() }
    forEachHeap { heap in
      guard heap.address != own?.address, !heap.it.isIdle, heap.address != it.commons else { return }
      heap.it.words = 0
      heap.it.isOrphan = true
    }
    if before >= BELLOWS_LOCK_FORK { bellows_self_set(bellows_self() &- BELLOWS_LOCK_FORK) }
    bellows_store(address &+ Heap.adoptionOffset, UInt(parent) &<< 1 | 1)
    if !isInterrupted { adopt() }
  }

  /// Takes over what a fork left for later, if anything. With no lock held.
  @inline(__always)
  package func adoptIfDue() {
    if _slowPath(bellows_load(address &+ Heap.adoptionOffset) != 0) { adopt() }
  }

  @inline(never)
  private func adopt() {
    // In another signal handler, the slow path may still be under way.
    guard highestRankHeld == 0 else { return }
    let due = bellows_exchange(address &+ Heap.adoptionOffset, 0)
    // Another thread of the child was sooner.
    guard due != 0 else { return }
    let parent = UInt32(truncatingIfNeeded: due &>> 1)
    it.arena.forEachZone { $0.recoverAfterFork() }
    bellows_store(address &+ Heap.slotPagesOffset, sharedSlotPages())
    forEachHeap { heap in
      guard heap.it.isOrphan, !heap.it.isLost else { return }
      heap.it.isOrphan = false
      recount(heap)
      detachThread(heap)
    }
    recoverTransition(parent: parent)
  }

  /// The heap whose lock it is.
  private func heap(of lock: Lock) -> ThreadHeapRef { ThreadHeapRef(lock.word &- ThreadHeap.lockOffset) }

  /// In the child of a fork: what another thread was about to take offline comes back; what stays on its way does.
  /// `parent` is the number that the calling thread had in the parent. No lock held.
  func recoverTransition(parent: UInt32) {
    let arena = it.arena
    let holder = bellows_load(arena.address &+ Arena.transitionOffset)
    guard holder != 0 else { return }
    guard holder != UInt(parent) else {
      // A listener forked: the thread goes on with it here.
      bellows_store(arena.address &+ Arena.transitionOffset, UInt(bellows_thread_id()))
      arena.handTransition(of: parent, to: bellows_thread_id())
      return
    }
    var place = arena.it.transitionSections
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.chain
      if section.it.state == .goingOffline {
        arena.zone(of: section).release(section)
        gather(section)
      } else if section.it.state == .offline, !arena.isListedOffline(section) {
        arena.listOffline(section)
      }
    }
    // Where between two steps it was caught does not matter then.
    bellows_store(address &+ Heap.cagesOffset, arena.sectionsGoing() | (it.cages & Heap.spreadBit))
    arena.handTransition(of: UInt32(truncatingIfNeeded: holder), to: 0)
    arena.endTransition()
  }

  private func forEachList(_ body: (AbandonedListRef) -> Void) {
    forEachSlot { slot in
      for index in 0..<SizeClass.count {
        body(abandoned(SizeClass(index), slot))
        body(perforated(SizeClass(index), slot))
      }
    }
  }

  private func forEachHeap(_ body: (ThreadHeapRef) -> Void) {
    var heap = it.heaps
    while heap != 0 {
      body(ThreadHeapRef(heap))
      heap = ThreadHeapRef(heap).it.nextHeap
    }
  }

  /// Brings the counts of a heap's shards in line with their lists.
  private func recount(_ heap: ThreadHeapRef) {
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      if heap.it.current[place] != 0 {
        let current = ShardRef(heap.it.current[place])
        recount(current)
        bias(current, used: current.used)
      }
      var shard = heap.it.first[place]
      while shard != 0 {
        recount(ShardRef(shard))
        shard = ShardRef(shard).it.next
      }
    }
  }

  /// Used is what is threaded and not on `local`; the blocks on the thread's lists count as used until they
  /// are returned.
  private func recount(_ shard: ShardRef) {
    var free: UInt32 = 0
    var block = shard.it.local
    while block != 0, free < UInt32(shard.it.capacity), isBlock(block, of: shard) {
      free &+= 1
      block = link(block)
    }
    let used = UInt32(shard.it.capacity) &- free &- blocksInHoles(shard)
    shard.setUsed(used, tellAfter: used)
  }
}
