// Size classes: 16-byte steps to 128, then four a doubling to 32 KiB. 40 in all.
//
//   0..7    16 32 48 64 80 96 112 128
//   8..11   160 192 224 256       12..15  320 384 448 512       16..19  640 768 896 1024
//   ...     to 36..39  20480 24576 28672 32768
//
// Four a doubling bounds rounding at 20 % and keeps the number of partly used shards low: what a thread
// pays for a class is 4 KiB, so 100 threads with 64 sizes stay near 10 MB.

import CShims

package struct SizeClass: Equatable, Sendable {
  package let index: UInt

  @inline(__always) package init(_ index: UInt) { self.index = index }

  package static var count: UInt { 40 }
  /// The largest block of a class, in bytes. Above it, blocks are runs of whole pages.
  package static var largestBytes: UInt { 32768 }

  /// The class that serves `bytes` bytes, at most `largestBytes`: by a table (wiring.c).
  @inline(__always)
  package init(bytes: UInt) { index = bellows_class((bytes &+ 15) &>> 4) }

  /// Bytes of a block.
  package var bytes: UInt {
    if index < 8 { return (index &+ 1) &* 16 }
    let doubling = (index &- 8) &>> 2
    let quarter = (index &- 8) & 3
    return (128 &<< doubling) &+ ((quarter &+ 1) &* 32) &<< doubling
  }

  /// Pages of a shard of this class: 16 KiB up to 2 KiB as a rule, so that it has one descriptor to look at; longer above,
  /// so that at least eight blocks fit. Short shards become empty, and their memory another class's, sooner:
  /// with 64 KiB for 513 bytes and more, redis-server under values of changing size took 1.7 times as much. Twice as
  /// long for 1280 and 1536 bytes, of which 16 KiB would lose 6 % at their end: of 32 KiB it is 2 %.
  package var spanPages: UInt {
    if bytes > 2048 { return (1 &<< (bytes &* 8).ceilingLog2) &>> Page.shift }
    return bytes == 1280 || bytes == 1536 ? Page.granulePages &* 2 : Page.granulePages
  }

  /// Blocks of a shard.
  package var blocksPerShard: UInt { (spanPages &<< Page.shift) / bytes }

  /// The class whose blocks are at least `bytes` bytes and lie at multiples of `alignment` (a power of two
  /// up to 32 KiB), or nil where none does.
  ///
  /// Blocks lie at multiples of their size from an aligned start. The size rounded up to the alignment does it: in
  /// a doubling whose steps are smaller than the alignment it is the size of a class, and in any other the
  /// steps themselves are multiples of the alignment.
  @inline(__always)
  package init?(bytes: UInt, alignment: UInt) {
    let size = max(bytes, 1).rounded(upTo: alignment)
    guard size <= Self.largestBytes else { return nil }
    self.init(bytes: size)
  }
}
