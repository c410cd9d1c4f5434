// Memory near the thread that uses it, on machines with several nodes.
//
//   fresh pages        the zone of the node that the thread runs on, which grows by sections that prefer it
//   shards left        on lists of their section's node; a thread adopts those of its own node
//   blocks freed       by a thread of another node go to their shard, and through it to its owner or its node's lists
//   runs freed         by a thread of another node go to their zone, and into no slot
//
//        asked            16 requests for pages,      still there at the next
//   node ─────► near it   or a purge delay ─────► moved? ─────────────────► its old shards are given up
//
// The kernel says where a thread runs (getcpu: no system call on x86-64, one on arm64), and whether it has a memory policy
// of its own, which then is left in force: such a thread has memory of no node in particular. The answer is used for 16
// requests. With one node nobody is asked, and each of the slow paths here costs a load.

import CShims

extension Ref where Pointee == Heap {
  // MARK: Where a thread runs

  /// The node that fresh pages for the thread of `heap` are to come from.
  @inline(__always)
  func wantedNode(_ heap: ThreadHeapRef) -> Int32 {
    _slowPath(it.arena.isSpread) ? knownNode(heap, isRequest: true) : Arena.anyNode
  }

  /// By the thread of `heap`, or under its lock where it is shared: those are never alike.
  @inline(never)
  private func knownNode(_ heap: ThreadHeapRef, isRequest: Bool) -> Int32 {
    if heap.it.isShared { return askNode() }
    if isRequest { heap.it.nodeRequests &+= 1 }
    if !heap.it.isNodeKnown || (isRequest && heap.it.nodeRequests & 15 == 0) {
      heap.it.node = askNode()
      heap.it.isNodeKnown = true
    }
    return heap.it.node
  }

  private func askNode() -> Int32 {
    if it.cages & Heap.spreadBit == 0 { noteSpread() }
    let node = it.arena.it.platform.currentNode
    return node < 0 ? Arena.unboundNode : it.arena.serves(node)
  }

  /// Keeps runs off the short ways between threads, which know nothing of nodes.
  func noteSpread() { _ = bellows_fetch_or(address &+ Heap.cagesOffset, UInt64(Heap.spreadBit)) }

  /// Whether the section at `block` is memory of another node than the thread of `heap` wants.
  @inline(__always)
  func isFar(_ block: UInt, _ heap: ThreadHeapRef) -> Bool {
    _slowPath(it.arena.isSpread) && liesFar(block, heap)
  }

  @inline(never)
  private func liesFar(_ block: UInt, _ heap: ThreadHeapRef) -> Bool {
    let node = it.arena.knownSection(at: block).it.memory.node
    return node >= 0 && node != knownNode(heap, isRequest: false)
  }

  // MARK: Moving

  /// Now and then: a thread that has been on another node for a purge delay moved there for good, and gives up what it has
  /// elsewhere. Under the heap's lock, by its own thread.
  func follow(_ heap: ThreadHeapRef) {
    guard it.arena.isSpread, !heap.it.isShared else { return }
    heap.it.node = askNode()
    heap.it.isNodeKnown = true
    let isStill = heap.it.seenNode == heap.it.node
    heap.it.seenNode = heap.it.node
    guard isStill, heap.it.homeNode != heap.it.node else { return }
    heap.it.homeNode = heap.it.node
    leaveFar(heap)
  }

  /// Gives up the shards and runs of a heap that are of another node. Under its lock, by its own thread.
  private func leaveFar(_ heap: ThreadHeapRef) {
    for index in 0..<SizeClass.count {
      let place = Int(bitPattern: index)
      returnLists(heap, SizeClass(index))
      let current = heap.it.current[place]
      if current != 0, liesFar(ShardRef(current).it.base, heap) {
        heap.it.current[place] = 0
        unbias(ShardRef(current))
        giveUp(ShardRef(current))
      }
      var next = heap.it.first[place]
      while next != 0 {
        let shard = ShardRef(next)
        next = shard.it.next
        guard liesFar(shard.it.base, heap) else { continue }
        heap.dequeue(shard)
        giveUp(shard)
      }
    }
    emptySlots(heap)
  }

  // MARK: Lists

  /// The lists of abandoned shards come in slots: 0 for memory of no node in particular, n + 1 for node n. Where those of a
  /// slot are; 0: there are none.
  func lists(_ slot: UInt) -> UInt {
    slot == 0
      ? address &+ Heap.listsOffset
      : bellows_load_acquire(address &+ Heap.nodeListsOffset &+ (slot &- 1) &* 8)
  }

  /// Calls `body` with each slot that has lists.
  @inline(__always)
  func forEachSlot(_ body: (UInt) -> Void) {
    body(0)
    guard it.arena.isSpread else { return }
    for slot in 1...Heap.nodeSlots where lists(slot) != 0 { body(slot) }
  }

  /// The slot for shards of the section at `address`; its lists are made where there are none yet.
  func slot(at place: UInt) -> UInt {
    guard _slowPath(it.arena.isSpread) else { return 0 }
    let node = it.arena.knownSection(at: place).it.memory.node
    guard node >= 0, node < 64 else { return 0 }
    let slot = UInt(truncatingIfNeeded: Int(node)) &+ 1
    if lists(slot) != 0 { return slot }
    // Without memory for them those of no node serve: a shard remembers where it is listed.
    guard let memory = it.arena.allocateMetadata(Heap.listsBytes) else { return 0 }
    // Another thread may have been sooner; what it made is as good.
    _ = bellows_compare_exchange(address &+ Heap.nodeListsOffset &+ (slot &- 1) &* 8, 0, memory)
    return slot
  }

  /// Lists a shard that the caller owns with those of its node.
  func enlist(_ shard: ShardRef) {
    let slot = slot(at: shard.it.base)
    shard.it.slot = UInt8(truncatingIfNeeded: slot)
    abandoned(shard.sizeClass, slot).add(shard, .listed)
  }

  /// An abandoned shard that the thread of `heap` should have: of its node, or of none.
  func takeAbandoned(_ heap: ThreadHeapRef, _ sizeClass: SizeClass) -> ShardRef? {
    guard _slowPath(it.arena.isSpread) else { return takeListed(sizeClass, 0) }
    let node = knownNode(heap, isRequest: false)
    if node >= 0, let shard = takeListed(sizeClass, UInt(truncatingIfNeeded: Int(node)) &+ 1) { return shard }
    return takeListed(sizeClass, 0)
  }

  /// Any abandoned shard of the class, of whatever node: for when there is no memory.
  func takeFar(_ sizeClass: SizeClass) -> ShardRef? {
    guard it.arena.isSpread else { return nil }
    for slot in 1...Heap.nodeSlots {
      if let shard = takeListed(sizeClass, slot) { return shard }
    }
    return nil
  }

  private func takeListed(_ sizeClass: SizeClass, _ slot: UInt) -> ShardRef? {
    guard lists(slot) != 0 else { return nil }
    while let shard = abandoned(sizeClass, slot).take() ?? perforated(sizeClass, slot).take() {
      if !isCaged(shard.it.base) { return shard }
      giveUp(shard)
    }
    return nil
  }
}
