// A set of up to 512 small numbers: the pages of a pageblock, or the pageblocks of a section.

package struct PageMask: BitwiseCopyable, Sendable {
  package static let capacity: UInt = 512

  fileprivate(set) var words: InlineArray<8, UInt64>

  package init() { words = InlineArray(repeating: 0) }

  /// Calls `body` for each word that holds members of `range`: the word's place and the members' bits.
  @inline(__always)
  static func forEachWord(_ first: UInt, _ count: UInt, _ body: (Int, UInt64) -> Void) {
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

  func word(_ place: Int) -> UInt64 { unsafe words[unchecked: place] }

  package func contains(_ member: UInt) -> Bool {
    words[Int(bitPattern: member &>> 6)] & (1 &<< UInt64(truncatingIfNeeded: member & 63)) != 0
  }

  package mutating func insert(_ first: UInt, count: UInt) {
    Self.forEachWord(first, count) { unsafe words[unchecked: $0] |= $1 }
  }

  package mutating func remove(_ first: UInt, count: UInt) {
    Self.forEachWord(first, count) { unsafe words[unchecked: $0] &= ~$1 }
  }

  /// How many of the `count` numbers from `first` are members.
  package func count(_ first: UInt, count: UInt) -> UInt {
    var members = 0
    Self.forEachWord(first, count) { unsafe members &+= (words[unchecked: $0] & $1).nonzeroBitCount }
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
      let word = unsafe words[unchecked: Int(bitPattern: place)]
      let found = (member ? word : ~word) & mask
      if found != 0 { return place &* 64 &+ UInt(truncatingIfNeeded: found.trailingZeroBitCount) }
      mask = ~0
      place = place &+ 1
    }
    return nil
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

extension PageMask {
  /// A set of up to 1024 small numbers: the blocks of a shard.
  struct Wide {
    private var words: InlineArray<16, UInt64> = InlineArray(repeating: 0)

    mutating func insert(_ member: UInt) {
      words[Int(bitPattern: member &>> 6)] |= 1 &<< UInt64(truncatingIfNeeded: member & 63)
    }

    /// Whether all numbers from `first` to `last` are members.
    func contains(_ first: UInt, through last: UInt) -> Bool {
      for member in first...last
      where words[Int(bitPattern: member &>> 6)] & (1 &<< UInt64(truncatingIfNeeded: member & 63)) == 0 {
        return false
      }
      return true
    }
  }
}
