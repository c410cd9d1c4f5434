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
    emptyAllSlots()
    return it.arena.it.zone.purge(dirtySince: .max, keep: keep)
  }

  /// Gives the runs in all slots back to the zone.
  private func emptyAllSlots() {
    // Heaps are never taken off the list, so it can be walked without its lock.
    var heap = bellows_load_acquire(address &+ Heap.heapsOffset)
    while heap != 0 {
      emptySlots(ThreadHeapRef(heap))
      heap = ThreadHeapRef(heap).it.nextHeap
    }
    emptySharedSlots()
  }

  // MARK: Out of memory

  /// The system refused memory: gives back all that can be, address space and commit charge included.
  ///
  /// Called with a thread heap's lock held, so it leaves the shards of threads alone.
  func reclaim() {
    emptyAllSlots()
    it.arena.it.zone.purge(dirtySince: .max)
    it.arena.shrink()
  }

  // MARK: The clock

  /// Called where pages went back to the zone: now and then looks at the clock, and returns what has been free
  /// for the purge delay. Costs a counter in most calls.
  func tick() {
    let ticks = bellows_load(address &+ Heap.ticksOffset) &+ 1
    bellows_store(address &+ Heap.ticksOffset, ticks)
    guard ticks & 15 == 0 else { return }
    let now = bellows_clock_milliseconds()
    let last = bellows_load(address &+ Heap.lastTickOffset)
    guard now &- UInt64(last) >= it.purgeDelay &>> 1,
      bellows_compare_exchange(address &+ Heap.lastTickOffset, last, UInt(now))
    else { return }
    purgeExpired(now)
  }

  /// Returns what has been free for the purge delay; answers the pages returned. Any thread, no lock held but a
  /// thread heap's.
  @discardableResult
  package func purgeExpired(_ now: UInt64) -> UInt {
    emptyAllSlots()
    return it.arena.it.zone.purge(dirtySince: now &- it.purgeDelay)
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
          if shard.used == 0 { retire(shard) } else if !heap.place(shard) { giveUp(shard) }
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
