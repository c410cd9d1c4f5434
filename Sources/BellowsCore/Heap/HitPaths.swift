// The hit paths: what nearly every malloc and free is. No call, no lock, no write to shared memory.
//
//   malloc  table lookup of the class, pop the thread's list                          14 instructions
//   free    section table, granule's word == my heap?, push, count down               23 instructions
//           the same for blocks above 2 KiB, whose granule may be a later one           29 at most
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
  /// Done, and the owner wanted to hear of it.
  case countedDown(ShardRef)
}

package enum HitPath {
  /// The first block of the thread's list of the class for `bytes`, or 0 (the list is empty, or `bytes` is
  /// above the classes).
  @inline(__always)
  package static func allocate(_ heap: UInt, bytes: UInt) -> UInt {
    if _slowPath(bytes > SizeClass.largestBytes) { return 0 }
    let place = Int(bitPattern: SizeClass(bytes: bytes).index)
    let thread = ThreadHeapRef(heap)
    let block = unsafe thread.it.heads[unchecked: place]
    if _slowPath(block == 0) { return 0 }
    unsafe thread.it.heads[unchecked: place] = link(block)
    return block
  }

  /// Frees `block` if it is in a shard that `heap` owns and not the one freed last.
  ///
  /// `table` and `limit` are the section table's, `origin` its first address.
  @inline(__always)
  package static func free(
    _ heap: UInt, _ block: UInt, table: UInt, limit: UInt, origin: UInt, sectionShift: UInt
  ) -> FreeOutcome {
    if _slowPath((block &- origin) &>> sectionShift >= limit) { return .miss }
    let descriptor = granule(of: block, table: table, origin: origin, sectionShift: sectionShift)
    let word = bellows_load(descriptor)
    if _slowPath(word != heap) { return .other(word) }
    return push(block, ShardRef(descriptor))
  }

  /// The descriptor of the granule that holds `block`, which must be below the table's limit.
  @inline(__always)
  package static func granule(of block: UInt, table: UInt, origin: UInt, sectionShift: UInt) -> UInt {
    let offset = block &- origin
    let nullBytes = (1 &<< (sectionShift &- Page.shift)) &* Page.descriptorBytes
    let memmap = table &+ bellows_load(table &+ nullBytes &+ (offset &>> sectionShift) &* 8)
    // The granule's first descriptor: 64 bytes for each of its four pages.
    let shift = Page.shift &- 6
    let mask = ((1 &<< (sectionShift &- shift)) &- 1) & ~((1 &<< (Page.granuleShift &- shift)) &- 1)
    return memmap &+ ((offset &>> shift) & mask)
  }

  /// The second half for blocks whose granule may be a later one of a shard.
  @inline(__always)
  package static func free(_ heap: UInt, _ block: UInt, word bits: UInt) -> FreeOutcome {
    let word = GranuleWord(bits)
    if _slowPath(!word.isTail || bellows_load(word.head) != heap) { return .miss }
    return push(block, ShardRef(word.head))
  }

  @inline(__always)
  private static func push(_ block: UInt, _ shard: ShardRef) -> FreeOutcome {
    let last = shard.it.local
    if _slowPath(last == block) { return .miss }
    setLink(block, last)
    shard.it.local = block
    shard.it.countdown &-= 1
    return _slowPath(shard.it.countdown == 0) ? .countedDown(shard) : .done
  }
}
