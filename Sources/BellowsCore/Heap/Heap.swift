// The malloc heap on an arena: what its thread heaps share.
//
//     malloc ──► heads[class] ──hit──► block
//                   │ miss
//                   ▼ refill          what the thread freed
//                                     current shard: local, remote, fresh blocks
//                                     the thread's queue
//                                     the abandoned list
//                                     a fresh shard from the zone
//
//     free ──► granule's word == my heap ──hit──► freed[class], or the shard's local list
//                   │ miss
//                   ▼ word            tail: look at the head
//                                     shard of another: remote list, or claim it if nobody owns it
//                                     run: the thread's cache, or the zone
//                                     nothing: a huge mapping, or not ours

import CShims

package struct Heap: BitwiseCopyable {
  package var registryWord: UInt
  /// The heap of threads that ended and still allocate; used with its lock only.
  package var commons: UInt
  /// All thread heaps ever made, linked by `nextHeap`, and those without a thread, by `nextIdle`.
  package var heaps: UInt
  /// How often `tick` was called, and when it last looked at the clock. Written without a lock; a lost count
  /// does no harm.
  package var ticks: UInt
  package var lastTick: UInt
  /// Pages of shards that were returned to the system. Atomic.
  package var holePages: UInt
  /// How often an idle thread's heap was trimmed, and how often that was refused. The helper's.
  package var seizures: UInt
  package var refusals: UInt
  package var idle: UInt
  package var heapCount: UInt
  package var arena: ArenaRef
  package var table: SectionTable
  /// Milliseconds that free memory stays resident.
  package var purgeDelay: UInt64
  /// Whether every block is checked by its bit in the object map (BELLOWS_CHECK).
  package var isChecking: Bool
  /// Sections on their way offline (Heap+Cage.swift). Read without a lock.
  package var cages: UInt
  /// Grows when a section sets out; what a thread heap has acknowledged is in `ThreadHeap.epoch`.
  package var epoch: UInt
  /// The next heap on the arena.
  package var nextOnArena: UInt
  /// Whether a shared slot was filled since they were emptied (Heap+Runs.swift). Atomic.
  package var sharedSlotsFilled: UInt
  /// What the child of a fork has to take over yet: 1 and twice the number that the thread had in the parent; 0: nothing.
  package var adoption: UInt
  /// Pages put into shared slots since they were emptied or looked at. Atomic.
  package var slotPages: UInt
  /// When a fork in a signal handler last ran out of patience, in milliseconds.
  package var impatientSince: UInt64

  package static var commonsOffset: UInt { 8 }
  package static var heapsOffset: UInt { 16 }
  package static var ticksOffset: UInt { 24 }
  package static var lastTickOffset: UInt { 32 }
  package static var holePagesOffset: UInt { 40 }
  package static var cagesOffset: UInt { 136 }
  package static var epochOffset: UInt { 144 }
  package static var sharedSlotsFilledOffset: UInt { 160 }
  package static var adoptionOffset: UInt { 168 }
  package static var slotPagesOffset: UInt { 176 }
  /// Where the table of huge blocks is, behind the fields above.
  package static var hugeOffset: UInt { 256 }
  /// The slots that all threads share (Heap+Runs.swift).
  package static var slotsOffset: UInt { 384 }
  /// Where the limits are (Limit.swift), behind the slots.
  package static var limitOffset: UInt { 928 }
  /// Where the abandoned lists start.
  package static var listsOffset: UInt { 1024 }
  /// Bytes of the lists of one slot (Heap+Nodes.swift).
  package static var listsBytes: UInt { SizeClass.count &* 2 &* AbandonedList.stride }
  /// Where the addresses of the lists of nodes 0 to 63 are, behind those of no node in particular.
  package static var nodeListsOffset: UInt { listsOffset &+ listsBytes }
  package static var nodeSlots: UInt { 64 }
  /// Bytes of a heap's record.
  package static var bytes: UInt { nodeListsOffset &+ nodeSlots &* 8 }
  /// In `cages`: memory of several nodes is about, which the short ways of runs do not look at either.
  package static var spreadBit: UInt { 1 &<< 63 }
  /// Blocks above this many bytes are mappings of their own (64 MiB).
  package static var hugeBytes: UInt { 64 &<< 20 }
}

package typealias HeapRef = Ref<Heap>

extension Ref where Pointee == Heap {
  package var registry: Lock { Lock(address, .registry) }

  /// The abandoned shards of a class, as they came, of the slot of a node (Heap+Nodes.swift).
  package func abandoned(_ sizeClass: SizeClass, _ slot: UInt = 0) -> AbandonedListRef {
    AbandonedListRef(lists(slot) &+ sizeClass.index &* 2 &* AbandonedList.stride)
  }

  /// The abandoned shards of a class that the purge went over.
  package func perforated(_ sizeClass: SizeClass, _ slot: UInt = 0) -> AbandonedListRef {
    AbandonedListRef(abandoned(sizeClass, slot).address &+ AbandonedList.stride)
  }

  /// Takes a shard that the caller has claimed off the list that it is on, if any.
  func unlist(_ shard: ShardRef) {
    switch shard.it.state {
    case .listed: abandoned(shard.sizeClass, UInt(shard.it.slot)).remove(shard)
    case .perforated: perforated(shard.sizeClass, UInt(shard.it.slot)).remove(shard)
    default: break
    }
  }

  /// Sets up a heap on `arena` in zero-filled memory.
  package func initialise(arena: ArenaRef, isChecking: Bool = false, purgeDelay: UInt64 = 250) {
    it.purgeDelay = purgeDelay
    it.arena = arena
    it.table = arena.it.table
    it.isChecking = isChecking
    if arena.isSpread { noteSpread() }
    // Heaps are never taken off the list.
    repeat {
      it.nextOnArena = bellows_load(arena.address &+ Arena.heapsOffset)
    } while !bellows_compare_exchange(
      arena.address &+ Arena.heapsOffset, it.nextOnArena, address)
  }

  package func granule(of block: UInt) -> UInt { it.table.granule(of: block) }

  // MARK: Thread heaps

  /// A heap for the calling thread: one that an ended thread left, or a new one. Nil: no memory.
  package func attachThread(isCommon: Bool = false) -> ThreadHeapRef? {
    registry.acquire()
    defer { registry.release() }
    if !isCommon, it.idle != 0 {
      let heap = ThreadHeapRef(it.idle)
      it.idle = heap.it.nextIdle
      heap.it.isIdle = false
      heap.it.isNodeKnown = false
      // Nothing is in it that it had to acknowledge.
      heap.lock.acquire()
      heap.it.epoch = epoch
      heap.lock.release()
      heap.it.threadID = bellows_thread_id()
      heap.it.isNewborn = true
      return heap
    }
    guard let memory = it.arena.allocateMetadata(ThreadHeap.bytes) else { return nil }
    let heap = ThreadHeapRef(memory)
    heap.it.threadID = bellows_thread_id()
    heap.it.epoch = epoch
    heap.it.isShared = isCommon
    heap.it.isNewborn = !isCommon
    heap.it.nextHeap = it.heaps
    bellows_store_release(address &+ Heap.heapsOffset, heap.address)
    it.heapCount = it.heapCount &+ 1
    return heap
  }

  /// The heap of threads that ended and still allocate. Nil: no memory.
  package func commonHeap() -> ThreadHeapRef? {
    let known = bellows_load_acquire(address &+ Heap.commonsOffset)
    if known != 0 { return ThreadHeapRef(known) }
    guard let made = attachThread(isCommon: true) else { return nil }
    if bellows_compare_exchange(address &+ Heap.commonsOffset, 0, made.address) { return made }
    detachThread(made)
    return ThreadHeapRef(bellows_load_acquire(address &+ Heap.commonsOffset))
  }

  /// Takes everything out of a heap whose thread ends, and keeps the heap for the next thread.
  package func detachThread(_ heap: ThreadHeapRef) {
    heap.lock.acquire()
    empty(heap)
    heap.lock.release()
    registry.acquire()
    heap.it.isIdle = true
    heap.it.nextIdle = it.idle
    it.idle = heap.address
    registry.release()
  }

  /// Whether a thread other than `thread` has a heap.
  package func isUsed(besides thread: UInt32) -> Bool {
    registry.acquire()
    defer { registry.release() }
    var next = it.heaps
    while next != 0 {
      let heap = ThreadHeapRef(next)
      if !heap.it.isIdle, !heap.it.isShared, heap.it.threadID != thread { return true }
      next = heap.it.nextHeap
    }
    return false
  }

  /// Gives up every shard and run of a heap. Under its lock.
  package func empty(_ heap: ThreadHeapRef) {
    heap.it.epoch = epoch
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      if heap.it.heads[place] | heap.it.freed[place] | heap.it.current[place] | heap.it.first[place] == 0 {
        continue
      }
      returnLists(heap, SizeClass(index))
      let current = heap.it.current[place]
      if current != 0 {
        heap.it.current[place] = 0
        unbias(ShardRef(current))
        giveUp(ShardRef(current))
      }
      while heap.it.first[place] != 0 {
        let shard = ShardRef(heap.it.first[place])
        heap.dequeue(shard)
        giveUp(shard)
      }
    }
    heap.it.fresh = InlineArray(repeating: 0)
    // A fork may have found the thread between two steps of a free for which there was no room.
    heap.it.room = InlineArray(repeating: 0)
    heap.clearForeignNotes()
    emptySlots(heap)
  }

  // MARK: Shards

  /// Takes a fresh shard from the arena for `heap`. Nil: no memory.
  func makeShard(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    let pages = sizeClass.spanPages
    guard let run = allocatePages(heap, pages, alignment: pages) else { return nil }
    let shard = ShardRef(granule(of: run.address))
    shard.it.local = 0
    shard.setUsed(0, tellAfter: 0)
    shard.it.capacity = 0
    shard.it.total = UInt16(truncatingIfNeeded: sizeClass.blocksPerShard)
    shard.it.sizeClass = UInt8(truncatingIfNeeded: sizeClass.index)
    shard.it.state = .loose
    shard.it.spanPages = UInt8(truncatingIfNeeded: pages)
    shard.it.list = shard.it.sizeClass
    shard.it.base = run.address
    shard.it.holes = 0
    bellows_store(shard.remoteAddress, RemoteWord.ownedEmpty.bits)
    forEachTail(shard) { bellows_store($0, GranuleWord.tail(of: shard.address).bits) }
    shard.owner = GranuleWord(heap.address)
    if it.isChecking { clearObjectMap(run.address, pages) }
    return shard
  }

  /// Calls `body` with the descriptor of each granule of the shard after its first.
  @inline(__always)
  private func forEachTail(_ shard: ShardRef, _ body: (UInt) -> Void) {
    let stride = Page.granulePages &* Page.descriptorBytes
    let end = shard.address &+ UInt(shard.it.spanPages) &* Page.descriptorBytes
    var descriptor = shard.address &+ stride
    while descriptor < end {
      body(descriptor)
      descriptor = descriptor &+ stride
    }
  }

  /// Gives the pages of an empty shard back. The caller owns it, and it is in no list.
  func retire(_ shard: ShardRef) {
    let run = PageRun(address: shard.it.base, pages: UInt(shard.it.spanPages), isZero: false)
    forEachTail(shard) { bellows_store($0, GranuleWord.nothing.bits) }
    shard.owner = .nothing
    noteHoles(shard, 0)
    it.arena.free(run)
    tick()
  }

  /// Lets go of an owned shard that is in no list: back to the zone if it is empty, to the abandoned list if
  /// it is worth choosing, else just unowned until somebody frees in it.
  func giveUp(_ shard: ShardRef) {
    repeat {
      collectRemote(shard)
      let used = shard.used
      if used == 0 {
        unlist(shard)
        retire(shard)
        return
      }
      shard.setUsed(used, tellAfter: used)
      shard.owner = .unowned
      if isCaged(shard.it.base) {
        cage(shard)
      } else if shard.it.state == .loose, shard.available >= shard.worthwhile {
        shard.it.stamp = UInt32(truncatingIfNeeded: bellows_clock_milliseconds())
        enlist(shard)
      }
    } while !shard.disown()
  }

  /// A current shard counts one more than is used, so that the last free of a block does not report it
  /// empty: it is about to be used again.
  @inline(__always)
  func bias(_ shard: ShardRef, used: UInt32) {
    shard.it.countdown = used &+ 1
    shard.it.reserve = 0 &- 1
  }

  func unbias(_ shard: ShardRef) { shard.setUsed(shard.used, tellAfter: shard.used) }
}
