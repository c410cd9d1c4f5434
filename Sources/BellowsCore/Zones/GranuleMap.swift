// Which granules of a section are used, a bit each: where a long run looks for a hole.
//
// The masks of the pageblocks say the same page by page, but 192 bytes apart. Here 128 MiB are 1 KiB in a row, so that
// a hole of any length is found by one pass over its words, across the borders of pageblocks. Every field belongs to the
// zone's lock.

package struct GranuleMap {
  /// Where its words are.
  private let address: UInt
  private let words: UInt

  /// The map of `granules` granules at `address`.
  package init(address: UInt, granules: UInt) {
    self.address = address
    words = Self.words(for: granules)
  }

  private static func words(for granules: UInt) -> UInt { (granules &+ 63) &>> 6 }

  /// The memory of the map of so many granules: whole lines.
  @inline(__always)
  package static func bytes(for granules: UInt) -> UInt { (words(for: granules) &* 8).rounded(upTo: 64) }

  @inline(__always)
  private func word(_ place: UInt) -> UInt64 { Ref<UInt64>(address &+ place &* 8).it }

  /// Calls `body` for each word that holds some of the granules: the word and their bits.
  @inline(__always)
  private func forEachWord(_ first: UInt, _ count: UInt, _ body: (Ref<UInt64>, UInt64) -> Void) {
    let last = first &+ count &- 1
    var place = first &>> 6
    var bits = (~0 as UInt64) &<< UInt64(truncatingIfNeeded: first & 63)
    while place < last &>> 6 {
      body(Ref<UInt64>(address &+ place &* 8), bits)
      bits = ~0
      place = place &+ 1
    }
    body(
      Ref<UInt64>(address &+ place &* 8), bits & (~0 &>> UInt64(truncatingIfNeeded: 63 &- last & 63)))
  }

  /// Says that `count` granules, one at least, from `first` are used.
  @inline(__always)
  package func insert(_ first: UInt, count: UInt) { forEachWord(first, count) { $0.it |= $1 } }

  /// Says that they are free; answers the hole that they are part of now.
  @inline(__always)
  package func remove(_ first: UInt, count: UInt) -> (start: UInt, length: UInt) {
    forEachWord(first, count) { $0.it &= ~$1 }
    let start = lastFree(before: first)
    return (start, firstUsed(from: first &+ count) &- start)
  }

  /// The first used granule at or after one; their number where there is none.
  @inline(__always)
  private func firstUsed(from granule: UInt) -> UInt {
    var place = granule &>> 6
    guard place < words else { return words &* 64 }
    var used = word(place) & (~0 &<< UInt64(truncatingIfNeeded: granule & 63))
    while used == 0 {
      place = place &+ 1
      guard place < words else { return words &* 64 }
      used = word(place)
    }
    return place &* 64 &+ UInt(bitPattern: used.trailingZeroBitCount)
  }

  /// Where the free granules before one begin.
  @inline(__always)
  private func lastFree(before granule: UInt) -> UInt {
    var place = granule &>> 6
    var used: UInt64 = 0
    if granule & 63 != 0 { used = word(place) & ~(~0 &<< UInt64(truncatingIfNeeded: granule & 63)) }
    while used == 0 {
      guard place > 0 else { return 0 }
      place = place &- 1
      used = word(place)
    }
    return place &* 64 &+ 64 &- UInt(bitPattern: used.leadingZeroBitCount)
  }

  package func contains(_ granule: UInt) -> Bool {
    word(granule &>> 6) & (1 &<< UInt64(truncatingIfNeeded: granule & 63)) != 0
  }

  /// Makes all of them free.
  package func clear() {
    for place in 0..<words { Ref<UInt64>(address &+ place &* 8).it = 0 }
  }

  /// The lowest `length` granules in a row at or after `from` that are free: the first of them, or nil. O(words).
  package func firstHole(_ length: UInt, from: UInt) -> UInt? {
    var place = from &>> 6
    guard place < words else { return nil }
    var used = word(place) | ~((~0 as UInt64) &<< UInt64(truncatingIfNeeded: from & 63))
    // So many free ones in a row end before `place`.
    var reach: UInt = 0
    while true {
      // What follows them, up to 64.
      if reach &+ UInt(bitPattern: used.trailingZeroBitCount) >= length { return place &* 64 &- reach }
      if length < 64, used != ~0, let inner = Self.firstRun(~used, length) { return place &* 64 &+ inner }
      reach = (used == 0 ? reach : 0) &+ UInt(bitPattern: used.leadingZeroBitCount)
      place = place &+ 1
      guard place < words else { return nil }
      used = word(place)
    }
  }

  /// The lowest `length` set bits in a row: the first of them, or nil. Runs are shortened by halves until their starts
  /// are left.
  @inline(__always)
  private static func firstRun(_ bits: UInt64, _ length: UInt) -> UInt? {
    var starts = bits
    var reach: UInt = 1
    while reach < length {
      let step = min(reach, length &- reach)
      starts &= starts &>> UInt64(truncatingIfNeeded: step)
      guard starts != 0 else { return nil }
      reach = reach &+ step
    }
    return UInt(bitPattern: starts.trailingZeroBitCount)
  }
}

/// Below which granule of a section there is no hole of 2^k granules, for each k: so that a search begins behind what is
/// too short, and passes by a section that has nothing.
package struct HoleHints: BitwiseCopyable {
  private var starts: InlineArray<17, UInt16> = InlineArray(repeating: 0)

  package init() {}

  // A section has at most 65536 granules (1 GiB); a hint is kept in words of the map, and its end is the first it can
  // begin in.

  @inline(__always)
  private static func order(_ length: UInt) -> Int { 63 &- length.leadingZeroBitCount }

  /// Where a search for `length` granules begins.
  @inline(__always)
  package func first(for length: UInt) -> UInt {
    UInt(unsafe starts[unchecked: min(Self.order(length), 16)]) &* 64
  }

  /// There is none of `length` granules that begins before `granule`.
  @inline(__always)
  package mutating func noHole(_ length: UInt, before granule: UInt) {
    let word = UInt16(truncatingIfNeeded: granule &>> 6)
    var order = Self.order(length &* 2 &- 1)
    while order < 17, unsafe starts[unchecked: order] < word {
      unsafe starts[unchecked: order] = word
      order &+= 1
    }
  }

  /// There is one at `granule` now.
  @inline(__always)
  package mutating func hole(_ length: UInt, at granule: UInt) {
    let word = UInt16(truncatingIfNeeded: granule &>> 6)
    var order = min(Self.order(length), 16)
    while order >= 0, unsafe starts[unchecked: order] > word {
      unsafe starts[unchecked: order] = word
      order &-= 1
    }
  }
}
