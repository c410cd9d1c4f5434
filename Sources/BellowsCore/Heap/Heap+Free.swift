// The miss paths of free.

import CShims

extension Ref where Pointee == Heap {
  /// What the hit path of free left: everything but a block of a shard that `heap` owns, freed in the
  /// ordinary way. `heap` is nil for a thread that has none.
  package func free(_ block: UInt, _ heap: ThreadHeapRef?) {
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
    } else if word.isRun {
      freeRun(block, descriptor, heap)
    } else if !freeHuge(block) {
      refuse(block, "free")
    }
  }

  /// A block of a shard that the thread owns: the hit paths are switched off, or the block is the one freed
  /// last.
  private func freeOwned(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.lock.acquire()
    defer { heap.lock.release() }
    if shard.it.local == block { fail("free", block, "double free of the block freed last") }
    shard.pushLocal(block)
    shard.it.countdown &-= 1
    if shard.it.countdown == 0 { report(shard, heap) }
  }

  /// The hit path of free counted down to zero: `shard` became worth choosing, or is empty.
  package func countedDown(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.lock.acquire()
    report(shard, heap)
    heap.lock.release()
  }

  private func report(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.dequeue(shard)
    if shard.used == 0 { retire(shard) } else { heap.place(shard) }
  }

  private func freeRemote(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    while true {
      let remote = shard.remote
      if !remote.isOwned {
        if shard.claim() { return freeClaimed(block, shard, heap) }
      } else {
        if remote.block == block { fail("free", block, "double free of the block freed last") }
        setLink(block, remote.block)
        if bellows_compare_exchange(shard.remoteAddress, remote.bits, remote.pushing(block).bits) { return }
      }
    }
  }

  /// Frees a block in a shard that nobody owned and that the caller just claimed.
  private func freeClaimed(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    let sizeClass = shard.sizeClass
    if shard.it.local == block { fail("free", block, "double free of the block freed last") }
    shard.pushLocal(block)
    let used = shard.used &- 1
    shard.setUsed(used, tellAfter: used)
    guard let heap, used != 0 else {
      // A thread without a heap keeps nothing: it leaves the shard to whoever needs it.
      return giveUp(shard)
    }
    if shard.it.state == .listed { abandoned(sizeClass).remove(shard) }
    heap.lock.acquire()
    defer { heap.lock.release() }
    shard.owner = GranuleWord(heap.address)
    heap.place(shard)
    if heap.it.queued[Int(bitPattern: sizeClass.index)] > ThreadHeap.queueLimit {
      let last = ShardRef(heap.it.last[Int(bitPattern: sizeClass.index)])
      heap.dequeue(last)
      giveUp(last)
    }
  }
}
