// A set of up to 512 small numbers: the pages of a pageblock, or the pageblocks of a section.
//
// The buddy inside a pageblock is two of these and no free list: an aligned free block of order k is a run
// of 2^k clear bits at a multiple of 2^k, found by folding words. Coalescing needs no code at all, a tail
// goes back by clearing bits, and caging a range is one mask operation. Freeing writes no descriptor, so a
// free page's memmap line stays untouched.

package struct PageMask: BitwiseCopyable, Sendable {
  package static let capacity: UInt = 512

  private var words: InlineArray<8, UInt64>

  package init() { words = InlineArray(repeating: 0) }

  /// Calls `body` for each word that holds members of `range`: the word's place and the members' bits.
  @inline(__always)
  private static func forEachWord(_ first: UInt, _ count: UInt, _ body: (Int, UInt64) -> Void) {
    var position = first
    let end = first &+ count
    while position < end {
      let bit = position & 63
      let left = end &- position
      let span = left < 64 &- bit ? left : 64 &- bit
      let bits = (~0 as UInt64) &>> UInt64(truncatingIfNeeded: 64 &- span)
      body(Int(bitPattern: position &>> 6), bits &<< UInt64(truncatingIfNeeded: bit))
      position = position &+ span
    }
  }

  package func contains(_ member: UInt) -> Bool {
    words[Int(bitPattern: member &>> 6)] & (1 &<< UInt64(truncatingIfNeeded: member & 63)) != 0
  }

  package mutating func insert(_ first: UInt, count: UInt) {
    Self.forEachWord(first, count) { words[$0] |= $1 }
  }

  package mutating func remove(_ first: UInt, count: UInt) {
    Self.forEachWord(first, count) { words[$0] &= ~$1 }
  }

  /// How many of the `count` numbers from `first` are members.
  package func count(_ first: UInt, count: UInt) -> UInt {
    var members = 0
    Self.forEachWord(first, count) { members &+= (words[$0] & $1).nonzeroBitCount }
    return UInt(bitPattern: members)
  }

  package var count: UInt {
    var members = 0
    for place in 0..<8 { members &+= words[place].nonzeroBitCount }
    return UInt(bitPattern: members)
  }

  package mutating func formIntersection(complementOf other: borrowing PageMask) {
    for place in 0..<8 { words[place] &= ~other.words[place] }
  }

  package mutating func formUnion(_ other: borrowing PageMask) {
    for place in 0..<8 { words[place] |= other.words[place] }
  }

  package func subtracting(_ other: borrowing PageMask) -> PageMask {
    var result = self
    result.formIntersection(complementOf: other)
    return result
  }

  /// The first run of members at or after `from`: its start and length, or nil.
  package func nextRun(from: UInt) -> (first: UInt, count: UInt)? {
    guard let first = next(member: true, from: from) else { return nil }
    return (first, (next(member: false, from: first) ?? Self.capacity) &- first)
  }

  /// The first number at or after `from` that is (or is not) a member.
  package func next(member: Bool, from: UInt) -> UInt? {
    var place = from &>> 6
    var mask = (~0 as UInt64) &<< UInt64(truncatingIfNeeded: from & 63)
    while place < 8 {
      let word = words[Int(bitPattern: place)]
      let found = (member ? word : ~word) & mask
      if found != 0 { return place &* 64 &+ UInt(truncatingIfNeeded: found.trailingZeroBitCount) }
      mask = ~0
      place = place &+ 1
    }
    return nil
  }

  // MARK: The buddy's questions. Members are taken; the numbers that are not are free.

  /// Bits at the starts of aligned blocks of 2^order free numbers within a word (order 0 to 5).
  @inline(__always)
  private static func starts(_ free: UInt64, order: UInt) -> UInt64 {
    var bits = free
    if order >= 1 { bits &= bits &>> 1 & 0x5555_5555_5555_5555 }
    if order >= 2 { bits &= bits &>> 2 & 0x1111_1111_1111_1111 }
    if order >= 3 { bits &= bits &>> 4 & 0x0101_0101_0101_0101 }
    if order >= 4 { bits &= bits &>> 8 & 0x0001_0001_0001_0001 }
    if order >= 5 { bits &= bits &>> 16 & 0x0000_0001_0000_0001 }
    return bits
  }

  /// The lowest start of an aligned block of 2^order numbers without a member (order 0 to 9), or nil.
  package func firstFree(order: UInt) -> UInt? {
    if order < 6 {
      for place in 0..<8 {
        let bits = Self.starts(~words[place], order: order)
        if bits != 0 { return UInt(bitPattern: place &* 64 &+ bits.trailingZeroBitCount) }
      }
      return nil
    }
    let span = 1 &<< Int(bitPattern: order &- 6)
    var place = 0
    while place < 8 {
      var taken: UInt64 = 0
      for word in place..<(place &+ span) { taken |= words[word] }
      if taken == 0 { return UInt(bitPattern: place &* 64) }
      place &+= span
    }
    return nil
  }

  /// The largest order of an aligned block without a member; nil where every number is one.
  package var largestFreeOrder: UInt? {
    var free: UInt64 = 0
    var pairs: UInt64 = 0
    var fours: UInt64 = 0
    var eights: UInt64 = 0
    var sixteens: UInt64 = 0
    var halves: UInt64 = 0
    var whole: UInt = 0
    for place in 0..<8 {
      let order0 = ~words[place]
      let order1 = order0 & (order0 &>> 1) & 0x5555_5555_5555_5555
      let order2 = order1 & (order1 &>> 2) & 0x1111_1111_1111_1111
      let order3 = order2 & (order2 &>> 4) & 0x0101_0101_0101_0101
      let order4 = order3 & (order3 &>> 8) & 0x0001_0001_0001_0001
      let order5 = order4 & (order4 &>> 16) & 0x0000_0001_0000_0001
      free |= order0
      pairs |= order1
      fours |= order2
      eights |= order3
      sixteens |= order4
      halves |= order5
      if order0 == ~0 { whole |= 1 &<< UInt(bitPattern: place) }
    }
    if whole != 0 {
      if whole == 0xff { return 9 }
      if whole & 0x0f == 0x0f || whole & 0xf0 == 0xf0 { return 8 }
      return whole & (whole &>> 1) & 0x55 != 0 ? 7 : 6
    }
    if halves != 0 { return 5 }
    if sixteens != 0 { return 4 }
    if eights != 0 { return 3 }
    if fours != 0 { return 2 }
    if pairs != 0 { return 1 }
    return free != 0 ? 0 : nil
  }

  /// The lowest start of `length` numbers in a row without a member, at a multiple of `alignment` counted
  /// from `origin`, below `limit`.
  package func firstFreeRun(length: UInt, alignment: UInt, origin: UInt, limit: UInt) -> UInt? {
    var start: UInt = 0
    while let free = next(member: false, from: start) {
      let aligned = (free &+ origin).rounded(upTo: alignment) &- origin
      guard aligned &+ length <= limit else { return nil }
      let taken = next(member: true, from: aligned) ?? Self.capacity
      if taken &- aligned >= length, taken >= aligned { return aligned }
      start = taken
    }
    return nil
  }
}
