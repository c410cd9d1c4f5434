// The hit paths: what nearly every malloc and free is. No call, no lock, no write to shared memory.
//
//   malloc  table lookup of the class, pop the thread's list                          14 instructions
//   free    section table, granule's word == my heap?, count room down, push          23 instructions
//           the same for blocks of longer shards, whose granule may be a later one    29 at most
//
// Inlined into the entry points with constants for the process heap (`Geometry.standard`, origin 0), and into
// tests with an arena's own values.

import CShims

/// What a hit path of free came to.
package enum FreeOutcome {
  case done
  /// No section is at the address, or the block is the one freed last.
  case miss
  /// Not a block of a one-granule shard of the heap: the word of its granule.
  case other(UInt)
  /// A block of this shard of the heap, whose list has no room for it.
  case full(heap: UInt, ShardRef)
}

/// What `HitPath.freeFull` came to.
package enum FullOutcome {
  case done
  /// The block is the one freed last.
  case miss
  /// Done, and the owner wanted to hear of it.
  case countedDown
  /// The thread frees more than it allocates: time to give its lists back.
  case overflow
}

package enum HitPath {
  /// The first block of the thread's list of the class for `bytes`, or 0 (the list is empty, or `bytes` is
  /// above the classes).
  @inline(__always)
  package static func allocate(_ heap: UInt, bytes: UInt) -> UInt {
    if _slowPath(bytes > SizeClass.largestBytes) { return 0 }
    return allocate(heap, SizeClass(bytes: bytes))
  }

  /// The first block of the thread's list of a class, or 0.
  @inline(__always)
  package static func allocate(_ heap: UInt, _ sizeClass: SizeClass) -> UInt {
    let thread = ThreadHeapRef(heap)
    let place = Int(bitPattern: sizeClass.index)
    let block = unsafe thread.it.heads[unchecked: place]
    if _slowPath(block == 0) { return 0 }
    unsafe thread.it.heads[unchecked: place] = link(block)
    return block
  }

  /// Frees `block` if it is in a shard that `heap` owns and not the one freed last.
  ///
  /// `heap` is looked at after the descriptor, so that the compiler keeps the word that it was equal to.
  /// `table` and `limit` are the section table's, `origin` its first address.
  @inline(__always)
  package static func free(
    _ heap: @autoclosure () -> UInt, _ block: UInt, table: UInt, limit: UInt, origin: UInt, sectionShift: UInt
  ) -> FreeOutcome {
    if _slowPath((block &- origin) &>> sectionShift >= limit) { return .miss }
    let (memmap, place) = granule(of: block, table: table, origin: origin, sectionShift: sectionShift)
    let word = bellows_load(memmap &+ place)
    if _slowPath(word != heap()) { return .other(word) }
    return push(word, block, memmap, place)
  }

  /// The memmap, and how far into it the descriptor lies, of the granule that holds `block`, which must be below
  /// the table's limit.
  @inline(__always)
  package static func granule(of block: UInt, table: UInt, origin: UInt, sectionShift: UInt) -> (
    memmap: UInt, place: UInt
  ) {
    let offset = block &- origin
    let nullBytes = (1 &<< (sectionShift &- Page.shift)) &* Page.descriptorBytes
    let memmap = table &+ bellows_load(table &+ nullBytes &+ (offset &>> sectionShift) &* 8)
    // The granule's first descriptor: 64 bytes for each of its four pages.
    let shift = Page.shift &- 6
    let mask = ((1 &<< (sectionShift &- shift)) &- 1) & ~((1 &<< (Page.granuleShift &- shift)) &- 1)
    return (memmap, (offset &>> shift) & mask)
  }

  /// The second half for blocks whose granule may be a later one of a shard.
  @inline(__always)
  package static func free(_ heap: @autoclosure () -> UInt, _ block: UInt, word bits: UInt) -> FreeOutcome {
    let word = GranuleWord(bits)
    if _slowPath(!word.isTail) { return .miss }
    let owner = bellows_load(word.head)
    if _slowPath(owner != heap()) { return .miss }
    return push(owner, block, bits, 0 &- 1)
  }

  /// Puts `block` on the thread's list of what it freed.
  @inline(__always)
  private static func push(_ heap: UInt, _ block: UInt, _ memmap: UInt, _ offset: UInt) -> FreeOutcome {
    let thread = ThreadHeapRef(heap)
    let place = Int(ShardRef(memmap &+ offset).it.list)
    let head = unsafe thread.it.freed[unchecked: place]
    if _slowPath(head == block) { return .miss }
    let (room, isFull) = unsafe thread.it.room[unchecked: place].subtractingReportingOverflow(1)
    unsafe thread.it.room[unchecked: place] = room
    if _slowPath(isFull) { return .full(heap: heap, ShardRef(bellows_opaque(memmap) &+ offset)) }
    setLink(block, head)
    unsafe thread.it.freed[unchecked: place] = block
    return .done
  }

  /// Frees `block`, in a shard that some other heap owns: by compare-and-exchange on its list of blocks freed by
  /// others. False, and nothing done, where that is not so any more, or there is more to do: the owner has to learn
  /// of the first such block, and a block freed twice is an error.
  @inline(__always)
  package static func freeRemote(_ block: UInt, _ shard: ShardRef) -> Bool {
    let remote = shard.remote
    if _slowPath(remote.block == 0 || remote.block == block || !remote.isOwned) { return false }
    setLink(block, remote.block)
    return bellows_compare_exchange(shard.remoteAddress, remote.bits, remote.pushing(block).bits)
  }

  /// Puts `block` on the list of its shard, which the heap owns, since the thread's has no room.
  @inline(__always)
  package static func freeFull(_ heap: UInt, _ block: UInt, _ shard: ShardRef) -> FullOutcome {
    let thread = ThreadHeapRef(heap)
    let place = Int(shard.it.list)
    unsafe thread.it.room[unchecked: place] = 0
    if _slowPath(unsafe thread.it.freed[unchecked: place] != 0) { return .overflow }
    let last = shard.it.local
    if _slowPath(last == block) { return .miss }
    setLink(block, last)
    shard.it.local = block
    shard.it.countdown &-= 1
    return _slowPath(shard.it.countdown == 0) ? .countedDown : .done
  }
}
