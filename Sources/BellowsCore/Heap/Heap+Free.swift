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
    } else if word.isRun {
      freeRun(block, descriptor, heap)
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
    defer { heap.lock.release() }
    if shard.it.local == block { fail("free", block, "double free of the block freed last") }
    shard.pushLocal(block)
    shard.it.countdown &-= 1
    if shard.it.countdown == 0 { report(shard, heap) }
  }

  /// The hit path of free counted down to zero: `shard` became worth choosing, or is empty.
  package func countedDown(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.enterSlowPath()
    report(shard, heap)
    heap.lock.release()
  }

  private func report(_ shard: ShardRef, _ heap: ThreadHeapRef) {
    heap.dequeue(shard)
    if shard.used == 0 { retire(shard) } else if !heap.place(shard) { giveUp(shard) }
  }

  private func freeRemote(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    while true {
      let remote = shard.remote
      if !remote.isOwned {
        if shard.claim() { return freeClaimed(block, shard, heap) }
      } else {
        if remote.block == block { fail("free", block, "double free of the block freed last") }
        setLink(block, remote.block)
        if bellows_compare_exchange(shard.remoteAddress, remote.bits, remote.pushing(block).bits) {
          if remote.count == 0 { tellOwner(shard) }
          return
        }
      }
    }
  }

  /// The owner learns that others free blocks of this class, and gives its full shards up from now on. A
  /// heap's record stays where it is for ever, so a late note does no harm.
  private func tellOwner(_ shard: ShardRef) {
    let owner = shard.owner.bits
    guard owner & 0x3f == 0, owner != 0 else { return }
    let note = owner &+ ThreadHeap.foreignOffset &+ UInt(shard.it.sizeClass)
    if bellows_load8(note) == 0 { bellows_store8(note, 1) }
  }

  /// Frees a block in a shard that nobody owned and that the caller just claimed.
  private func freeClaimed(_ block: UInt, _ shard: ShardRef, _ heap: ThreadHeapRef?) {
    if shard.it.local == block { fail("free", block, "double free of the block freed last") }
    shard.pushLocal(block)
    let used = shard.used &- 1
    shard.setUsed(used, tellAfter: used)
    guard let heap, used != 0 else {
      // A thread without a heap keeps nothing: it leaves the shard to whoever needs it.
      if shard.it.state == .perforated { unlist(shard) }
      return giveUp(shard)
    }
    unlist(shard)
    heap.enterSlowPath()
    defer { heap.lock.release() }
    shard.owner = GranuleWord(heap.address)
    if !heap.place(shard) { giveUp(shard) }
  }
}
