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
    it.arena.growth.acquireUnranked()
    it.arena.it.zone.lock.acquireUnranked()
  }

  /// Lets go of every lock. In the parent, after fork.
  package func unlockAfterFork() {
    it.arena.it.zone.lock.release()
    it.arena.growth.release()
    hugeTable.lock.release()
    forEachList { $0.lock.release() }
    forEachHeap { $0.lock.release() }
    registry.release()
  }

  /// In the child: opens every lock and takes over the heaps of the threads that are not there.
  package func adoptAfterFork(_ own: ThreadHeapRef?) {
    unlockAfterFork()
    it.arena.it.zone.recoverAfterFork()
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
  }

  private func forEachList(_ body: (AbandonedListRef) -> Void) {
    for index in 0..<SizeClass.count {
      body(abandoned(SizeClass(index)))
      body(perforated(SizeClass(index)))
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
      if heap.it.current[place] != 0 { recount(ShardRef(heap.it.current[place])) }
      var shard = heap.it.first[place]
      while shard != 0 {
        recount(ShardRef(shard))
        shard = ShardRef(shard).it.next
      }
    }
  }

  /// Used is what is threaded and not on `local`; the blocks on the thread's list count as used until they
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
