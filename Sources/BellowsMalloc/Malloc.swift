// malloc, free, calloc, realloc: the hit paths inlined, the misses as tail calls. No hit path makes a call that
// returns to it: what takes the heap of an idle thread relies on that (CShims/malloc/park.c lists them).
//
// Addresses are UInt here, not optional pointers: the calling convention is the same, and a miss stays a
// plain jump.

import BellowsCoreEmbedded
import CMalloc
import CShims

let outOfMemory: Int32 = 12
let invalidArgument: Int32 = 22

/// `block`, with errno set if it is 0.
@inline(__always)
func orOutOfMemory(_ block: UInt) -> UInt {
  if _slowPath(block == 0) { bellows_set_errno(outOfMemory) }
  return block
}

/// The largest size that a C object may have: PTRDIFF_MAX.
@inline(__always)
func isPossible(_ bytes: UInt) -> Bool { bytes <= UInt(bitPattern: Int.max) }

// MARK: malloc

@c(bw_malloc)
func mallocEntry(_ bytes: UInt) -> UInt {
  let block = HitPath.allocate(bellows_thread_hot(), bytes: bytes)
  if _slowPath(block == 0) { return mallocMiss(bytes) }
  return block
}

/// The miss path; its first half is for a thread whose heap is in order.
@c(bw_malloc_miss) @inline(never)
func mallocMiss(_ bytes: UInt) -> UInt {
  let hot = bellows_thread_hot()
  if hot == bellows_empty_heap() { return mallocSlow(bytes) }
  let own = ThreadHeapRef(hot)
  if bytes <= SizeClass.largestBytes {
    let block = Process.heap.recycle(own, SizeClass(bytes: bytes))
    if block != 0 { return block }
  } else if bytes <= RunBin.mostPages &<< Page.shift, !Process.heap.hasCages {
    let block = Process.heap.takeSlot(RunBin(pages: Page.count(bytes)), own)
    if block != 0 { return block }
  }
  return mallocSlow(bytes)
}

@inline(never)
func mallocSlow(_ bytes: UInt) -> UInt {
  guard isPossible(bytes) else { return orOutOfMemory(0) }
  guard let own = Process.threadHeap() else { return steppedAside(bytes, alignment: 16) }
  return orOutOfMemory(handedOut { Process.heap.allocate(own, bytes: bytes) })
}

/// The block that `allocate` answers, after what else is due; another one where its section went meanwhile.
@inline(__always)
func handedOut(_ allocate: () -> UInt) -> UInt {
  var block = allocate()
  doWhatIsDue()
  while isOutdated(block) {
    freeEntry(block)
    block = allocate()
  }
  return block
}

/// What slow paths of allocation do beside: it starts threads and calls functions of the program.
@inline(__always)
func doWhatIsDue() {
  Process.heap.adoptIfDue()
  Helper.offer()
  Watch.tellNews()
}

/// Whether a block that nobody knows yet lies in a section on its way offline. What was due may have blocked in a system
/// call, and a thread that is blocked is acknowledged for: from then on no such block may come out. A load where no section is
/// on its way.
@inline(__always)
func isOutdated(_ block: UInt) -> Bool { Process.heap.isCaged(block) }

/// There is no heap: glibc's serves, if that is why.
@inline(never)
func steppedAside(_ bytes: UInt, alignment: UInt) -> UInt {
  guard Process.status == .steppedAside else { return orOutOfMemory(0) }
  return bellows_glibc_allocate(bytes, alignment)
}

@c(bw_calloc)
func callocEntry(_ count: UInt, _ size: UInt) -> UInt {
  let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
  guard !overflow, isPossible(bytes) else { return orOutOfMemory(0) }
  let block = HitPath.allocate(bellows_thread_hot(), bytes: bytes)
  if _slowPath(block == 0) { return callocMiss(bytes) }
  return bellows_zeroed(block, bytes)
}

@inline(never)
func callocMiss(_ bytes: UInt) -> UInt {
  guard let own = Process.threadHeap() else {
    let block = steppedAside(bytes, alignment: 16)
    if block != 0 { bellows_zero(block, bytes) }
    return block
  }
  return orOutOfMemory(handedOut { Process.heap.allocateZeroed(own, bytes: bytes) })
}

// MARK: free

@c(bw_free)
func freeEntry(_ block: UInt) {
  switch freeHit(block) {
  case .done: return
  case .miss: freeMiss(block)
  case .other(let word): freeTail(block, word)
  case .full(let heap, let shard): freeFull(block, heap, shard.address)
  }
}

/// The thread's list has no room for the block.
@c(bw_free_full) @inline(never)
func freeFull(_ block: UInt, _ heap: UInt, _ shard: UInt) {
  switch HitPath.freeFull(heap, block, ShardRef(shard)) {
  case .done: return
  case .miss: freeMiss(block)
  case .countedDown: freeCountedDown(ShardRef(shard))
  case .overflow: freeOverflow(block, ShardRef(shard))
  }
}

/// The granule is not the first of a shard of mine: perhaps a later one, or a run.
@c(bw_free_tail) @inline(never)
func freeTail(_ block: UInt, _ word: UInt) {
  switch HitPath.free(bellows_thread_hot_once(), block, word: word) {
  case .done: return
  case .full: freeTailFull(block, word)
  default: freeRun(block, word)
  }
}

@inline(never)
func freeOverflow(_ block: UInt, _ shard: ShardRef) {
  Process.heap.freeOverflow(block, shard, ThreadHeapRef(bellows_thread_mine()))
  noticeFree()
}

/// The owner is the heap that the hot word named when it was looked at. It may name the empty one by now.
@c(bw_free_tail_full) @inline(never)
func freeTailFull(_ block: UInt, _ word: UInt) {
  let head = GranuleWord(word).head
  freeFull(block, bellows_load(head), head)
}

/// Perhaps nothing, a shard of another thread, or a run.
@inline(never)
func freeRun(_ block: UInt, _ bits: UInt) {
  if block == 0 { return }
  let word = GranuleWord(bits)
  let hot = bellows_thread_hot()
  if word.isShard || word.isTail {
    if hot != bellows_empty_heap() {
      let shard = ShardRef(word.isTail ? word.head : hotGranule(of: block))
      if shard.owner.bits != hot, HitPath.freeRemote(block, shard) { return }
    }
  } else if hot != bellows_empty_heap(), block.isAligned(to: Page.granuleBytes), !Process.heap.hasCages,
    let run = Process.arena.run(at: block), run.word.isLive
  {
    Process.heap.freeRun(block, run, ThreadHeapRef(hot))
    return noticeFree()
  }
  freeMiss(block)
}

@inline(__always)
func hotGranule(of block: UInt) -> UInt {
  let (memmap, place) = HitPath.granule(of: block, table: bellows_hot_table(), origin: 0, sectionShift: 27)
  return memmap &+ place
}

@inline(__always)
func freeHit(_ block: UInt) -> FreeOutcome {
  HitPath.free(
    bellows_thread_hot_once(), block, table: bellows_hot_table(), limit: bellows_hot_limit(), origin: 0,
    sectionShift: 27)
}

/// What slow paths of free do beside.
@inline(__always)
func noticeFree() {
  Process.heap.adoptIfDue()
  Helper.notice()
}

@inline(never)
func freeMiss(_ block: UInt) {
  guard block != 0 else { return }
  if Process.isReady, Process.heap.free(block, Process.ownHeapToFree) { return noticeFree() }
  freeForeign(block)
}

@inline(never)
func freeCountedDown(_ shard: ShardRef) {
  Process.heap.countedDown(shard, ThreadHeapRef(bellows_thread_mine()))
  noticeFree()
}

/// A block that no section and no huge mapping of ours holds: glibc's, or an error.
@inline(never)
func freeForeign(_ block: UInt) {
  let error = bellows_errno()
  guard Process.status == .steppedAside || bellows_glibc_owns(block) else {
    fail("free", block, "not allocated by Bellows: no section is at this address")
  }
  bellows_glibc_free(block)
  bellows_set_errno(error)
}

/// free_sized and sized delete: the size is looked at where the hit paths are switched off.
@c(bw_free_sized)
func freeSized(_ block: UInt, _ bytes: UInt) {
  switch freeHit(block) {
  case .done: return
  case .miss: freeSizedMiss(block, bytes)
  case .other: freeSizedMiss(block, bytes)
  case .full(let heap, let shard): freeFull(block, heap, shard.address)
  }
}

@inline(never)
func freeSizedMiss(_ block: UInt, _ bytes: UInt) { freeMiss(block, bytes: bytes, alignment: 16) }

@c(bw_free_aligned_sized)
func freeAlignedSized(_ block: UInt, _ alignment: UInt, _ bytes: UInt) {
  freeMiss(block, bytes: bytes, alignment: alignment)
}

@c(bw_delete_aligned_sized)
func deleteAlignedSized(_ block: UInt, _ bytes: UInt, _ alignment: UInt) {
  freeMiss(block, bytes: bytes, alignment: alignment)
}

private func freeMiss(_ block: UInt, bytes: UInt, alignment: UInt) {
  if block != 0, Process.isReady, Process.heap.it.isChecking, Process.heap.knows(block) {
    Process.heap.checkSize(block, bytes: bytes, alignment: alignment, "free_sized")
  }
  freeEntry(block)
}

// MARK: realloc

@c(bw_realloc)
func reallocEntry(_ block: UInt, _ bytes: UInt) -> UInt {
  if block == 0 { return mallocEntry(bytes) }
  if bytes == 0 {
    freeEntry(block)
    return 0
  }
  guard isPossible(bytes) else { return orOutOfMemory(0) }
  let room = roomInShard(block)
  // Half empty is full enough, and below 16 bytes there is no smaller class.
  if _fastPath(bytes <= room && bytes >= (room &>> 1).rounded(downTo: 16)) { return block }
  if room == 0 { return reallocMiss(block, bytes) }
  let target = mallocEntry(bytes)
  if target == 0 { return 0 }
  bellows_copy(target, block, min(room, bytes))
  freeEntry(block)
  return target
}

/// The bytes of the live block of a shard, or 0 where that needs a closer look.
@inline(__always)
private func roomInShard(_ block: UInt) -> UInt {
  let hot = bellows_thread_hot()
  guard hot != bellows_empty_heap(), block &>> 27 < bellows_hot_limit() else { return 0 }
  var shard = hotGranule(of: block)
  var word = GranuleWord(bellows_load(shard))
  if word.isTail {
    shard = word.head
    word = GranuleWord(bellows_load(shard))
  }
  guard word.isShard, !Process.heap.hasCages else { return 0 }
  let thread = ThreadHeapRef(hot)
  let sizeClass = ShardRef(shard).sizeClass
  if unsafe thread.it.freed[unchecked: Int(bitPattern: sizeClass.index)] == block { return 0 }
  if word.bits == hot, ShardRef(shard).it.local == block { return 0 }
  return sizeClass.bytes
}

@inline(never)
private func reallocMiss(_ block: UInt, _ bytes: UInt) -> UInt {
  guard Process.isReady, Process.heap.knows(block) else { return reallocForeign(block, bytes) }
  guard let own = Process.threadHeap() else { return orOutOfMemory(0) }
  var moved = Process.heap.reallocate(own, block, bytes: bytes)
  doWhatIsDue()
  while moved != block, isOutdated(moved) {
    let again = Process.heap.reallocate(own, moved, bytes: bytes)
    // Without memory elsewhere it stays, as a block that the program knows does.
    if again == moved || again == 0 { break }
    moved = again
  }
  return orOutOfMemory(moved)
}

@c(bw_reallocarray)
func reallocarrayEntry(_ block: UInt, _ count: UInt, _ size: UInt) -> UInt {
  let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
  guard !overflow else { return orOutOfMemory(0) }
  return reallocEntry(block, bytes)
}

/// A block of glibc's heap becomes one of ours.
@inline(never)
private func reallocForeign(_ block: UInt, _ bytes: UInt) -> UInt {
  if Process.status == .steppedAside { return bellows_glibc_reallocate(block, bytes) }
  guard bellows_glibc_owns(block) else {
    fail("realloc", block, "not allocated by Bellows: no section is at this address")
  }
  let target = mallocEntry(bytes)
  guard target != 0 else { return 0 }
  bellows_copy(target, block, min(bytes, bellows_glibc_usable_size(block)))
  bellows_glibc_free(block)
  return target
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_malloc)
func namesMalloc() { bellows_names_malloc() }
