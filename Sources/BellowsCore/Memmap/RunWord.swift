// What is known of a block above 32 KiB, a run of whole pages: a word of the granule that it starts in.
//
//   word = 0               no run starts here
//   word = pages << 2 | 1  a live run
//   word = pages << 2 | 3  the same, grown to its length where it was
//   word = pages << 2 | 2  a run kept for the next request of its length: freed, not yet given back
//
// These words are not in the memmap, where two granules are 256 bytes apart, but in a row in front of their section's
// record: blocks that nobody touches would else make a page of descriptors resident each. (16 live blocks of 32 KiB to
// 20 MiB, 50,000 times one of them replaced, none touched: 5.5 MiB instead of 1.9 for the whole program.)
//
// Whoever gives the pages back clears the word first, so an address inside a run, or one freed twice, is recognised.

import CShims

package struct RunWord: BitwiseCopyable, Equatable, Sendable {
  package let bits: UInt32

  @inline(__always) package init(_ bits: UInt32) { self.bits = bits }

  private init(_ pages: UInt, _ kind: UInt32) { bits = UInt32(truncatingIfNeeded: pages) &<< 2 | kind }

  package static var nothing: Self { Self(0) }
  package static func live(pages: UInt) -> Self { Self(pages, 1) }
  package static func grown(pages: UInt) -> Self { Self(pages, 3) }
  package static func kept(pages: UInt) -> Self { Self(pages, 2) }

  package var isLive: Bool { bits & 1 != 0 }
  /// Of a live run: whether it was shorter once.
  package var isGrown: Bool { bits & 2 != 0 }
  package var isKept: Bool { bits & 3 == 2 }
  /// Its length.
  package var pages: UInt { UInt(bits &>> 2) }

  /// Bytes of one.
  package static var bytes: UInt { 4 }
}

package typealias RunWordRef = Ref<RunWord>

extension Ref where Pointee == RunWord {
  @inline(__always) package var word: RunWord {
    get { RunWord(bellows_load32(address)) }
    nonmutating set { bellows_store32(address, newValue.bits) }
  }
}
