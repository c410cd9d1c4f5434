// What the entry points are made of, for blocks of any size: allocate, zero-fill, align, resize, measure.

import CShims

extension Ref where Pointee == Heap {
  /// The shard that holds `block`, or nil for other kinds of block and foreign addresses.
  package func shard(of block: UInt) -> ShardRef? {
    let descriptor = granule(of: block)
    let word = GranuleWord(bellows_load(descriptor))
    if word.isTail { return ShardRef(word.head) }
    return word.isShard ? ShardRef(descriptor) : nil
  }

  /// Whether `block` lies in a section or a huge mapping of this heap.
  package func knows(_ block: UInt) -> Bool {
    if it.table.covers(block) { return true }
    guard !hugeTable.isEmpty else { return false }
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    return hugeTable.find(block) != nil
  }

  /// A block of at least `bytes` bytes at a multiple of 16, or 0. The miss path of malloc.
  package func allocate(_ heap: ThreadHeapRef, bytes: UInt) -> UInt {
    rescuing(heap, bytes) { allocateOnce(heap, bytes: bytes) }
  }

  private func allocateOnce(_ heap: ThreadHeapRef, bytes: UInt) -> UInt {
    if bytes <= SizeClass.largestBytes {
      let block = allocateSmall(heap, SizeClass(bytes: bytes))
      if it.isChecking, block != 0 { noteLive(block) }
      return block
    }
    return allocateLarge(heap, bytes: bytes, alignment: Page.granuleBytes, zeroed: false)
  }

  /// A block above 32 KiB or beyond the classes' alignment, or 0.
  package func allocateLarge(_ heap: ThreadHeapRef, bytes: UInt, alignment: UInt, zeroed: Bool) -> UInt {
    let section = it.arena.it.geometry.sectionBytes
    if bytes <= min(Heap.hugeBytes, section &>> 1), alignment <= section &>> 1,
      let run = allocateRun(heap, bytes: max(bytes, 1), alignment: alignment)
    {
      if zeroed, !run.isZero { bellows_zero(run.address, bytes) }
      return run.address
    }
    return allocateHuge(bytes: max(bytes, 1), alignment: alignment)
  }

  /// A block of `bytes` zero bytes, or 0.
  package func allocateZeroed(_ heap: ThreadHeapRef, bytes: UInt) -> UInt {
    guard bytes <= SizeClass.largestBytes else {
      return rescuing(heap, bytes) {
        allocateLarge(heap, bytes: bytes, alignment: Page.granuleBytes, zeroed: true)
      }
    }
    let block = allocate(heap, bytes: bytes)
    if block != 0 { bellows_zero(block, bytes) }
    return block
  }

  /// A block of at least `bytes` bytes at a multiple of `alignment`, a power of two; or 0.
  package func allocate(_ heap: ThreadHeapRef, bytes: UInt, alignment: UInt) -> UInt {
    if alignment <= 16 { return allocate(heap, bytes: bytes) }
    return rescuing(heap, bytes) { allocateOnce(heap, bytes: bytes, alignment: alignment) }
  }

  private func allocateOnce(_ heap: ThreadHeapRef, bytes: UInt, alignment: UInt) -> UInt {
    if alignment <= SizeClass.largestBytes, bytes <= SizeClass.largestBytes,
      let sizeClass = SizeClass(bytes: bytes, alignment: alignment)
    {
      let block = allocateSmall(heap, sizeClass)
      if it.isChecking, block != 0 { noteLive(block) }
      return block
    }
    return allocateLarge(heap, bytes: bytes, alignment: max(alignment, Page.granuleBytes), zeroed: false)
  }

  /// The bytes that `block` has room for. Reports and aborts where it is not a live block.
  package func usableBytes(_ block: UInt, _ function: StaticString) -> UInt {
    if let shard = shard(of: block) {
      if it.isChecking { checkLive(block, shard, function) }
      return shard.sizeClass.bytes
    }
    if let run = liveRun(block, function) { return run.word.pages &<< Page.shift }
    if let mapping = hugeMapping(block, function) { return mapping.length }
    refuse(block, function)
  }

  // MARK: Resizing

  /// Blocks from this size on are not copied when they outgrow their place: their page tables move. Copying
  /// 4 MiB costs about 1 ms with its faults, moving them 5 us.
  private static var moveBytes: UInt { 4 &<< 20 }

  /// `block` with room for `bytes` bytes, where it is or elsewhere with its content; 0, with the block as it
  /// was, where there is no memory.
  package func reallocate(_ heap: ThreadHeapRef, _ block: UInt, bytes: UInt) -> UInt {
    if isCaged(block) {
      // It is to leave its section: the caller may do that by resizing it to what it is.
      let moved = move(heap, block, room: usableBytes(block, "realloc"), to: bytes)
      if moved != 0 { return moved }
    }
    if let shard = shard(of: block) {
      if it.isChecking { checkLive(block, shard, "realloc") }
      let lastFreed = heap.it.freed[Int(shard.it.sizeClass)]
      if shard.owner.bits == heap.address, block == lastFreed || block == shard.it.local {
        fault("realloc", block, "use of the block freed last")
      }
      let room = shard.sizeClass.bytes
      if bytes <= SizeClass.largestBytes, SizeClass(bytes: bytes) == shard.sizeClass { return block }
      // Half empty is full enough, unless sizes are checked.
      if bytes <= room, bytes >= room &>> 1, !it.isChecking { return block }
      return move(heap, block, room: room, to: bytes)
    }
    if let run = liveRun(block, "realloc") {
      return resizeRun(heap, PageRun(address: block, pages: run.word.pages, isZero: false), bytes: bytes)
    }
    if let mapping = hugeMapping(block, "realloc") {
      if bytes > SizeClass.largestBytes &* 8 {
        let moved = resizeHuge(mapping, bytes: bytes)
        if moved != 0 { return moved }
      }
      return move(heap, block, room: mapping.length, to: bytes)
    }
    refuse(block, "realloc")
  }

  private func resizeRun(_ heap: ThreadHeapRef, _ run: PageRun, bytes: UInt) -> UInt {
    guard bytes > SizeClass.largestBytes, bytes <= UInt(bitPattern: Int.max) else {
      return move(heap, run.address, room: run.bytes, to: bytes)
    }
    var pages = Page.count(bytes)
    if pages <= RunBin.mostPages { pages = RunBin(pages: pages).pages }
    if pages == run.pages { return run.address }
    let section = it.arena.knownSection(at: run.address)
    let zone = it.arena.zone(of: section)
    if pages < run.pages {
      it.arena.knownRun(at: run.address).word = .live(pages: pages)
      zone.free(section, address: run.address &+ pages &<< Page.shift, pages: run.pages &- pages)
      return run.address
    }
    let extra = pages &- run.pages
    let isExtended =
      isLimited
      ? withinLimit(extra) { _ in
        zone.extend(section, address: run.address, pages: run.pages, extra: extra) ? true : nil
      } ?? false
      : zone.extend(section, address: run.address, pages: run.pages, extra: extra)
    if isExtended {
      it.arena.knownRun(at: run.address).word = .grown(pages: pages)
      return run.address
    }
    if run.bytes >= Self.moveBytes {
      let moved = moveRunToHuge(run, bytes: bytes)
      if moved != 0 { return moved }
    }
    return move(heap, run.address, room: run.bytes, to: bytes)
  }

  /// A new block with the content of `block`, which is freed; 0 where there is no memory.
  private func move(_ heap: ThreadHeapRef, _ block: UInt, room: UInt, to bytes: UInt) -> UInt {
    let target = allocate(heap, bytes: bytes)
    guard target != 0 else { return 0 }
    bellows_copy(target, block, min(room, bytes))
    _ = free(block, heap)
    return target
  }
}
