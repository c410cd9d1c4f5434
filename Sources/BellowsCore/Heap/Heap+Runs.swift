// Blocks above 32 KiB: runs of whole pages, described by one word.
//
// A freed run is kept in a slot, one for each length: up to 256 KiB in a slot of the thread's, above in one that
// all threads share. A slot is one word, filled by compare-and-exchange and emptied by exchange, so anybody can
// empty any slot at any time, the clock's purge included, and a pair of malloc and free costs two such
// operations. What is in a slot is used memory to the zone.

import CShims

extension Ref where Pointee == Heap {
  // MARK: Slots

  /// The slot for `bin`: the thread's, or the one of all.
  @inline(__always)
  private func slot(_ bin: RunBin, _ heap: ThreadHeapRef) -> UInt {
    bin.index < RunBin.ownCount
      ? heap.address &+ ThreadHeap.slotsOffset &+ bin.index &* 8
      : address &+ Heap.slotsOffset &+ (bin.index &- RunBin.ownCount) &* 8
  }

  /// The run in the slot for `bin`, made live again; 0 if there is none. `granule` finds a block's descriptor.
  @inline(__always)
  package func takeSlot(_ bin: RunBin, _ heap: ThreadHeapRef, _ granule: (UInt) -> UInt) -> UInt {
    let slot = slot(bin, heap)
    guard bellows_load(slot) != 0 else { return 0 }
    let block = bellows_exchange(slot, 0)
    guard block != 0 else { return 0 }
    if bin.index >= RunBin.ownCount { _ = bellows_fetch_add(sharedPages, 0 &- bin.pages) }
    bellows_store(granule(block), GranuleWord.run(pages: bin.pages).bits)
    return block
  }

  /// Puts the live run at `block`, with its descriptor at `descriptor`, into its slot; false where that is
  /// taken, or the shared slots hold enough.
  @inline(__always)
  package func putSlot(_ block: UInt, _ descriptor: UInt, pages: UInt, _ heap: ThreadHeapRef) -> Bool {
    guard RunBin.fits(pages) else { return false }
    let bin = RunBin(pages: pages)
    let slot = slot(bin, heap)
    guard bellows_load(slot) == 0 else { return false }
    if bin.index >= RunBin.ownCount, bellows_load(sharedPages) &+ pages > Heap.sharedLimit { return false }
    bellows_store(descriptor, GranuleWord.cachedRun(pages: pages).bits)
    if bin.index >= RunBin.ownCount { _ = bellows_fetch_add(sharedPages, pages) }
    if bellows_compare_exchange(slot, 0, block) { return true }
    // Another thread was sooner: the run is live again.
    bellows_store(descriptor, GranuleWord.run(pages: pages).bits)
    if bin.index >= RunBin.ownCount { _ = bellows_fetch_add(sharedPages, 0 &- pages) }
    return false
  }

  private var sharedPages: UInt { address &+ Heap.sharedPagesOffset }

  /// Gives the runs in a thread's slots back to the zone. Any thread.
  package func emptySlots(_ heap: ThreadHeapRef) {
    for index in 0..<RunBin.ownCount { emptySlot(RunBin(index: index), heap) }
  }

  /// Gives the runs in the slots of all threads back to the zone. Any thread.
  package func emptySharedSlots() {
    for index in RunBin.ownCount..<RunBin.count { emptySlot(RunBin(index: index), ThreadHeapRef(0)) }
  }

  private func emptySlot(_ bin: RunBin, _ heap: ThreadHeapRef) {
    let block = takeSlot(bin, heap) { granule(of: $0) }
    guard block != 0 else { return }
    bellows_store(granule(of: block), GranuleWord.nothing.bits)
    it.arena.free(PageRun(address: block, pages: bin.pages, isZero: false))
  }

  /// Pages of the runs in slots.
  package func slottedPages() -> UInt {
    var pages = bellows_load(sharedPages)
    var heap = it.heaps
    while heap != 0 {
      for index in 0..<RunBin.ownCount
      where bellows_load(slot(RunBin(index: index), ThreadHeapRef(heap))) != 0 {
        pages = pages &+ RunBin(index: index).pages
      }
      heap = ThreadHeapRef(heap).it.nextHeap
    }
    return pages
  }

  // MARK: Allocate and free

  /// A run of at least `bytes` bytes at a multiple of `alignment` bytes, or nil. Its descriptor is written.
  package func allocateRun(_ heap: ThreadHeapRef, bytes: UInt, alignment: UInt) -> PageRun? {
    var pages = Page.count(bytes)
    let step = max(alignment &>> Page.shift, Page.granulePages)
    if step == Page.granulePages, pages >= RunBin.leastPages, pages <= RunBin.mostPages {
      let bin = RunBin(pages: pages)
      let block = takeSlot(bin, heap) { granule(of: $0) }
      pages = bin.pages
      if block != 0, !isCaged(block), !isFar(block, heap) {
        return PageRun(address: block, pages: pages, isZero: false)
      }
      if block != 0 { giveBackRun(block, granule(of: block), pages: pages) }
    }
    guard let run = allocatePages(heap, pages, alignment: step) else { return nil }
    bellows_store(granule(of: run.address), GranuleWord.run(pages: pages).bits)
    return run
  }

  /// Pages from the arena. Where the system refuses, what threads keep is given up first, and then tried once
  /// more.
  func allocatePages(_ heap: ThreadHeapRef, _ pages: UInt, alignment: UInt) -> PageRun? {
    let node = wantedNode(heap)
    if _slowPath(isLimited) {
      return withinLimit(pages) {
        it.arena.allocate(pages: pages, alignment: alignment, mayGrow: $0, node: node)
      }
    }
    if let run = it.arena.allocate(pages: pages, alignment: alignment, node: node) { return run }
    reclaim()
    return it.arena.allocate(pages: pages, alignment: alignment, node: node)
  }

  /// The length in pages of the live run that starts at `block`. Reports and aborts where none does.
  package func runPages(_ block: UInt, _ function: StaticString) -> UInt {
    if !block.isAligned(to: Page.granuleBytes) { fail(function, block, "interior pointer to a large block") }
    return GranuleWord(bellows_load(granule(of: block))).runPages
  }

  func freeRun(_ block: UInt, _ descriptor: UInt, _ heap: ThreadHeapRef?) {
    let pages = runPages(block, "free")
    if let heap, !isCaged(block), !isFar(block, heap), putSlot(block, descriptor, pages: pages, heap) {
      return
    }
    giveBackRun(block, descriptor, pages: pages)
    tick()
  }

  private func giveBackRun(_ block: UInt, _ descriptor: UInt, pages: UInt) {
    bellows_store(descriptor, GranuleWord.nothing.bits)
    it.arena.free(PageRun(address: block, pages: pages, isZero: false))
  }
}
