// The miss path of malloc for blocks up to 32 KiB.

import CShims

extension Ref where Pointee == Heap {
  /// A block of `sizeClass` that the thread itself freed in its current shard, and the rest of them as its
  /// list; or 0. Part of the hit paths: no lock, so only the thread of `heap` may call it, with its hit paths
  /// switched on.
  @inline(__always)
  package func recycle(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> UInt {
    let place = Int(bitPattern: sizeClass.index)
    let current = unsafe heap.it.current[unchecked: place]
    guard current != 0 else { return 0 }
    let shard = ShardRef(current)
    let block = shard.it.local
    guard block != 0, shard.it.holes == 0 else { return 0 }
    // First off the shard, then on the list: what a fork finds in neither is lost, but nothing is in both.
    shard.it.local = 0
    bias(shard, used: UInt32(shard.it.capacity))
    unsafe heap.it.heads[unchecked: place] = link(block)
    return block
  }

  /// A block of `sizeClass` for the thread of `heap`, or 0 where there is no memory. Takes the heap's lock.
  ///
  /// Afterwards the thread's list holds more blocks in most cases.
  package func allocateSmall(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> UInt {
    heap.enterSlowPath()
    defer { heap.lock.release() }
    let place = Int(bitPattern: sizeClass.index)
    let head = heap.it.heads[place]
    if head != 0 {
      // The thread's hit paths are switched off, or it was given blocks since.
      heap.it.heads[place] = link(head)
      return head
    }
    let current = heap.it.current[place]
    if current != 0 {
      let block = replenish(heap, ShardRef(current))
      if block != 0 { return block }
      heap.it.current[place] = 0
      leave(heap, ShardRef(current))
    }
    while let shard = chooseShard(heap, sizeClass) {
      shard.owner = GranuleWord(heap.address)
      heap.it.current[place] = shard.address
      let block = replenish(heap, shard)
      if block != 0 { return block }
      heap.it.current[place] = 0
      leave(heap, shard)
    }
    return 0
  }

  /// Puts away a current shard that is exhausted: it stays with the thread, cooling, unless others free blocks
  /// of its class.
  private func leave(_ heap: ThreadHeapRef, _ shard: ShardRef) {
    unbias(shard)
    let note = heap.address &+ ThreadHeap.foreignOffset &+ UInt(shard.it.sizeClass)
    let foreign = bellows_load8(note)
    if foreign == 0, heap.place(shard) { return }
    giveUp(shard)
    if foreign == 1 {
      bellows_store8(note, 2)
      giveUpCooling(heap, shard.sizeClass)
    }
  }

  private func giveUpCooling(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) {
    var next = heap.it.first[Int(bitPattern: sizeClass.index)]
    while next != 0 {
      let shard = ShardRef(next)
      next = shard.it.next
      if shard.it.state == .cooling {
        heap.dequeue(shard)
        giveUp(shard)
      }
    }
  }

  /// Fills the thread's list from its current shard and takes the first block off; 0 where the shard is
  /// exhausted.
  private func replenish(_ heap: ThreadHeapRef, _ shard: ShardRef) -> UInt {
    var block = shard.it.local
    if block != 0 {
      shard.it.local = 0
    } else {
      block = shard.takeRemote().block
      if block == 0, shard.it.capacity < shard.it.total { block = shard.thread(freshBlocks(heap, shard)) }
      if block == 0, shard.it.holes != 0 { block = fillHole(shard) }
    }
    guard block != 0 else { return 0 }
    heap.it.heads[Int(shard.it.sizeClass)] = link(block)
    bias(shard)
    return block
  }

  /// How many blocks to thread at once: a page full while the thread is new to the class, so that a small
  /// program touches no page that it does not use; a shard full once it has shown that it uses them.
  private func freshBlocks(_ heap: ThreadHeapRef, _ shard: ShardRef) -> UInt {
    let bytes = shard.sizeClass.bytes
    let reach = heap.it.fresh[Int(shard.it.sizeClass)] > 2 ? Page.granuleBytes : Page.bytes
    return max(1, reach / bytes)
  }

  /// An owned shard in no list that has available blocks. Nil: no memory.
  private func chooseShard(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    if let shard = chooseQueued(heap, sizeClass) { return shard }
    if let shard = abandoned(sizeClass).take() ?? perforated(sizeClass).take() { return shard }
    guard let shard = makeShard(heap, sizeClass) else { return nil }
    let place = Int(bitPattern: sizeClass.index)
    if heap.it.fresh[place] < 255 { heap.it.fresh[place] &+= 1 }
    return shard
  }

  /// The front of the thread's queue, if it is worth choosing: looks at a few, since others may have freed
  /// blocks in shards that were not when they were queued.
  private func chooseQueued(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    var next = heap.it.first[Int(bitPattern: sizeClass.index)]
    for _ in 0..<4 {
      guard next != 0 else { return nil }
      let shard = ShardRef(next)
      next = shard.it.next
      let available = shard.available &+ UInt32(truncatingIfNeeded: shard.remote.count)
      if available >= shard.worthwhile {
        heap.dequeue(shard)
        return shard
      }
    }
    return nil
  }
}
