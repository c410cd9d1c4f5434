// The miss paths of free.

import CShims

extension Ref where Pointee == Heap {
  /// What the hit path of free left: everything but a block of a shard that `heap` owns, freed in the
  /// ordinary way. `heap` is nil for a thread that has none. False, and nothing done, where `block` lies in no
  /// section and no huge mapping of this heap; what else is wrong with it is reported, and aborts.
  package func free(_ block: UInt, _ heap: ThreadHeapRef?) -> Bool {
    var descriptor = granule(of: block)
    var word = GranuleWord(bellows_load(descriptor))
    if word.isTail {
      descriptor = word.head
      word = GranuleWord(bellows_load(descriptor))
    }
    if word.isShard {
      if it.isChecking { checkFree(block, ShardRef(descriptor)) }
      if let heap, word.bits == heap.address {
        freeOwned(block, ShardRef(descriptor), heap)
      } else {
        freeRemote(block, ShardRef(descriptor), heap)
      }
    } else if let run = liveRun(block, "free") {
      freeRun(block, run, heap)
    } else if !freeHuge(block) {
      if it.table.covers(block) { refuse(block, "free") }
      return false
    }
    return true
  }

  /// A block of a shard that the thread owns: the hit paths are switched off, or the block is the one freed
  /// last.
  private func freeOwned(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.enterSlowPath()
    guard shard.owner.bits == heap.address else {
      // A cage was acknowledged for this thread while it waited for its lock, which is so where every free is checked; the
      // shard may be another's by now.
      heap.lock.release()
      return freeRemote(block, shard, heap)
    }
    defer { heap.lock.release() }
    if shard.it.local == block || heap.it.freed[Int(shard.it.sizeClass)] == block {
      fault("free", block, "double free of the block freed last")
    }
    shard.pushLocal(block)
    shard.it.countdown &-= 1
    if shard.it.countdown == 0 { report(shard, heap) }
  }

  /// A hit path of free found no room on the thread's list: the thread frees a lot and allocates little. Blocks on
  /// its lists would keep their shards from becoming empty, so they go back, and so does `block`.
  package func freeOverflow(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.enterSlowPath()
    acknowledgeLocked(heap)
    returnLists(heap, shard.sizeClass)
    heap.lock.release()
    _ = free(block, heap)
  }

  /// Gives the blocks on the thread's lists of a class back to the shards they came from, of which some may not be
  /// the thread's any more. Under the heap's lock, with the thread's hit paths out of use.
  func returnLists(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) {
    let place = Int(bitPattern: sizeClass.index)
    let lists = (heap.it.heads[place], heap.it.freed[place])
    heap.it.heads[place] = 0
    heap.it.freed[place] = 0
    heap.it.room[place] = 0
    giveBack(list: lists.0, heap, sizeClass)
    giveBack(list: lists.1, heap, sizeClass)
  }

  private func giveBack(list: UInt, _ heap: ThreadHeapRef, _ sizeClass: SizeClass) {
    var block = list
    // No thread's list is longer than two fillings.
    var left = 2 &* UInt32(ThreadHeap.room(sizeClass))
    // Neighbours on a list mostly are of one shard.
    var shard = ShardRef(0)
    var start: UInt = 0
    var length: UInt = 0
    while block != 0 {
      guard left != 0, block & 15 == 0 else { damaged(block) }
      left &-= 1
      let next = link(block)
      if block &- start >= length {
        guard let found = self.shard(of: block),
          found.it.sizeClass == UInt8(truncatingIfNeeded: sizeClass.index)
        else { damaged(block) }
        shard = found
        start = shard.it.base
        length = UInt(shard.it.spanPages) &<< Page.shift
      }
      if shard.owner.bits == heap.address {
        guard shard.used != 0 else { damaged(block) }
        shard.pushLocal(block)
        shard.it.countdown &-= 1
        if shard.it.countdown == 0 {
          report(shard, heap)
          length = 0
        }
      } else {
        freeRemote(block, shard, nil)
        length = 0
      }
      block = next
    }
  }

  /// A hit path of free counted down to zero: `shard` became worth choosing, or is empty.
  package func countedDown(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.enterSlowPath()
    // Where a signal handler slept meanwhile, the heap was taken from the thread, and this was seen to.
    if shard.owner.bits == heap.address, shard.it.countdown == 0 { report(shard, heap) }
    shedIfDue(heap)
    heap.lock.release()
  }

  private func report(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    // The shard that blocks come from counts one more than it has out: it is never the one.
    guard shard.it.state == .partial || shard.it.state == .cooling else { damaged(shard.it.base) }
    heap.dequeue(shard)
    if shard.used == 0 {
      retire(shard)
    } else if !heap.place(shard, limit: limit(heap, shard)) {
      giveUp(shard)
    }
  }

  /// How many partial shards of the class the thread may keep until it sheds them.
  private func limit(_ heap: ThreadHeapRef, _ shard: ShardRef) -> UInt16 {
    bellows_load8(heap.foreignNote(shard.sizeClass)) != 0 ? ThreadHeap.partialLimit : .max
  }

  private func freeRemote(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    while true {
      let remote = shard.remote
      if !remote.isOwned {
        if shard.claim() { return freeClaimed(block, shard, heap) }
      } else {
        if remote.block == block { fault("free", block, "double free of the block freed last") }
        setLink(block, remote.block)
        if bellows_compare_exchange(shard.remoteAddress, remote.bits, remote.pushing(block).bits) {
          if remote.count == 0 { tellOwner(shard) }
          return
        }
      }
    }
  }

  /// The owner learns that others free blocks of this class, and gives its full shards up from now on,
  /// unless it frees such blocks itself. A heap's record stays where it is for ever, so a late note does no harm.
  private func tellOwner(_ shard: ShardRef) {
    let owner = shard.owner.bits
    guard owner & 0x3f == 0, owner != 0 else { return }
    let note = ThreadHeapRef(owner).foreignNote(shard.sizeClass)
    if bellows_load8(note) == 0 { bellows_store8(note, 1) }
  }

  /// Frees a block in a shard that nobody owned and that the caller just claimed.
  private func freeClaimed(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    if shard.it.local == block { fault("free", block, "double free of the block freed last") }
    guard shard.used != 0 else { damaged(block) }
    shard.pushLocal(block)
    let used = shard.used &- 1
    shard.setUsed(used, tellAfter: used)
    guard let heap, used != 0, !isCaged(block), !isFar(block, heap) else {
      // A thread without a heap keeps nothing, and none what is far from it: it leaves the shard to whoever needs it.
      if shard.it.state == .perforated { unlist(shard) }
      return giveUp(shard)
    }
    unlist(shard)
    heap.enterSlowPath()
    defer { heap.lock.release() }
    // A cage that the heap acknowledged while this thread waited for a lock shows here at the latest.
    if isCaged(block) { return giveUp(shard) }
    shard.owner = GranuleWord(heap.address)
    if !heap.place(shard, limit: limit(heap, shard)) { giveUp(shard) }
  }
}
