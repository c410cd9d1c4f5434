// Giving back all that can be given back now.

import CShims

extension Ref where Pointee == Heap {
  /// Returns free memory to the system until `keep` pages of it are left; answers the pages returned.
  ///
  /// Reaches free pages, the cached runs of every thread, and the empty shards of the calling thread. Takes
  /// the registry lock and each heap's in turn.
  @discardableResult
  package func trim(_ own: ThreadHeapRef?, keep: UInt = 0) -> UInt {
    if let own { dropEmptyShards(own) }
    registry.acquire()
    var heap = it.heaps
    while heap != 0 {
      let other = ThreadHeapRef(heap)
      other.lock.acquire()
      dropRuns(other)
      other.lock.release()
      heap = other.it.nextHeap
    }
    registry.release()
    return it.arena.it.zone.purge(dirtySince: .max, keep: keep)
  }

  /// Gives up the current shards of the calling thread that hold no live block, and the queued ones that
  /// others emptied.
  private func dropEmptyShards(_ heap: ThreadHeapRef) {
    heap.lock.acquire()
    defer { heap.lock.release() }
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      let current = heap.it.current[place]
      if current != 0 {
        let shard = ShardRef(current)
        heap.returnHead(SizeClass(index))
        shard.collectRemote()
        if shard.used == 0 {
          heap.it.current[place] = 0
          retire(shard)
        } else {
          // Its blocks wait on `local`; the counts follow when they are taken.
          rebias(shard)
        }
      }
      var next = heap.it.first[place]
      while next != 0 {
        let shard = ShardRef(next)
        next = shard.it.next
        if shard.remote.count != 0 {
          heap.dequeue(shard)
          shard.collectRemote()
          if shard.used == 0 { retire(shard) } else { heap.place(shard) }
        }
      }
    }
  }

  /// Biases a current shard whose blocks are not all on the thread's list.
  private func rebias(_ shard: ShardRef) {
    let used = shard.used
    shard.it.countdown = used &+ 1
    shard.it.reserve = 0 &- 1
  }
}
