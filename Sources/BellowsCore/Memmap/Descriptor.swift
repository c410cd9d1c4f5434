// What the memmap says of a granule: the first of its four descriptors.
//
// The first word of a granule's first descriptor tells what lies there. Free compares it with the address of
// the thread's own heap: equal means "a block of mine", and every other value leads to a slow path.
//
//   word = 0                no shard starts here: free memory, a run of whole pages (RunWord.swift), or the memmap itself
//   word = heap             a shard (or slab) that this thread heap owns        low bits 000000
//   word = head | 1         a later granule of a slab: look at `head`           low bit       1
//   word = 2                a shard that nobody owns
//   word = 1 << 8 | 16      a page that is not the allocator's: a balloon or an unplugged sub-block has it
//   word = 2 << 8 | 16      the same: whoever answered for it to an online hook has it, until it is supplied
//   word = 48               a device's page: its owner has it (PageDescriptor.swift)
//
// Only a live head or tail is non-zero. Whoever gives pages back clears their words first, so an address that was freed
// twice is recognised.

/// The first word of a granule's descriptor.
package struct GranuleWord: Equatable, Sendable {
  package let bits: UInt

  @inline(__always) package init(_ bits: UInt) { self.bits = bits }

  package static var nothing: Self { Self(0) }
  package static var unowned: Self { Self(2) }
  package static var offline: Self { Self(1 &<< 8 | 16) }
  package static var kept: Self { Self(2 &<< 8 | 16) }
  package static var device: Self { Self(48) }
  @inline(__always) package static func tail(of head: UInt) -> Self { Self(head | 1) }

  /// Whether it is of a page that is present and not managed.
  package var isWithheld: Bool { self == .offline || self == .kept }
  @inline(__always) package var isTail: Bool { bits & 1 != 0 }
  /// The head descriptor that a tail names.
  @inline(__always) package var head: UInt { bits &- 1 }
  /// Whether the word is a heap's address or says that there is no owner: the head of a shard.
  package var isShard: Bool { bits == 2 || (bits != 0 && bits & 0x3f == 0) }
}
