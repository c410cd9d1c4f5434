// Blocks above 32 KiB: runs of whole pages, described by one word.
//
// A freed run is kept for the next request of its length: up to 256 KiB in a slot of the thread's, above in one that all
// threads share.
//
//   thread's slots   [9 pages] [10] [11] ...  [64]           a word each: the run's address, 0: empty
//   shared slots     [72]      [80] [88] ...  [16384]
//
// A word is filled by compare-and-exchange and emptied by exchange, so anybody can empty any of them at any time, the
// clock's purge included, and a pair of malloc and free costs two such operations. What is kept so is used memory to
// the zone. Before a run is taken of which a page may not be resident yet, the front of a longer one that is kept is, or
// where there is none all shared slots are emptied. (16 live blocks of 32 KiB to 20 MiB, 176 MiB at the most: 250 MiB as
// a rule, to 289.)

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

  /// 0: no shared slot was filled since they were emptied. A hint: a run that is put in meanwhile may be missed.
  private var sharedSlotsFilled: UInt { address &+ Heap.sharedSlotsFilledOffset }

  /// The run in the slot for `bin`, made live again; 0 if there is none.
  @inline(__always)
  package func takeSlot(_ bin: RunBin, _ heap: ThreadHeapRef) -> UInt {
    let slot = slot(bin, heap)
    guard bellows_load(slot) != 0 else { return 0 }
    let block = bellows_exchange(slot, 0)
    if block != 0 { it.arena.knownRun(at: block).word = .live(pages: bin.pages) }
    return block
  }

  /// Puts the live run at `block` into its slot; false where that is taken.
  ///
  /// Above 256 KiB not one that grew: who made it begins anew with a short one, which is to grow into these pages.
  /// (A text that grows to 64 MiB by an eighth at a time, again and again: 40 us a step instead of 390.)
  @inline(__always)
  package func putSlot(_ block: UInt, _ run: RunWordRef, _ heap: ThreadHeapRef) -> Bool {
    let live = run.word
    let pages = live.pages
    guard RunBin.fits(pages) else { return false }
    let bin = RunBin(pages: pages)
    if bin.index >= RunBin.ownCount, live.isGrown { return false }
    let slot = slot(bin, heap)
    guard bellows_load(slot) == 0 else { return false }
    run.word = .kept(pages: pages)
    if bellows_compare_exchange(slot, 0, block) {
      if bin.index >= RunBin.ownCount { noteSharedSlot(pages) }
      return true
    }
    // Another thread was sooner: the run is live again.
    run.word = live
    return false
  }

  @inline(never)
  private func noteSharedSlot(_ pages: UInt) {
    if bellows_load(sharedSlotsFilled) == 0 { bellows_store(sharedSlotsFilled, 1) }
    _ = bellows_fetch_add(address &+ Heap.slotPagesOffset, pages)
    tick()
    giveBackKept(pages)
  }

  /// Gives the runs in a thread's slots back to the zone. Any thread.
  package func emptySlots(_ heap: ThreadHeapRef) { emptySlots(0, RunBin.ownCount, heap) }

  /// Gives the runs in the slots of all threads back to the zone; answers whether there was one. Any thread.
  @discardableResult
  package func emptySharedSlots() -> Bool {
    bellows_store(sharedSlotsFilled, 0)
    bellows_store(address &+ Heap.slotPagesOffset, 0)
    return emptySlots(RunBin.ownCount, RunBin.count, ThreadHeapRef(0))
  }

  @discardableResult
  private func emptySlots(_ first: UInt, _ end: UInt, _ heap: ThreadHeapRef) -> Bool {
    var isAny = false
    for index in first..<end {
      let bin = RunBin(index: index)
      let slot = slot(bin, heap)
      guard bellows_load(slot) != 0 else { continue }
      let block = bellows_exchange(slot, 0)
      guard block != 0 else { continue }
      isAny = true
      giveBackRun(block, it.arena.knownRun(at: block), pages: bin.pages)
    }
    return isAny
  }

  /// Pages of the runs in slots.
  package func slottedPages() -> UInt {
    var pages = sharedSlotPages()
    var heap = it.heaps
    while heap != 0 {
      pages = pages &+ slottedPages(0, RunBin.ownCount, ThreadHeapRef(heap))
      heap = ThreadHeapRef(heap).it.nextHeap
    }
    return pages
  }

  /// Those of the slots that all threads share.
  func sharedSlotPages() -> UInt { slottedPages(RunBin.ownCount, RunBin.count, ThreadHeapRef(0)) }

  private func slottedPages(_ first: UInt, _ end: UInt, _ heap: ThreadHeapRef) -> UInt {
    var pages: UInt = 0
    for index in first..<end where bellows_load(slot(RunBin(index: index), heap)) != 0 {
      pages = pages &+ RunBin(index: index).pages
    }
    return pages
  }

  // MARK: Allocate and free

  /// A run of at least `bytes` bytes at a multiple of `alignment` bytes, or nil. Its word is written.
  package func allocateRun(_ heap: ThreadHeapRef, bytes: UInt, alignment: UInt) -> PageRun? {
    var pages = Page.count(bytes)
    let step = max(alignment &>> Page.shift, Page.granulePages)
    if step == Page.granulePages, pages >= RunBin.leastPages, pages <= RunBin.mostPages {
      let bin = RunBin(pages: pages)
      let block = takeSlot(bin, heap)
      pages = bin.pages
      if block != 0, !isCaged(block), !isFar(block, heap) {
        return PageRun(address: block, pages: pages, isZero: false)
      }
      if block != 0 { giveBackRun(block, it.arena.knownRun(at: block), pages: pages) }
    }
    if pages > RunBin.ownPages, step == Page.granulePages, bellows_load(sharedSlotsFilled) != 0 {
      // Before new pages become resident, what is kept for other lengths is used. What a limit counts stays the same.
      if let run = it.arena.zone(node: wantedNode(heap))?.allocateResident(pages: pages) {
        it.arena.knownRun(at: run.address).word = .live(pages: pages)
        return run
      }
      if let run = cutSharedSlot(heap, pages) { return run }
      emptySharedSlots()
    }
    guard let run = allocatePages(heap, pages, alignment: step) else { return nil }
    it.arena.knownRun(at: run.address).word = .live(pages: pages)
    return run
  }

  /// The front of the shortest run in a shared slot that is longer than `pages` pages; the rest of it goes back. Of one
  /// more than twice as long too much would be left, in pieces (64 live blocks of 32 KiB to 4 MiB took 5 % more).
  private func cutSharedSlot(_ heap: ThreadHeapRef, _ pages: UInt) -> PageRun? {
    let next = RunBin(pages: pages).index &+ 1
    for index in next..<min(next &+ 8, RunBin.count) {
      let longer = RunBin(index: index)
      let block = takeSlot(longer, heap)
      guard block != 0 else { continue }
      let run = it.arena.knownRun(at: block)
      if isCaged(block) || isFar(block, heap) {
        giveBackRun(block, run, pages: longer.pages)
        continue
      }
      run.word = .live(pages: pages)
      let rest = block &+ pages &<< Page.shift
      it.arena.free(PageRun(address: rest, pages: longer.pages &- pages, isZero: false))
      return PageRun(address: block, pages: pages, isZero: false)
    }
    return nil
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

  /// The word of the live run that `block` is the first byte of; nil where no live run starts near. Reports and aborts
  /// where `block` lies behind the first byte.
  package func liveRun(_ block: UInt, _ function: StaticString) -> RunWordRef? {
    guard let run = it.arena.run(at: block), run.word.isLive else { return nil }
    if !block.isAligned(to: Page.granuleBytes) { fault(function, block, "interior pointer to a large block") }
    return run
  }

  /// Frees the live run at `block`.
  @inline(__always)
  package func freeRun(_ block: UInt, _ run: RunWordRef, _ heap: ThreadHeapRef?) {
    if let heap, !isCaged(block), !isFar(block, heap), putSlot(block, run, heap) { return }
    giveBackRun(block, run, pages: run.word.pages)
    tick()
  }

  @inline(never)
  private func giveBackRun(_ block: UInt, _ run: RunWordRef, pages: UInt) {
    run.word = .nothing
    it.arena.free(PageRun(address: block, pages: pages, isZero: false))
  }
}
