// The sizes that an arena is cut by.
//
//   section     unit of commit and of add/remove; aligned to its size
//   pageblock   unit of isolation and release; the domain of the small buddy inside it
//   granule     16 KiB, four pages: what a block's address is looked up by
//   page        4 KiB, one 64-byte descriptor each

/// Sizes that hold for every arena.
package enum Page {
  /// Bytes of a page, as a power of two: 4 KiB.
  package static let shift: UInt = 12
  package static let bytes: UInt = 1 << shift
  /// Bytes of a page descriptor. 64 makes the memmap 1/64 of what it describes: a 128 MiB section has a
  /// memmap of exactly one 2 MiB pageblock.
  package static let descriptorBytes: UInt = 64
  /// Bytes between the addresses that have a descriptor of their own to look at: a shard. One in four
  /// descriptors is a granule's first, so a shard owns 256 bytes of memmap.
  package static let granuleShift: UInt = 14
  package static let granuleBytes: UInt = 1 << granuleShift
  package static let granulePages: UInt = granuleBytes >> shift
  /// The order of a granule: 2, four pages.
  package static let granuleOrder: UInt = granuleShift - shift

  /// The number of pages that `bytes` bytes take.
  @inline(__always) package static func count(_ bytes: UInt) -> UInt {
    (bytes &+ (Page.bytes &- 1)) &>> shift
  }
}

/// The section and pageblock size of one arena, as powers of two.
package struct Geometry: BitwiseCopyable, Sendable {
  package let sectionShift: UInt
  package let pageblockShift: UInt

  /// 128 MiB sections of 2 MiB pageblocks: the process heap's, and the default.
  package static let standard = Geometry(unchecked: 27, pageblockShift: 21)

  private init(unchecked sectionShift: UInt, pageblockShift: UInt) {
    self.sectionShift = sectionShift
    self.pageblockShift = pageblockShift
  }

  /// A geometry with sections of `sectionBytes` (a power of two, 4 MiB to 1 GiB).
  ///
  /// The pageblock is 1/64 of the section, so that a self-hosted memmap is exactly one pageblock, but never
  /// above 2 MiB, the size of a huge page. Nil if the size is not one of those.
  package init?(sectionBytes: UInt) {
    guard sectionBytes.nonzeroBitCount == 1 else { return nil }
    let shift = UInt(truncatingIfNeeded: sectionBytes.trailingZeroBitCount)
    guard shift >= 22, shift <= 30 else { return nil }
    self.init(unchecked: shift, pageblockShift: shift &- 6 < 21 ? shift &- 6 : 21)
  }

  /// A geometry with pageblocks of the caller's choice: a power of two from 16 KiB (one granule) to 2 MiB, of which a
  /// section has four to 512. Nil where the sizes are not such.
  package init?(sectionBytes: UInt, pageblockBytes: UInt) {
    guard let usual = Geometry(sectionBytes: sectionBytes), pageblockBytes.isPowerOfTwo else { return nil }
    let shift = UInt(truncatingIfNeeded: pageblockBytes.trailingZeroBitCount)
    guard shift >= Page.granuleShift, shift <= 21 else { return nil }
    guard usual.sectionShift &- shift >= 2, usual.sectionShift &- shift <= 9 else { return nil }
    self.init(unchecked: usual.sectionShift, pageblockShift: shift)
  }

  /// Whether a section's memmap can lie at its own start: it has to be whole pageblocks, and to leave something to
  /// describe. Nothing is rounded up to make it fit.
  package var canSelfHost: Bool { memmapBytes.isAligned(to: pageblockBytes) && memmapBytes < sectionBytes }

  package var sectionBytes: UInt { 1 &<< sectionShift }
  package var sectionPages: UInt { 1 &<< (sectionShift &- Page.shift) }
  package var pageblockBytes: UInt { 1 &<< pageblockShift }
  /// At most 512, the width of a `PageMask`.
  package var pageblockPages: UInt { 1 &<< (pageblockShift &- Page.shift) }
  /// The order of a whole pageblock: 9 for 2 MiB.
  package var pageblockOrder: UInt { pageblockShift &- Page.shift }
  /// At most 512, the width of a `PageMask`.
  package var pageblocksPerSection: UInt { 1 &<< (sectionShift &- pageblockShift) }
  package var granulesPerSection: UInt { 1 &<< (sectionShift &- Page.granuleShift) }
  /// Bytes of one section's memmap.
  package var memmapBytes: UInt { sectionPages &* Page.descriptorBytes }
}

extension UInt {
  /// The least power of two's exponent that is not below `self`; 0 for 0 and 1.
  @inline(__always) package var ceilingLog2: UInt {
    self <= 1 ? 0 : 64 &- UInt(truncatingIfNeeded: (self &- 1).leadingZeroBitCount)
  }

  /// `self` rounded up to a multiple of `unit`, a power of two. Wraps on overflow.
  @inline(__always) package func rounded(upTo unit: UInt) -> UInt { (self &+ (unit &- 1)) & ~(unit &- 1) }

  /// `self` rounded down to a multiple of `unit`, a power of two.
  @inline(__always) package func rounded(downTo unit: UInt) -> UInt { self & ~(unit &- 1) }

  /// Whether `self` is a multiple of `unit`, a power of two.
  @inline(__always) package func isAligned(to unit: UInt) -> Bool { self & (unit &- 1) == 0 }

  @inline(__always) package var isPowerOfTwo: Bool { self != 0 && self & (self &- 1) == 0 }
}
