// A set of up to 512 small numbers: the pages of a pageblock, or the pageblocks of a section.

package struct PageMask: BitwiseCopyable, Sendable {
  package static let capacity: UInt = 512

  fileprivate(set) var words: InlineArray<8, UInt64>

  package init() { words = InlineArray(repeating: 0) }

  /// Calls `body` for each word that holds members of `range`: the word's place and the members' bits.
  @inline(__always)
  static func forEachWord(_ first: UInt, _ count: UInt, _ body: (Int, UInt64) -> Void) {
    guard count != 0 else { return }
    let last = first &+ count &- 1
    let begin = Int(bitPattern: first &>> 6)
    let end = Int(bitPattern: last &>> 6)
    let head = (~0 as UInt64) &<< UInt64(truncatingIfNeeded: first & 63)
    let tail = (~0 as UInt64) &>> UInt64(truncatingIfNeeded: 63 &- last & 63)
    if begin == end { return body(begin, head & tail) }
    body(begin, head)
    var place = begin &+ 1
    while place < end {
      body(place, ~0)
      place &+= 1
    }
    body(end, tail)
  }

  func word(_ place: Int) -> UInt64 { unsafe words[unchecked: place] }

  package func contains(_ member: UInt) -> Bool {
    words[Int(bitPattern: member &>> 6)] & (1 &<< UInt64(truncatingIfNeeded: member & 63)) != 0
  }

  // Runs of pageblocks are inserted and removed whole; and most of the words that are counted are all or nothing, which
  // matters where the machine has no instruction for it.

  package mutating func insert(_ first: UInt, count: UInt) {
    if count == Self.capacity { return words = InlineArray(repeating: ~0) }
    Self.forEachWord(first, count) { unsafe words[unchecked: $0] |= $1 }
  }

  package mutating func insert(_ member: UInt) {
    unsafe words[unchecked: Int(bitPattern: member &>> 6)] |= 1 &<< UInt64(truncatingIfNeeded: member & 63)
  }

  package mutating func remove(_ member: UInt) {
    unsafe words[unchecked: Int(bitPattern: member &>> 6)] &= ~(1 &<< UInt64(truncatingIfNeeded: member & 63))
  }

  package mutating func remove(_ first: UInt, count: UInt) {
    if count == Self.capacity { return words = InlineArray(repeating: 0) }
    Self.forEachWord(first, count) { unsafe words[unchecked: $0] &= ~$1 }
  }

  /// How many of the `count` numbers from `first` are members.
  package func count(_ first: UInt, count: UInt) -> UInt {
    var members = 0
    Self.forEachWord(first, count) {
      let found = unsafe words[unchecked: $0] & $1
      members &+= found == ~0 ? 64 : found == 0 ? 0 : found.nonzeroBitCount
    }
    return UInt(bitPattern: members)
  }

  /// Removes the `count` numbers from `first`; answers how many of them were members.
  package mutating func take(_ first: UInt, count: UInt) -> UInt {
    var members = 0
    Self.forEachWord(first, count) {
      let word = unsafe words[unchecked: $0]
      let found = word & $1
      members &+= found == ~0 ? 64 : found == 0 ? 0 : found.nonzeroBitCount
      unsafe words[unchecked: $0] = word & ~$1
    }
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
    if limit <= 64 { return firstFreeRunInWord(length, alignment, origin, limit) }
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

  /// The same where all that counts is in the first word: a free run is shortened by halves until its start is left.
  @inline(__always)
  private func firstFreeRunInWord(_ length: UInt, _ alignment: UInt, _ origin: UInt, _ limit: UInt) -> UInt? {
    guard length <= limit else { return nil }
    var starts = unsafe ~words[unchecked: 0] & ((~0 as UInt64) &>> UInt64(truncatingIfNeeded: 64 &- limit))
    var reach: UInt = 1
    while reach < length {
      let step = min(reach, length &- reach)
      starts &= starts &>> UInt64(truncatingIfNeeded: step)
      reach = reach &+ step
    }
    while starts != 0 {
      let start = UInt(truncatingIfNeeded: starts.trailingZeroBitCount)
      if (start &+ origin).isAligned(to: alignment) { return start }
      starts &= starts &- 1
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
