// The miss path of malloc for blocks up to 32 KiB.

import CShims

extension Ref where Pointee == Heap {
  /// A block of `sizeClass` that the thread itself freed, and the rest of them as its list: what is on `freed`, or
  /// else in its current shard; or 0. Part of the hit paths: no lock, so only the thread of `heap` may call it,
  /// with its hit paths switched on.
  ///
  /// A few blocks on `freed` are left to the slow path, which adds more: lists of one or two blocks would run out
  /// at every other malloc, which nothing can predict.
  @inline(__always)
  package func recycle(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> UInt {
    let place = Int(bitPattern: sizeClass.index)
    let freed = unsafe heap.it.freed[unchecked: place]
    let room = ThreadHeap.room(sizeClass)
    if freed != 0 {
      guard unsafe heap.it.room[unchecked: place] <= room &- ThreadHeap.few(room) else { return 0 }
      // A thread that lives on its lists comes by a slow path now and then: purges are made there.
      heap.it.swaps &+= 1
      if _slowPath(heap.it.swaps & 63 == 0) { return 0 }
      // First off one list, then on the other: what a fork finds on neither is lost, but nothing is on both.
      unsafe heap.it.freed[unchecked: place] = 0
      unsafe heap.it.heads[unchecked: place] = link(freed)
      unsafe heap.it.room[unchecked: place] = room
      return freed
    }
    let current = unsafe heap.it.current[unchecked: place]
    guard current != 0 else { return 0 }
    let shard = ShardRef(current)
    let block = shard.it.local
    guard block != 0, shard.it.holes == 0,
      shard.it.capacity &- UInt16(truncatingIfNeeded: shard.used) <= UInt16(room)
    else { return 0 }
    shard.it.local = 0
    bias(shard, used: UInt32(shard.it.capacity))
    unsafe heap.it.heads[unchecked: place] = link(block)
    unsafe heap.it.room[unchecked: place] = room
    return block
  }

  /// A block of `sizeClass` for the thread of `heap`, or 0 where there is no memory. Takes the heap's lock.
  ///
  /// Afterwards the thread's list holds more blocks in most cases.
  package func allocateSmall(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> UInt {
    heap.enterSlowPath()
    defer { heap.lock.release() }
    acknowledgeLocked(heap)
    shedIfDue(heap)
    let place = Int(bitPattern: sizeClass.index)
    let head = heap.it.heads[place]
    if head != 0 {
      // The thread's hit paths are switched off, or it was given blocks since.
      heap.it.heads[place] = link(head)
      return head
    }
    let freed = heap.it.freed[place]
    heap.it.freed[place] = 0
    let room = ThreadHeap.room(sizeClass)
    let most = ThreadHeap.batch(room) &- (freed != 0 ? UInt32(room &- heap.it.room[place]) : 0)
    // As many as half a batch are a list of their own.
    if most <= ThreadHeap.batch(room) &>> 1 || most > ThreadHeap.batch(room) {
      heap.it.heads[place] = link(freed)
      heap.it.room[place] = room
      return freed
    }
    let current = heap.it.current[place]
    if current != 0 {
      let block = replenish(heap, ShardRef(current), most)
      if freed != 0 { return join(heap, sizeClass, freed, block) }
      if block != 0 { return block }
      heap.it.current[place] = 0
      leave(heap, ShardRef(current))
    } else if freed != 0 {
      return join(heap, sizeClass, freed, 0)
    }
    while let shard = chooseShard(heap, sizeClass) {
      shard.owner = GranuleWord(heap.address)
      shard.it.list = shard.it.sizeClass
      heap.it.current[place] = shard.address
      let block = replenish(heap, shard, most)
      if block != 0 { return block }
      heap.it.current[place] = 0
      leave(heap, shard)
    }
    return 0
  }

  /// The first of the blocks that the thread freed; the rest of them, then `block` and what is on the thread's list
  /// behind it, become its list.
  private func join(_ heap: ThreadHeapRef, _ sizeClass: SizeClass, _ freed: UInt, _ block: UInt) -> UInt {
    let place = Int(bitPattern: sizeClass.index)
    if block != 0 {
      setLink(block, heap.it.heads[place])
      var last = freed
      while link(last) != 0 { last = link(last) }
      setLink(last, block)
    }
    heap.it.heads[place] = link(freed)
    heap.it.room[place] = ThreadHeap.room(sizeClass)
    return freed
  }

  /// Puts away a current shard that is exhausted: it stays with the thread, cooling, unless others free blocks
  /// of its class.
  private func leave(_ heap: ThreadHeapRef, _ shard: ShardRef) {
    unbias(shard)
    let note = heap.foreignNote(shard.sizeClass)
    let foreign = bellows_load8(note)
    if foreign == 0, heap.place(shard, limit: .max) { return }
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

  /// Fills the thread's list with up to `most` blocks from its current shard and takes the first block off; 0 where
  /// the shard is exhausted.
  private func replenish(_ heap: ThreadHeapRef, _ shard: ShardRef, _ most: UInt32) -> UInt {
    var block = shard.it.local
    var length: UInt32 = 0
    if block != 0 {
      length = threaded(shard) &- shard.used
    } else {
      let remote = shard.takeRemote()
      (block, length) = (remote.block, UInt32(truncatingIfNeeded: remote.count))
      if block == 0, shard.it.capacity < shard.it.total {
        block = shard.thread(min(freshBlocks(heap, shard), UInt(most)))
      }
      if block == 0, shard.it.holes != 0 { block = fillHole(shard) }
    }
    guard block != 0 else { return 0 }
    let rest = length > most ? length &- most : 0
    shard.it.local = rest != 0 ? cut(block, after: most) : 0
    heap.it.heads[Int(shard.it.sizeClass)] = link(block)
    heap.it.room[Int(shard.it.sizeClass)] = ThreadHeap.room(shard.sizeClass)
    bias(shard, used: threaded(shard) &- rest)
    return block
  }

  /// Blocks that are on some list or live: threaded so far, and not on a page that was returned.
  private func threaded(_ shard: ShardRef) -> UInt32 { UInt32(shard.it.capacity) &- blocksInHoles(shard) }

  /// Ends a list after `count` blocks; answers the rest of it.
  private func cut(_ list: UInt, after count: UInt32) -> UInt {
    var last = list
    for _ in 1..<count { last = link(last) }
    let rest = link(last)
    setLink(last, 0)
    return rest
  }

  /// How many blocks to thread at once: a page full while the thread is new to the class, so that a small
  /// program touches no page that it does not use; 64 KiB once it has shown that it uses them.
  private func freshBlocks(_ heap: ThreadHeapRef, _ shard: ShardRef) -> UInt {
    let bytes = shard.sizeClass.bytes
    let reach = heap.it.fresh[Int(shard.it.sizeClass)] > 2 ? Page.granuleBytes &* 4 : Page.bytes
    return max(1, reach / bytes)
  }

  /// An owned shard in no list that has available blocks. Nil: no memory.
  private func chooseShard(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    if let shard = chooseQueued(heap, sizeClass) { return shard }
    while let shard = abandoned(sizeClass).take() ?? perforated(sizeClass).take() {
      if !isCaged(shard.it.base) { return shard }
      giveUp(shard)
    }
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
