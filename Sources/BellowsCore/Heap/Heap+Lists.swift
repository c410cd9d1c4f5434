// Walks along lists of free blocks.
//
// The links lie in the blocks, so a program that frees a block twice, or writes to one that it has freed, changes them: a list
// becomes a ring, or leads elsewhere. Each walk is bounded by the count that the list's owner has, and a link that
// leads out of where it belongs ends it: one line and an abort, instead of a loop with a lock held, or a fault.

import CShims

extension Ref where Pointee == Heap {
  /// The last block of a list that has at most `count` blocks of a size class, of whatever shards.
  private func last(of list: UInt, count: UInt32, _ sizeClass: SizeClass) -> UInt {
    var last = list
    for _ in 1..<max(count, 1) {
      let next = link(last)
      if next == 0 { return last }
      guard isBlock(next, sizeClass) else { damaged(last) }
      last = next
    }
    if link(last) != 0 { damaged(last) }
    return last
  }

  /// Puts another list at the end of one of at most `count` blocks.
  func join(_ list: UInt, _ other: UInt, count: UInt32, _ sizeClass: SizeClass) -> UInt {
    setLink(last(of: list, count: count, sizeClass), other)
    return list
  }

  /// Ends a list of blocks of one shard after `count` of them; answers the rest of it.
  func cut(_ list: UInt, after count: UInt32, _ shard: ShardRef) -> UInt {
    var last = list
    for _ in 1..<count { last = next(last, shard) }
    let rest = link(last)
    setLink(last, 0)
    return rest
  }

  /// Moves what others freed in a shard to its `local`. The owner's.
  package func collectRemote(_ shard: ShardRef) {
    let taken = shard.takeRemote()
    guard taken.count != 0 else { return }
    if taken.count > UInt(shard.used) { damaged(taken.block) }
    var last = taken.block
    for _ in 1..<taken.count where link(last) != 0 { last = next(last, shard) }
    if link(last) != 0 { damaged(last) }
    setLink(last, shard.it.local)
    shard.it.local = taken.block
    shard.setUsed(shard.used &- UInt32(truncatingIfNeeded: taken.count), tellAfter: 1)
  }

  /// Calls `body` with the blocks on a shard's `local`, each after its link was read.
  @inline(__always)
  func forEachLocal(_ shard: ShardRef, _ body: (UInt) -> Void) {
    var block = shard.it.local
    var left = shard.it.capacity
    while block != 0 {
      guard left != 0, isBlock(block, of: shard) else { damaged(block) }
      left &-= 1
      let next = link(block)
      body(block)
      block = next
    }
  }

  /// The block behind one that is not the last on its shard's list.
  @inline(__always)
  private func next(_ block: UInt, _ shard: ShardRef) -> UInt {
    let next = link(block)
    guard isBlock(next, of: shard) else { damaged(block) }
    return next
  }

  /// Whether `block` lies in the shard.
  @inline(__always)
  func isBlock(_ block: UInt, of shard: ShardRef) -> Bool {
    block & 15 == 0 && block &- shard.it.base < UInt(shard.it.spanPages) &<< Page.shift
  }

  /// Whether `block` lies in a shard of the class.
  func isBlock(_ block: UInt, _ sizeClass: SizeClass) -> Bool {
    guard block & 15 == 0, let shard = shard(of: block) else { return false }
    return shard.it.sizeClass == UInt8(truncatingIfNeeded: sizeClass.index)
  }

  /// Says so, and aborts.
  @inline(never)
  func damaged(_ block: UInt) -> Never {
    fault("free list", block, "damaged: a block was freed twice, or written to after it was freed")
  }
}
