// The buddy of a pageblock: the set of its used pages, and how large a free block each word of it has.
//
// There is no free list. An aligned free block of order k is 2^k clear bits at a multiple of 2^k, found by
// folding words. Coalescing needs no code at all, a tail goes back by clearing bits, and caging a range is one
// mask operation. Freeing writes no descriptor, so a free page's memmap line stays untouched.
//
// `gaps` holds a byte per word, which says the order of the word's largest free block: bit 5 - k for order k, no bit for
// order 6, bit 6 where it has none. So zero bits are "all free" here too, a change of a few pages looks at one word only,
// and the lowest bit of them all together is the largest free block's.

package struct BuddyMask: BitwiseCopyable, Sendable {
  package private(set) var pages: PageMask
  private var gaps: UInt64

  package init() {
    pages = PageMask()
    gaps = 0
  }

  package func contains(_ page: UInt) -> Bool { pages.contains(page) }
  package func count(_ first: UInt, count: UInt) -> UInt { pages.count(first, count: count) }

  package mutating func insert(_ first: UInt, count: UInt) {
    pages.insert(first, count: count)
    measure(first, count, between: 0x4040_4040_4040_4040)
  }

  package mutating func remove(_ first: UInt, count: UInt) {
    pages.remove(first, count: count)
    measure(first, count, between: 0)
  }

  /// Brings `gaps` up to date: the words where the range begins and ends are looked at, those between them are all
  /// used, or all free.
  @inline(__always)
  private mutating func measure(_ first: UInt, _ count: UInt, between: UInt64) {
    guard count != PageMask.capacity else { return gaps = between }
    guard count != 0 else { return }
    let begin = first &>> 6
    let end = (first &+ count &- 1) &>> 6
    measure(begin)
    guard end != begin else { return }
    measure(end)
    let bytes =
      ((1 as UInt64) &<< UInt64(truncatingIfNeeded: end &* 8))
      &- (0x100 &<< UInt64(truncatingIfNeeded: begin &* 8))
    gaps = gaps & ~bytes | between & bytes
  }

  @inline(__always)
  private mutating func measure(_ place: UInt) {
    let shift = UInt64(truncatingIfNeeded: place &* 8)
    let gap = Self.gap(~pages.word(Int(bitPattern: place)))
    gaps = gaps & ~(0xff &<< shift) | gap &<< shift
  }

  /// The byte of a word whose free pages are `free`.
  private static func gap(_ free: UInt64) -> UInt64 {
    if free == ~0 { return 0 }
    if free == 0 { return 64 }
    let order1 = free & (free &>> 1) & 0x5555_5555_5555_5555
    let order2 = order1 & (order1 &>> 2) & 0x1111_1111_1111_1111
    let order3 = order2 & (order2 &>> 4) & 0x0101_0101_0101_0101
    if order3 != 0 {
      let order4 = order3 & (order3 &>> 8) & 0x0001_0001_0001_0001
      let order5 = order4 & (order4 &>> 16) & 0x0000_0001_0000_0001
      return order5 != 0 ? 1 : order4 != 0 ? 2 : 4
    }
    return order2 != 0 ? 8 : order1 != 0 ? 16 : 32
  }

  /// Bit w: word w is wholly free.
  private var freeWords: UInt {
    // Bit 7 of each byte says that it is not zero; then the eight bits are gathered in the top byte.
    let free = ~(gaps &+ 0x7f7f_7f7f_7f7f_7f7f) &>> 7 & 0x0101_0101_0101_0101
    return UInt(truncatingIfNeeded: (free &* 0x0102_0408_1020_4080) &>> 56)
  }

  /// The starts of aligned groups of 2, 4 or 8 among `words`.
  private static func groups(_ words: UInt, order: UInt) -> UInt {
    var bits = words
    if order >= 7 { bits &= bits &>> 1 & 0x55 }
    if order >= 8 { bits &= bits &>> 2 & 0x11 }
    if order >= 9 { bits &= bits &>> 4 & 0x01 }
    return bits
  }

  /// The lowest start of an aligned block of 2^order free pages (order 0 to 9), or nil.
  package func firstFree(order: UInt) -> UInt? {
    if order >= 6 {
      let starts = Self.groups(freeWords, order: order)
      return starts == 0 ? nil : UInt(truncatingIfNeeded: starts.trailingZeroBitCount) &* 64
    }
    let most = (32 as UInt64) &>> UInt64(truncatingIfNeeded: order)
    var left = gaps
    for place in 0..<8 {
      if left & 0xff <= most {
        let starts = Self.starts(~pages.word(place), order: order)
        return UInt(bitPattern: place &* 64 &+ starts.trailingZeroBitCount)
      }
      left &>>= 8
    }
    return nil
  }

  /// Bits at the starts of aligned blocks of 2^order free pages within a word (order 0 to 5).
  private static func starts(_ free: UInt64, order: UInt) -> UInt64 {
    var bits = free
    if order >= 1 { bits &= bits &>> 1 & 0x5555_5555_5555_5555 }
    if order >= 2 { bits &= bits &>> 2 & 0x1111_1111_1111_1111 }
    if order >= 3 { bits &= bits &>> 4 & 0x0101_0101_0101_0101 }
    if order >= 4 { bits &= bits &>> 8 & 0x0001_0001_0001_0001 }
    if order >= 5 { bits &= bits &>> 16 & 0x0000_0001_0000_0001 }
    return bits
  }

  /// The order of the largest aligned free block; nil where every page is used.
  @inline(__always) package var largestFreeOrder: UInt? {
    let whole = freeWords
    if whole != 0 {
      if Self.groups(whole, order: 7) == 0 { return 6 }
      if Self.groups(whole, order: 8) == 0 { return 7 }
      return whole == 0xff ? 9 : 8
    }
    var bits = gaps | gaps &>> 32
    bits |= bits &>> 16
    bits |= bits &>> 8
    let lowest = UInt(bitPattern: (bits & 0xff).trailingZeroBitCount)
    return lowest == 6 ? nil : 5 &- lowest
  }
}
