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
  /// Per class: the shard that `heads` came from, or 0.
  package var current: InlineArray<40, UInt>
  /// Per class: owned shards. Partial ones, worth choosing, in front; cooling ones behind.
  package var first: InlineArray<40, UInt>
  package var last: InlineArray<40, UInt>
  package var queued: InlineArray<40, UInt16>
  /// Per class: shards taken fresh, up to 255: the measure for how much of the next one to thread at once.
  package var fresh: InlineArray<40, UInt8>
  /// Runs of pages that this thread freed and may want again.
  package var runs: RunCache
  /// The next of all thread heaps, and of the idle ones.
  package var nextHeap: UInt
  package var nextIdle: UInt
  package var threadID: UInt32
  package var isIdle: Bool

  /// Bytes of a record; 64-byte aligned, so that the low bits of its address are free for tags.
  package static var bytes: UInt { UInt(bitPattern: MemoryLayout<ThreadHeap>.size).rounded(upTo: 64) }
  /// Shards of a class that a thread keeps beside its current one. The rest is left for others to find.
  package static var queueLimit: UInt16 { 32 }
}

package typealias ThreadHeapRef = Ref<ThreadHeap>

extension Ref where Pointee == ThreadHeap {
  package var lock: Lock { Lock(address &+ 320, .heap) }

  // MARK: The queue of a class

  package func enqueue(_ shard: ShardRef, atFront: Bool) {
    let place = Int(shard.it.sizeClass)
    shard.it.state = .queued
    if atFront {
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
    it.queued[place] &+= 1
  }

  package func dequeue(_ shard: ShardRef) {
    let place = Int(shard.it.sizeClass)
    let next = shard.it.next
    let previous = shard.it.previous
    if next != 0 { ShardRef(next).it.previous = previous } else { it.last[place] = previous }
    if previous != 0 { ShardRef(previous).it.next = next } else { it.first[place] = next }
    it.queued[place] &-= 1
    shard.it.state = .loose
  }

  /// Puts an owned shard where its content belongs, and says when its owner wants to hear of it: when it is
  /// worth choosing, and then when it is empty.
  package func place(_ shard: ShardRef) {
    let used = shard.used
    let available = shard.available
    let worthwhile = shard.worthwhile
    if available >= worthwhile {
      shard.setUsed(used, tellAfter: used)
      enqueue(shard, atFront: true)
    } else {
      shard.setUsed(used, tellAfter: min(worthwhile &- available, used))
      enqueue(shard, atFront: false)
    }
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

/// A few runs of pages that a thread freed, kept for its next request of about that size.
package struct RunCache: BitwiseCopyable {
  package struct Entry: BitwiseCopyable {
    package var address: UInt
    package var pages: UInt
  }

  package var entries: InlineArray<8, Entry>
  package var pages: UInt
  /// The entry to give up next.
  package var turn: UInt

  /// Runs up to 1 MiB are kept, 2 MiB of them in all: what a thread reuses within microseconds; more would
  /// be memory that nobody else can have.
  package static var largestPages: UInt { 256 }
  package static var limitPages: UInt { 512 }
}
