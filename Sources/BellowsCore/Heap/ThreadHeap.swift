// A thread's heap: for each class the list that malloc takes from, the shard it came from, and a queue of
// further shards that the thread owns.
//
// The thread itself uses `heads` without a lock on its hit paths. Everything else is done with the heap's
// lock held, which the thread takes on every slow path, so that others (a fork, a trim, thread exit) can rely
// on the heap being whole when they have it.

import CShims

package struct ThreadHeap: BitwiseCopyable {
  /// Per class: free blocks, all of them from `current`. The hit path's; must stay the first field.
  package var heads: InlineArray<40, UInt>
  package var lockWord: UInt
  /// Freed runs up to 256 KiB, one of each length (Heap+Runs.swift). Anybody's, by atomic exchange.
  package var slots: InlineArray<24, UInt>
  /// Per class: whether other threads free its blocks. They set 1; the owner makes it 2 when it has acted on it.
  package var foreign: InlineArray<40, UInt8>
  /// The address of the thread's two words (bellows_shims.h); 0: unknown, or the thread ended. Under the lock.
  package var words: UInt
  /// An address on the thread's stack.
  package var stack: UInt
  /// Counts slow paths; what it was at the helper's last look, and when the heap was last trimmed.
  package var activity: UInt32
  package var seenActivity: UInt32
  package var trimmedActivity: UInt32
  package var refusals: UInt32
  /// Per class: the shard that `heads` came from, or 0.
  package var current: InlineArray<40, UInt>
  /// Per class: owned shards. Partial ones, worth choosing, in front; cooling ones behind.
  package var first: InlineArray<40, UInt>
  package var last: InlineArray<40, UInt>
  /// Per class: how many of them are partial.
  package var partial: InlineArray<40, UInt16>
  /// Per class: shards taken fresh, up to 255: the measure for how much of the next one to thread at once.
  package var fresh: InlineArray<40, UInt8>
  /// The next of all thread heaps, and of the idle ones.
  package var nextHeap: UInt
  package var nextIdle: UInt
  package var threadID: UInt32
  package var isIdle: Bool

  /// Where `slots` is.
  package static var slotsOffset: UInt { 328 }
  /// Where `foreign` is.
  package static var foreignOffset: UInt { 520 }
  /// Bytes of a record; 64-byte aligned, so that the low bits of its address are free for tags.
  package static var bytes: UInt { UInt(bitPattern: MemoryLayout<ThreadHeap>.size).rounded(upTo: 64) }
  /// Partial shards of a class that a thread keeps beside its current one. The rest is left for others to
  /// find. Cooling ones have less than an eighth to offer and are not limited: a thread that frees at random
  /// in many shards would otherwise claim and give up one at every free.
  package static var partialLimit: UInt16 { 32 }
}

package typealias ThreadHeapRef = Ref<ThreadHeap>

extension Ref where Pointee == ThreadHeap {
  package var lock: Lock { Lock(address &+ 320, .heap) }

  /// Takes the lock and notes that the thread is active.
  func enterSlowPath() {
    lock.acquire()
    it.activity &+= 1
  }

  // MARK: The queue of a class

  package func enqueue(_ shard: ShardRef, atFront: Bool) {
    let place = Int(shard.it.sizeClass)
    shard.it.state = atFront ? .partial : .cooling
    if atFront {
      it.partial[place] &+= 1
      let head = it.first[place]
      shard.it.previous = 0
      shard.it.next = head
      if head != 0 { ShardRef(head).it.previous = shard.address } else { it.last[place] = shard.address }
      it.first[place] = shard.address
    } else {
      let tail = it.last[place]
      shard.it.previous = tail
      shard.it.next = 0
      if tail != 0 { ShardRef(tail).it.next = shard.address } else { it.first[place] = shard.address }
      it.last[place] = shard.address
    }
  }

  package func dequeue(_ shard: ShardRef) {
    let place = Int(shard.it.sizeClass)
    let next = shard.it.next
    let previous = shard.it.previous
    if next != 0 { ShardRef(next).it.previous = previous } else { it.last[place] = previous }
    if previous != 0 { ShardRef(previous).it.next = next } else { it.first[place] = next }
    if shard.it.state == .partial { it.partial[place] &-= 1 }
    shard.it.state = .loose
  }

  /// Puts an owned shard where its content belongs, and says when its owner wants to hear of it: when it is
  /// worth choosing, and then when it is empty. False, and nothing done, where the thread has enough.
  package func place(_ shard: ShardRef) -> Bool {
    let used = shard.used
    let available = shard.available
    let worthwhile = shard.worthwhile
    if available >= worthwhile {
      if it.partial[Int(shard.it.sizeClass)] >= ThreadHeap.partialLimit { return false }
      shard.setUsed(used, tellAfter: used)
      enqueue(shard, atFront: true)
    } else {
      shard.setUsed(used, tellAfter: min(worthwhile &- available, used))
      enqueue(shard, atFront: false)
    }
    return true
  }

  /// Gives the blocks on the thread's list of a class back to the shard they came from.
  package func returnHead(_ sizeClass: SizeClass) {
    let place = Int(bitPattern: sizeClass.index)
    var block = it.heads[place]
    guard block != 0 else { return }
    let shard = ShardRef(it.current[place])
    it.heads[place] = 0
    var count: UInt32 = 0
    while block != 0 {
      let next = link(block)
      shard.pushLocal(block)
      count &+= 1
      block = next
    }
    shard.setUsed(shard.used &- count, tellAfter: shard.it.countdown)
  }
}
