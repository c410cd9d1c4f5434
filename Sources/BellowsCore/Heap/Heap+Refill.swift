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
    let room = ThreadHeap.room(sizeClass)
    var list = heap.it.freed[place]
    var length = list != 0 ? UInt32(room &- heap.it.room[place]) : 0
    heap.it.freed[place] = 0
    let freesItself = list != 0
    // Half a batch is enough: what the thread freed itself, and what it or others freed in its shards. Fresh blocks
    // come first or where the list would be too short; a visit at a time makes short lists longer.
    let most = ThreadHeap.batch(room)
    var isFirst = true
    let few = UInt32(max(ThreadHeap.few(room), 1))
    while length < max(most &>> 1, 1) {
      if heap.it.current[place] == 0 {
        guard let shard = list != 0 ? chooseQueued(heap, sizeClass) : chooseShard(heap, sizeClass) else {
          break
        }
        shard.owner = GranuleWord(heap.address)
        shard.it.list = shard.it.sizeClass
        heap.it.current[place] = shard.address
        bias(shard, used: shard.used)
      }
      let shard = ShardRef(heap.it.current[place])
      let touching = isFirst || (length < few && !isNew(heap, sizeClass))
      let (first, count) = gather(heap, shard, most &- length, touching: touching)
      if first != 0 {
        list = list != 0 ? join(list, first, count: length, sizeClass) : first
        length = length &+ count
        isFirst = false
      } else if shard.it.capacity < shard.it.total || shard.it.holes != 0 {
        break
      } else {
        heap.it.current[place] = 0
        leave(heap, shard, keeping: freesItself)
      }
    }
    guard list != 0 else { return 0 }
    heap.it.heads[place] = link(list)
    heap.it.room[place] = room
    return list
  }

  /// Puts away a current shard that is exhausted: it stays with the thread, cooling, unless others free blocks
  /// of its class and the thread itself frees none.
  private func leave(_ heap: ThreadHeapRef, _ shard: ShardRef, keeping: Bool) {
    unbias(shard)
    let note = heap.foreignNote(shard.sizeClass)
    let foreign = bellows_load8(note)
    if foreign == 0 || keeping, heap.place(shard, limit: .max) { return }
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

  /// Up to `most` blocks of the thread's current shard as a list, and how many: those freed; or, with `touching`, where
  /// there are none, fresh ones or those of a returned page. None where the shard has no more.
  private func gather(_ heap: ThreadHeapRef, _ shard: ShardRef, _ most: UInt32, touching: Bool) -> (
    first: UInt, count: UInt32
  ) {
    var block = shard.it.local
    var length = block != 0 ? threaded(shard) &- shard.used : 0
    shard.it.local = 0
    if block == 0 {
      let remote = shard.takeRemote()
      (block, length) = (remote.block, UInt32(truncatingIfNeeded: remote.count))
    }
    if block == 0, touching {
      let capacity = shard.it.capacity
      if capacity < shard.it.total { block = shard.thread(min(freshBlocks(heap, shard), UInt(most))) }
      length = UInt32(shard.it.capacity &- capacity)
      if block == 0, shard.it.holes != 0 {
        let before = threaded(shard)
        block = fillHole(shard)
        length = threaded(shard) &- before
      }
    }
    guard block != 0 else { return (0, 0) }
    if length > threaded(shard) { damaged(block) }
    if length > most { shard.it.local = cut(block, after: most, shard) }
    let taken = min(length, most)
    bias(shard, used: threaded(shard) &- (length &- taken))
    return (block, taken)
  }

  /// Blocks that are on some list or live: threaded so far, and not on a page that was returned.
  private func threaded(_ shard: ShardRef) -> UInt32 { UInt32(shard.it.capacity) &- blocksInHoles(shard) }

  /// How many blocks to thread at once: a page full while the thread is new to the class, so that a small
  /// program touches no page that it does not use; 64 KiB once it has shown that it uses them.
  private func freshBlocks(_ heap: ThreadHeapRef, _ shard: ShardRef) -> UInt {
    let reach = isNew(heap, shard.sizeClass) ? Page.bytes : Page.granuleBytes &* 4
    return max(1, reach / shard.sizeClass.bytes)
  }

  /// Whether the thread has made two shards of the class at most.
  private func isNew(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> Bool {
    heap.it.fresh[Int(bitPattern: sizeClass.index)] <= 2
  }

  /// An owned shard in no list that has available blocks. Nil: no memory.
  private func chooseShard(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    if let shard = chooseQueued(heap, sizeClass) { return shard }
    if let shard = takeAbandoned(heap, sizeClass) { return shard }
    guard let shard = makeShard(heap, sizeClass) else { return takeFar(sizeClass) }
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
