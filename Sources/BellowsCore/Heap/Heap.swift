// The malloc heap on an arena: what its thread heaps share.
//
//     malloc ──► heads[class] ──hit──► block
//                   │ miss
//                   ▼ refill          current shard: local, remote, fresh blocks
//                                     the thread's queue
//                                     the abandoned list
//                                     a fresh shard from the zone
//
//     free ──► granule's word == my heap ──hit──► local list of the shard
//                   │ miss
//                   ▼ word            tail: look at the head
//                                     shard of another: remote list, or claim it if nobody owns it
//                                     run: the thread's cache, or the zone
//                                     nothing: a huge mapping, or not ours

import CShims

package struct Heap: BitwiseCopyable {
  package var registryWord: UInt
  package var arena: ArenaRef
  package var table: SectionTable
  /// All thread heaps ever made, linked by `nextHeap`, and those without a thread, by `nextIdle`.
  package var heaps: UInt
  package var idle: UInt
  package var heapCount: UInt
  /// Heaps that a fork caught with their lock held; they stay as they are.
  package var leakedHeaps: UInt
  /// Whether every block is checked by its bit in the object map (BELLOWS_CHECK).
  package var isChecking: Bool

  /// Where the table of huge blocks is, behind the fields above.
  package static var hugeOffset: UInt { 256 }
  /// Where the abandoned lists start, behind the fields above.
  package static var listsOffset: UInt { 512 }
  /// Bytes of a heap's record.
  package static var bytes: UInt { listsOffset &+ SizeClass.count &* AbandonedList.stride }
  /// Blocks above this many bytes are mappings of their own (64 MiB).
  package static var hugeBytes: UInt { 64 &<< 20 }
}

package typealias HeapRef = Ref<Heap>

extension Ref where Pointee == Heap {
  package var registry: Lock { Lock(address, .registry) }

  package func abandoned(_ sizeClass: SizeClass) -> AbandonedListRef {
    AbandonedListRef(address &+ Heap.listsOffset &+ sizeClass.index &* AbandonedList.stride)
  }

  /// Sets up a heap on `arena` in zero-filled memory.
  package func initialise(arena: ArenaRef, isChecking: Bool = false) {
    SizeClass.fillTable()
    it.arena = arena
    it.table = arena.it.table
    it.isChecking = isChecking
  }

  package func granule(of block: UInt) -> UInt { it.table.granule(of: block) }

  // MARK: Thread heaps

  /// A heap for the calling thread: one that an ended thread left, or a new one. Nil: no memory.
  package func attachThread() -> ThreadHeapRef? {
    registry.acquire()
    defer { registry.release() }
    if it.idle != 0 {
      let heap = ThreadHeapRef(it.idle)
      it.idle = heap.it.nextIdle
      heap.it.isIdle = false
      heap.it.threadID = bellows_thread_id()
      return heap
    }
    guard let memory = it.arena.allocateMetadata(ThreadHeap.bytes) else { return nil }
    let heap = ThreadHeapRef(memory)
    heap.it.threadID = bellows_thread_id()
    heap.it.nextHeap = it.heaps
    it.heaps = heap.address
    it.heapCount = it.heapCount &+ 1
    return heap
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

  /// Gives up every shard and run of a heap. Under its lock.
  package func empty(_ heap: ThreadHeapRef) {
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      heap.returnHead(SizeClass(index))
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
      heap.it.fresh[place] = 0
    }
    dropRuns(heap)
  }

  // MARK: Shards

  /// Takes a fresh shard from the arena for `heap`. Nil: no memory.
  func makeShard(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    let pages = sizeClass.spanPages
    guard let run = it.arena.allocate(pages: pages, alignment: pages) else { return nil }
    let shard = ShardRef(granule(of: run.address))
    shard.it.local = 0
    shard.setUsed(0, tellAfter: 0)
    shard.it.capacity = 0
    shard.it.total = UInt16(truncatingIfNeeded: sizeClass.blocksPerShard)
    shard.it.sizeClass = UInt8(truncatingIfNeeded: sizeClass.index)
    shard.it.state = .loose
    shard.it.spanPages = UInt16(truncatingIfNeeded: pages)
    shard.it.base = run.address
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
    it.arena.free(run)
  }

  /// Lets go of an owned shard that is in no list: back to the zone if it is empty, to the abandoned list if
  /// it is worth choosing, else just unowned until somebody frees in it.
  func giveUp(_ shard: ShardRef) {
    repeat {
      shard.collectRemote()
      let used = shard.used
      if used == 0 {
        if shard.it.state == .listed { abandoned(shard.sizeClass).remove(shard) }
        retire(shard)
        return
      }
      shard.setUsed(used, tellAfter: used)
      shard.owner = .unowned
      if shard.it.state != .listed, shard.available >= shard.worthwhile {
        abandoned(shard.sizeClass).add(shard)
      }
    } while !shard.disown()
  }

  /// A current shard counts one more than is used, so that the last free of a block does not report it
  /// empty: it is about to be used again.
  func bias(_ shard: ShardRef) {
    let used = UInt32(shard.it.capacity)
    shard.it.countdown = used &+ 1
    shard.it.reserve = 0 &- 1
  }

  func unbias(_ shard: ShardRef) { shard.setUsed(shard.used, tellAfter: shard.used) }
}
