// Blocks above 32 KiB: runs of whole pages, described by one word.

import CShims

extension Ref where Pointee == Heap {
  /// A run of at least `bytes` bytes at a multiple of `alignment` bytes, or nil. Its descriptor is written.
  package func allocateRun(_ heap: ThreadHeapRef?, bytes: UInt, alignment: UInt) -> PageRun? {
    let pages = Page.count(bytes)
    let step = max(alignment &>> Page.shift, Page.granulePages)
    if let heap, step == Page.granulePages, pages <= RunCache.largestPages,
      let run = takeCachedRun(heap, pages: pages)
    {
      bellows_store(granule(of: run.address), GranuleWord.run(pages: run.pages).bits)
      return run
    }
    guard let run = it.arena.allocate(pages: pages, alignment: step) else { return nil }
    bellows_store(granule(of: run.address), GranuleWord.run(pages: pages).bits)
    return run
  }

  /// The length in pages of the live run that starts at `block`. Reports and aborts where none does.
  package func runPages(_ block: UInt, _ function: StaticString) -> UInt {
    let word = GranuleWord(bellows_load(granule(of: block)))
    if !block.isAligned(to: Page.granuleBytes) { fail(function, block, "interior pointer to a large block") }
    return word.runPages
  }

  func freeRun(_ block: UInt, _ descriptor: UInt, _ heap: ThreadHeapRef?) {
    let pages = runPages(block, "free")
    let run = PageRun(address: block, pages: pages, isZero: false)
    if let heap, pages <= RunCache.largestPages {
      bellows_store(descriptor, GranuleWord.cachedRun(pages: pages).bits)
      cacheRun(heap, run)
    } else {
      bellows_store(descriptor, GranuleWord.nothing.bits)
      it.arena.free(run)
    }
  }

  // MARK: The thread's cache of runs

  private func takeCachedRun(_ heap: ThreadHeapRef, pages: UInt) -> PageRun? {
    guard heap.it.runs.pages != 0 else { return nil }
    heap.lock.acquire()
    defer { heap.lock.release() }
    // An eighth more than asked is near enough.
    let most = pages &+ pages &>> 3
    for place in 0..<8 {
      let entry = heap.it.runs.entries[place]
      if entry.pages >= pages, entry.pages <= most {
        heap.it.runs.entries[place].pages = 0
        heap.it.runs.pages = heap.it.runs.pages &- entry.pages
        return PageRun(address: entry.address, pages: entry.pages, isZero: false)
      }
    }
    return nil
  }

  private func cacheRun(_ heap: ThreadHeapRef, _ run: PageRun) {
    heap.lock.acquire()
    defer { heap.lock.release() }
    var place = 0
    while place < 8, heap.it.runs.entries[place].pages != 0 { place &+= 1 }
    if place == 8 {
      place = Int(bitPattern: heap.it.runs.turn & 7)
      heap.it.runs.turn = heap.it.runs.turn &+ 1
      dropRun(heap, place)
    }
    heap.it.runs.entries[place] = RunCache.Entry(address: run.address, pages: run.pages)
    heap.it.runs.pages = heap.it.runs.pages &+ run.pages
    while heap.it.runs.pages > RunCache.limitPages {
      dropRun(heap, Int(bitPattern: heap.it.runs.turn & 7))
      heap.it.runs.turn = heap.it.runs.turn &+ 1
    }
  }

  private func dropRun(_ heap: ThreadHeapRef, _ place: Int) {
    let entry = heap.it.runs.entries[place]
    guard entry.pages != 0 else { return }
    heap.it.runs.entries[place].pages = 0
    heap.it.runs.pages = heap.it.runs.pages &- entry.pages
    bellows_store(granule(of: entry.address), GranuleWord.nothing.bits)
    it.arena.free(PageRun(address: entry.address, pages: entry.pages, isZero: false))
  }

  /// Gives the cached runs of a heap back to the zone. Under the heap's lock.
  func dropRuns(_ heap: ThreadHeapRef) {
    for place in 0..<8 { dropRun(heap, place) }
  }
}
