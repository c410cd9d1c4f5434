// A set of up to 512 small numbers: the pages of a pageblock, or the pageblocks of a section.

import CShims

package struct PageMask: BitwiseCopyable, Sendable {
  package static let capacity: UInt = 512

  fileprivate(set) var words: InlineArray<8, UInt64>

  package init() { words = InlineArray(repeating: 0) }

  private typealias Words = SIMD8<UInt64>

  private var all: Words {
    get { unsafe unsafeBitCast(words, to: Words.self) }
    set { words = unsafe unsafeBitCast(newValue, to: InlineArray<8, UInt64>.self) }
  }

  private static func isEmpty(_ words: Words) -> Bool {
    let half = words.lowHalf | words.highHalf
    let quarter = half.lowHalf | half.highHalf
    return quarter.x | quarter.y == 0
  }

  /// Numbers in a row, one at least, in words: those that they touch, and their bits in the first and the last of these.
  private struct Stretch {
    let begin: Int
    let end: Int
    let head: UInt64
    let tail: UInt64

    @inline(__always)
    init(_ first: UInt, _ count: UInt) {
      let last = first &+ count &- 1
      begin = Int(bitPattern: first &>> 6)
      end = Int(bitPattern: last &>> 6)
      head = ~0 &<< UInt64(truncatingIfNeeded: first & 63)
      tail = ~0 &>> UInt64(truncatingIfNeeded: 63 &- last & 63)
    }

    /// All bits of the words that they touch.
    @inline(__always) var whole: Words { Self.below(end &+ 1) & ~Self.below(begin) }
    /// All bits of the words between those at the ends.
    @inline(__always) var inner: Words { Self.below(end) & ~Self.below(begin &+ 1) }

    /// All bits of the first `words` words.
    @inline(__always)
    private static func below(_ words: Int) -> Words {
      let window = unsafe UnsafeRawPointer(bitPattern: bellows_mask_window(UInt(bitPattern: words)))
        .unsafelyUnwrapped
      return unsafe window.loadUnaligned(as: Words.self)
    }
  }

  func word(_ place: Int) -> UInt64 { unsafe words[unchecked: place] }

  package func contains(_ member: UInt) -> Bool {
    words[Int(bitPattern: member &>> 6)] & (1 &<< UInt64(truncatingIfNeeded: member & 63)) != 0
  }

  // A range within one word is a matter of that word. Of others the words that they touch are changed all at once, without
  // a loop that would run another number of times at each call, and then those at their ends are put right.

  @inline(__always)
  package mutating func insert(_ first: UInt, count: UInt) {
    if count == Self.capacity { return words = InlineArray(repeating: ~0) }
    insertPart(first, count)
  }

  private mutating func insertPart(_ first: UInt, _ count: UInt) {
    guard count != 0 else { return }
    let range = Stretch(first, count)
    let begin = unsafe words[unchecked: range.begin]
    if range.begin == range.end {
      unsafe words[unchecked: range.begin] = begin | range.head & range.tail
    } else {
      let end = unsafe words[unchecked: range.end]
      all |= range.whole
      unsafe words[unchecked: range.begin] = begin | range.head
      unsafe words[unchecked: range.end] = end | range.tail
    }
  }

  package mutating func insert(_ member: UInt) {
    unsafe words[unchecked: Int(bitPattern: member &>> 6)] |= 1 &<< UInt64(truncatingIfNeeded: member & 63)
  }

  package mutating func remove(_ member: UInt) {
    unsafe words[unchecked: Int(bitPattern: member &>> 6)] &= ~(1 &<< UInt64(truncatingIfNeeded: member & 63))
  }

  @inline(__always)
  package mutating func remove(_ first: UInt, count: UInt) {
    if count == Self.capacity { return words = InlineArray(repeating: 0) }
    removePart(first, count)
  }

  private mutating func removePart(_ first: UInt, _ count: UInt) {
    guard count != 0 else { return }
    let range = Stretch(first, count)
    let begin = unsafe words[unchecked: range.begin]
    if range.begin == range.end {
      unsafe words[unchecked: range.begin] = begin & ~(range.head & range.tail)
    } else {
      let end = unsafe words[unchecked: range.end]
      all &= ~range.whole
      unsafe words[unchecked: range.begin] = begin & ~range.head
      unsafe words[unchecked: range.end] = end & ~range.tail
    }
  }

  /// How many of the `count` numbers from `first` are members. Mostly all of them or none.
  package func count(_ first: UInt, count: UInt) -> UInt {
    guard count != 0 else { return 0 }
    let range = Stretch(first, count)
    let begin = unsafe words[unchecked: range.begin] & range.head
    let end = unsafe words[unchecked: range.end] & range.tail
    if range.begin == range.end { return UInt(bitPattern: (begin & end).nonzeroBitCount) }
    let inner = range.inner
    if begin == range.head, end == range.tail, Self.isEmpty(inner & ~all) { return count }
    if begin | end == 0, Self.isEmpty(inner & all) { return 0 }
    var members = begin.nonzeroBitCount &+ end.nonzeroBitCount
    for place in range.begin &+ 1..<range.end { members &+= unsafe words[unchecked: place].nonzeroBitCount }
    return UInt(bitPattern: members)
  }

  /// Removes the `count` numbers from `first`; answers how many of them were members.
  @inline(__always)
  package mutating func take(_ first: UInt, count: UInt) -> UInt {
    let members = self.count(first, count: count)
    if members != 0 { remove(first, count: count) }
    return members
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
