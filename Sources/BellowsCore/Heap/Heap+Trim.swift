// Giving back all that can be given back now.

import CShims

extension Ref where Pointee == Heap {
  /// Returns free memory to the system until `keep` pages of it are left; answers the pages returned.
  ///
  /// Reaches free pages, the cached runs of every thread, and the empty shards of the calling thread. Takes
  /// the registry lock and each heap's in turn.
  @discardableResult
  package func trim(_ own: ThreadHeapRef?, keep: UInt = 0) -> UInt {
    var returned: UInt = 0
    if let own {
      own.lock.acquire()
      returned = trimShards(own)
      own.lock.release()
    }
    returned = returned &+ perforateAbandoned(bellows_clock_milliseconds() &+ it.purgeDelay, limit: .max)
    emptyAllSlots()
    return returned &+ it.arena.purge(dirtySince: .max, keep: keep)
  }

  /// Gives the runs in all slots back to the zone.
  func emptyAllSlots() {
    // Heaps are never taken off the list, so it can be walked without its lock.
    var heap = bellows_load_acquire(address &+ Heap.heapsOffset)
    while heap != 0 {
      emptySlots(ThreadHeapRef(heap))
      heap = ThreadHeapRef(heap).it.nextHeap
    }
    emptySharedSlots()
  }

  // MARK: Out of memory

  /// What `attempt` answers; where that is 0, all that can be given back is, the thread's own shards included,
  /// and it is asked once more.
  @inline(__always)
  func rescuing(_ heap: ThreadHeapRef, _ bytes: UInt, _ attempt: () -> UInt) -> UInt {
    let block = attempt()
    guard _slowPath(block == 0), bytes < 1 &<< Arena.addressBits else { return block }
    rescue(heap)
    return attempt()
  }

  @inline(never)
  private func rescue(_ heap: ThreadHeapRef) {
    heap.lock.acquire()
    _ = trimShards(heap)
    heap.lock.release()
    reclaim()
  }

  /// The system refused memory: gives back all that can be, address space and commit charge included.
  ///
  /// Called with a thread heap's lock held, so it leaves the shards of threads alone.
  func reclaim() {
    emptyAllSlots()
    it.arena.purge(dirtySince: .max)
    it.arena.shrink()
  }

  // MARK: The clock

  /// Called where pages went back to the zone: now and then looks at the clock, and returns what has been free
  /// for the purge delay. Costs a counter in most calls.
  func tick() {
    let ticks = bellows_load(address &+ Heap.ticksOffset) &+ 1
    bellows_store(address &+ Heap.ticksOffset, ticks)
    if ticks & 15 == 0 { lookAtClock() }
    it.arena.forEachZone { if _slowPath($0.hasSurplus) { giveBackSurplus($0) } }
  }

  /// Who asked for a delay of a minute or more wants to keep what is freed, however much it is.
  private var givesBackSurplus: Bool { it.purgeDelay < 60_000 }

  @inline(never)
  private func giveBackSurplus(_ zone: ZoneRef) {
    if givesBackSurplus, zone.owesPages(), zone.purge(dirtySince: .max) == 0 { zone.bearSurplus() }
  }

  /// The same where a run of `pages` pages was put into a shared slot: these are used memory to the zone. To add them up takes
  /// 60 loads, so it is done for long runs and for each eighth of the others.
  func giveBackKept(_ pages: UInt) {
    guard pages >= 512 || bellows_load(address &+ Heap.ticksOffset) & 7 == 0, givesBackSurplus else { return }
    let kept = sharedSlotPages()
    guard kept > Zone.leastSurplus else { return }
    let put = bellows_load(address &+ Heap.slotPagesOffset)
    let zone = it.arena.it.zone
    if zone.owesPages(kept: kept, reused: put > kept ? put &- kept : 0) {
      emptySharedSlots()
      if zone.purge(dirtySince: .max) == 0 { zone.bearSurplus() }
    } else {
      bellows_store(address &+ Heap.slotPagesOffset, kept)
    }
  }

  /// Purges what is due, twice in a purge delay at most.
  private func lookAtClock() {
    let now = bellows_clock_milliseconds()
    let last = bellows_load(address &+ Heap.lastTickOffset)
    guard now &- UInt64(last) >= it.purgeDelay &>> 1,
      bellows_compare_exchange(address &+ Heap.lastTickOffset, last, UInt(now))
    else { return }
    purgeExpired(now, shards: 16)
  }

  /// Returns what has been free for the purge delay, as far as it is not in a thread's own shards; answers the
  /// pages returned. Goes over at most `limit` abandoned shards of each class. Any thread, no lock held but a
  /// thread heap's.
  @discardableResult
  package func purgeExpired(_ now: UInt64, shards limit: UInt) -> UInt {
    emptyAllSlots()
    let holes = perforateAbandoned(now, limit: limit)
    return holes &+ it.arena.purge(dirtySince: now > it.purgeDelay ? now &- it.purgeDelay : 0)
  }

  // MARK: The shards of a thread

  /// Now and then, at most once in a purge delay: gives up the partial shards that the thread has beyond its limit,
  /// the ones chosen last, so that others and the purge can find them. Under the heap's lock, by its own thread.
  @inline(__always)
  func shedIfDue(_ heap: ThreadHeapRef) {
    if _slowPath(heap.it.activity & 63 == 0) { shed(heap) }
  }

  @inline(never)
  private func shed(_ heap: ThreadHeapRef) {
    lookAtClock()
    let now = bellows_clock_milliseconds()
    guard now &- heap.it.shedTime >= it.purgeDelay else { return }
    heap.it.shedTime = now
    follow(heap)
    for place in 0..<Int(bitPattern: SizeClass.count)
    where heap.it.partial[place] > ThreadHeap.partialLimit {
      var kept: UInt16 = 0
      var next = heap.it.first[place]
      while next != 0, ShardRef(next).it.state == .partial {
        let shard = ShardRef(next)
        next = shard.it.next
        kept &+= 1
        guard kept > ThreadHeap.partialLimit else { continue }
        heap.dequeue(shard)
        giveUp(shard)
      }
    }
  }

  /// Gives back the empty shards of a heap and the free pages of the others; answers the pages of the latter.
  /// Under the heap's lock, by its own thread or with the thread stopped (Heap+Seize.swift).
  func trimShards(_ heap: ThreadHeapRef) -> UInt {
    var returned: UInt = 0
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      returnLists(heap, SizeClass(index))
      let current = heap.it.current[place]
      if current != 0 {
        let shard = ShardRef(current)
        collectRemote(shard)
        if shard.used == 0 {
          heap.it.current[place] = 0
          retire(shard)
        } else {
          returned = returned &+ punchHoles(shard)
          bias(shard, used: shard.used)
        }
      }
      var next = heap.it.first[place]
      while next != 0 {
        let shard = ShardRef(next)
        next = shard.it.next
        guard shard.available != 0 || shard.remote.count != 0 else { continue }
        collectRemote(shard)
        let used = shard.used
        if used == 0 {
          heap.dequeue(shard)
          retire(shard)
          continue
        }
        returned = returned &+ punchHoles(shard)
        if shard.it.state == .partial {
          shard.setUsed(used, tellAfter: used)
        } else if shard.available < shard.worthwhile {
          shard.setUsed(used, tellAfter: min(shard.worthwhile &- shard.available, used))
        } else {
          heap.dequeue(shard)
          if !heap.place(shard) { giveUp(shard) }
        }
      }
    }
    return returned
  }
}
