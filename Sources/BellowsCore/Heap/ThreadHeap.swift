// A thread's heap: for each class the list that malloc takes from, the one that free puts on, the shard from which
// the blocks came, and a queue of further shards that the thread owns.
//
//            malloc            free
//              ▲                 │                    full: to the blocks' own shards
//            heads ◄──run out── freed ── room ──────► local
//
// The thread itself uses both lists without a lock on its hit paths. Everything else is done with the heap's
// lock held, which the thread takes on every slow path, so that others (a fork, a trim, thread exit) can rely
// on the heap being whole when they have it.

import CShims

package struct ThreadHeap: BitwiseCopyable {
  /// Per class: free blocks to hand out. Malloc's; must stay the first field.
  package var heads: InlineArray<40, UInt>
  package var lockWord: UInt
  /// Freed runs up to 256 KiB, one of each length (Heap+Runs.swift). Anybody's, by atomic exchange.
  package var slots: InlineArray<24, UInt>
  /// Per class: whether other threads free its blocks. They set 1; the owner makes it 2 when it has acted on it.
  package var foreign: InlineArray<40, UInt8>
  /// Per class: blocks that the thread freed, of whatever shard. Free's; malloc takes the list when `heads` has run
  /// out. Two lists and not one: with one, each malloc would have to wait for the free before it to have
  /// found its class (8 ns a pair instead of 6).
  /// One more than classes, and always empty: for sparse shards.
  package var freed: InlineArray<41, UInt>
  /// Per list: how many blocks free may still put on it.
  package var room: InlineArray<41, UInt8>
  /// How often `freed` took the place of `heads`. The hit paths'.
  package var swaps: UInt8
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
  /// When the thread last gave up shards that it does not need, in milliseconds.
  package var shedTime: UInt64
  package var threadID: UInt32
  package var isIdle: Bool
  /// Used under its lock alone, by any thread: no hit path knows it.
  package var isShared: Bool
  /// In the child of a fork: its thread is not there, and what it has is to be taken over; or it was between two steps, and
  /// what it has stays as it is for ever.
  package var isOrphan: Bool
  package var isLost: Bool
  /// Whether its thread has not been through a slow path of allocation yet.
  package var isNewborn: Bool
  /// The `Heap.epoch` up to which nothing of it lies in a section that goes offline. Under the lock.
  package var epoch: UInt
  // Where the thread runs (Heap+Nodes.swift). Its own.
  /// The node that fresh pages come from, or `Arena.unboundNode`; if it was asked for.
  package var node: Int32
  /// What it was at the last look, and the node whose shards the heap keeps.
  package var seenNode: Int32
  package var homeNode: Int32
  package var isNodeKnown: Bool
  /// Counts requests for pages.
  package var nodeRequests: UInt8

  package static var lockOffset: UInt { 320 }
  /// Where `slots` is.
  package static var slotsOffset: UInt { 328 }
  /// Where `foreign` is.
  package static var foreignOffset: UInt { 520 }
  /// What `room` is set to when `heads` has run out: 255 blocks up to 64 bytes, 128 up to 128, 64 up to 1 KiB, 32 up
  /// to 4 KiB, 16 above. The blocks of a thread that replaces them at random then go from list to list, and the shards hear of nothing.
  /// (Two in three of its frees hit another shard than the current one, each a branch that no predictor
  /// foresees: that cost twice the time of all the rest.)
  @inline(__always) package static func room(_ sizeClass: SizeClass) -> UInt8 {
    if sizeClass.index < 8 { return sizeClass.index < 4 ? 255 : 128 }
    return sizeClass.index < 20 ? 64 : sizeClass.index < 28 ? 32 : 16
  }

  /// How many blocks a thread's list is filled with at most: fewer than what it frees has room for. A thread that
  /// takes and frees one block at a time would otherwise fill `freed` before it has run through `heads`, and then
  /// give both back.
  @inline(__always) package static func batch(_ room: UInt8) -> UInt32 {
    UInt32(room &- few(room))
  }

  /// Fewer blocks than this on `freed` are too few to be a list.
  @inline(__always) package static func few(_ room: UInt8) -> UInt8 { room &>> 3 }
  /// Bytes of a record; 64-byte aligned, so that the low bits of its address are free for tags.
  package static var bytes: UInt { UInt(bitPattern: MemoryLayout<ThreadHeap>.size).rounded(upTo: 64) }
  /// Partial shards of a class that a thread keeps beside its current one where threads free each other's blocks, or
  /// when it is idle. The rest is left for others to find. A thread that has its blocks to itself keeps all: it
  /// would otherwise claim and give up a shard at every free.
  package static var partialLimit: UInt16 { 32 }
}

package typealias ThreadHeapRef = Ref<ThreadHeap>

extension Ref where Pointee == ThreadHeap {
  package var lock: Lock { Lock(address &+ ThreadHeap.lockOffset, .heap) }

  /// Takes the lock and notes that the thread is active.
  func enterSlowPath() {
    lock.acquire()
    it.activity &+= 1
  }

  // MARK: Notes of other threads

  /// Where others note that they free blocks of a class. Read and written atomically.
  func foreignNote(_ sizeClass: SizeClass) -> UInt { address &+ ThreadHeap.foreignOffset &+ sizeClass.index }

  func clearForeignNotes() {
    for word in 0..<(UInt(40) &>> 3) { bellows_store(address &+ ThreadHeap.foreignOffset &+ word &* 8, 0) }
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
  /// worth choosing, and then when it is empty. False, and nothing done, where the thread has `limit` shards that are
  /// worth choosing already.
  package func place(_ shard: ShardRef, limit: UInt16 = ThreadHeap.partialLimit) -> Bool {
    let used = shard.used
    let available = shard.available
    let worthwhile = shard.worthwhile
    if available >= worthwhile {
      if it.partial[Int(shard.it.sizeClass)] >= limit { return false }
      let isSparse = available >= shard.sparse
      shard.it.list = isSparse ? UInt8(truncatingIfNeeded: SizeClass.count) : shard.it.sizeClass
      shard.setUsed(used, tellAfter: isSparse ? used : min(shard.sparse &- available, used))
      enqueue(shard, atFront: true)
    } else {
      shard.it.list = shard.it.sizeClass
      shard.setUsed(used, tellAfter: min(worthwhile &- available, used))
      enqueue(shard, atFront: false)
    }
    return true
  }
}
