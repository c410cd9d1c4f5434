// fork: the child has the memory of all threads and only one of them.
//
// Before the fork the calling thread takes every lock, in rank order, so that no slow path is under way. Hit
// paths of other threads are not held up, and need not be: they leave a shard's list whole at every
// instruction, since a free stores the link before the list's head, and the head before the count. So the
// child recounts from the lists.

import CShims

extension Ref where Pointee == Heap {
  /// Takes every lock. In the parent, before fork.
  package func lockForFork() {
    registry.acquire()
    forEachHeap { $0.lock.acquireUnranked() }
    forEachList { $0.lock.acquireUnranked() }
    hugeTable.lock.acquireUnranked()
    it.arena.forEachOwnerLock { $0.acquireUnranked() }
    it.arena.growth.acquireUnranked()
    it.arena.forEachZone { $0.lock.acquireUnranked() }
  }

  /// Lets go of every lock. In the parent, after fork.
  package func unlockAfterFork() {
    it.arena.forEachZone { $0.lock.release() }
    it.arena.growth.release()
    it.arena.forEachOwnerLock { $0.release() }
    hugeTable.lock.release()
    forEachList { $0.lock.release() }
    forEachHeap { $0.lock.release() }
    registry.release()
  }

  /// In the child: opens every lock and takes over the heaps of the threads that are not there.
  package func adoptAfterFork(_ own: ThreadHeapRef?, parent: UInt32 = 0) {
    unlockAfterFork()
    it.arena.forEachZone { $0.recoverAfterFork() }
    var heap = it.heaps
    while heap != 0 {
      let other = ThreadHeapRef(heap)
      heap = other.it.nextHeap
      if other.address != own?.address, !other.it.isIdle, other.address != it.commons {
        other.it.words = 0
        recount(other)
        detachThread(other)
      }
    }
    recoverTransition(parent: parent)
  }

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
    while block != 0, free < UInt32(shard.it.capacity) {
      free &+= 1
      block = link(block)
    }
    let used = UInt32(shard.it.capacity) &- free &- blocksInHoles(shard)
    shard.setUsed(used, tellAfter: used)
  }
}
