// Sizes of runs: eight a doubling from 9 pages (above 32 KiB) to 16384 (64 MiB), 88 in all.
//
// A run is as long as its bin says, so that one that was freed fits the next request of about that size
// exactly. At most an eighth is added; it is address space, and becomes memory only when touched.

package struct RunBin: Equatable, Sendable {
  package let index: UInt

  package static var count: UInt { 88 }
  /// Bins whose runs a thread keeps for itself: up to 64 pages (256 KiB).
  package static var ownCount: UInt { 24 }
  package static var ownPages: UInt { 64 }
  package static var leastPages: UInt { 9 }
  package static var mostPages: UInt { 16384 }

  @inline(__always) package init(index: UInt) { self.index = index }

  /// The bin for `pages` pages, `leastPages` to `mostPages`.
  @inline(__always)
  package init(pages: UInt) {
    let last = pages &- 1
    let shift = 60 &- UInt(truncatingIfNeeded: last.leadingZeroBitCount)
    index = shift &* 8 &+ (last &>> shift & 7)
  }

  /// The length of the bin's runs, in pages.
  @inline(__always)
  package var pages: UInt { (9 &+ (index & 7)) &<< (index &>> 3) }

  /// Whether runs of `pages` pages are of a bin's length.
  @inline(__always)
  package static func fits(_ pages: UInt) -> Bool {
    pages >= leastPages && pages <= mostPages && RunBin(pages: pages).pages == pages
  }
}
