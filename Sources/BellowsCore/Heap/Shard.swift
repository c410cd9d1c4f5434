// A shard: a run of small blocks of one size class, described by its first granule's descriptors.
//
//   line 0 (the owner's)                               line 1 (everybody's)
//   ┌───────┬───────┬────────────────┬──────────────┐  ┌───────────────────────────────┐
//   │ owner │ local │ counts, class  │ links, base  │  │ remote: count | block | owned │
//   └───────┴───────┴────────────────┴──────────────┘  └───────────────────────────────┘
//
// A block is in one of six places: live; on a list of a thread's heap (`heads`, taken from here in one go, or
// `freed`); on `local`, freed by the owner where that had no room for it; on `remote`, freed by others; not yet threaded (beyond `capacity`); or free on a
// page that was returned (`holes`). The first two and the fourth count as used: counts are settled when a list
// moves.
//
//             exhausted                                     an eighth free
//    current ───────────► owned, full (cooling) ──────────────────────────► partial
//       ▲         │                 ▲                                         │ last free: back to the zone
//       │         │ where others    │ first free (claim)                      │
//       │         │ free its blocks │                                         │
//       │         └────► unowned, full                                        │
//       ├───────────── chosen at refill ◄─────────────────────────────────────┤
//       └───────────── chosen at refill ◄── abandoned list ◄──────────────────┘ too many partial, thread exit
//
// Where other threads free the blocks of a class and the thread itself frees none, its full shards are given up at
// once, so that whoever frees can make use of them. Bit 0 of `remote` is the ownership itself: it is taken from 0 to 1 by
// compare-and-exchange, and the fields of line 0 belong to whoever did so.

import CShims

package struct Shard: BitwiseCopyable {
  /// A `GranuleWord`: the owning heap, or `unowned`.
  package var owner: UInt
  /// Blocks that the owner freed, the last one first.
  package var local: UInt
  /// Frees by the owner until something has to be done: the hit path counts it down. Used blocks are
  /// `countdown + reserve`, wrapping.
  package var countdown: UInt32
  package var reserve: UInt32
  /// Blocks threaded so far, and blocks in all.
  package var capacity: UInt16
  package var total: UInt16
  package var sizeClass: UInt8
  package var state: State
  package var spanPages: UInt8
  /// The list of its owner's that free puts its blocks on: the class; or, where it is sparse, `SizeClass.count`, for
  /// which there is never room. The blocks of a sparse shard are not to be handed out again, so that it empties.
  package var list: UInt8
  /// Neighbours in the owner's queue or on the abandoned list.
  package var next: UInt
  package var previous: UInt
  /// Address of block 0.
  package var base: UInt
  /// Bit p: page p was returned to the system, since every block on it was free; those blocks are on no list.
  package var holes: UInt64
  /// Line 1. Bit 0: owned. Bits 4 to 47: the first block freed by others. Bits 48 to 63: how many.
  package var remote: UInt
  /// When it was listed, in milliseconds, cut to 32 bits. The owner's.
  package var stamp: UInt32
  /// Whose lists it is on: of which node's slot (Heap+Nodes.swift). The owner's.
  package var slot: UInt8

  package enum State: UInt8, BitwiseCopyable, Sendable {
    /// In no list: current, or full and unowned.
    case loose
    /// In its owner's queue: not yet worth choosing.
    case cooling
    /// In its owner's queue: worth choosing.
    case partial
    /// On the abandoned list of its class.
    case listed
    /// On the list of those among them that have holes, or were found to have room for none.
    case perforated
  }
}

/// The packed word of blocks freed by others.
package struct RemoteWord: Equatable, Sendable {
  package let bits: UInt
  package init(_ bits: UInt) { self.bits = bits }

  package static var ownedEmpty: Self { Self(1) }
  package static var unowned: Self { Self(0) }

  package var isOwned: Bool { bits & 1 != 0 }
  package var block: UInt { bits & 0x0000_ffff_ffff_fff0 }
  package var count: UInt { bits &>> 48 }

  package func pushing(_ block: UInt) -> Self { Self((count &+ 1) &<< 48 | block | 1) }
}

package typealias ShardRef = Ref<Shard>

extension Ref where Pointee == Shard {
  package var remoteAddress: UInt { address &+ Page.descriptorBytes }
  package var remote: RemoteWord { RemoteWord(bellows_load_acquire(remoteAddress)) }
  package var sizeClass: SizeClass { SizeClass(UInt(it.sizeClass)) }

  package var owner: GranuleWord {
    get { GranuleWord(bellows_load(address)) }
    nonmutating set { bellows_store(address, newValue.bits) }
  }

  /// Blocks that are live, on a thread heap's list, or on `remote`.
  package var used: UInt32 { it.countdown &+ it.reserve }

  /// Says that `used` blocks are used and that the owner wants to know after `frees` more of its own.
  package func setUsed(_ used: UInt32, tellAfter frees: UInt32) {
    it.countdown = frees
    it.reserve = used &- frees
  }

  /// Blocks that could be handed out: freed by the owner, or not yet threaded.
  package var available: UInt32 { UInt32(it.total) &- used }

  /// As many available blocks make a shard worth choosing: an eighth, so that the walk through choose,
  /// exhaust and give up is spread over many blocks.
  package var worthwhile: UInt32 { max(1, UInt32(it.total) &>> 3) }

  /// So many available blocks make it sparse: three quarters. With survivors of a load all over the place, what
  /// replaces them then goes into few shards, and the others become empty (300,000 objects, of which one in
  /// twenty stays and is replaced: 1.1 times the live bytes instead of 20).
  package var sparse: UInt32 { UInt32(it.total) &- UInt32(it.total) &>> 2 }

  /// Takes the ownership of an unowned shard, or answers false.
  package func claim() -> Bool {
    bellows_compare_exchange(remoteAddress, RemoteWord.unowned.bits, RemoteWord.ownedEmpty.bits)
  }

  /// Gives the ownership up; false where others freed blocks meanwhile, which must be collected first.
  package func disown() -> Bool {
    bellows_compare_exchange(remoteAddress, RemoteWord.ownedEmpty.bits, RemoteWord.unowned.bits)
  }

  /// Takes what others freed: the list's first block and its length.
  package func takeRemote() -> RemoteWord {
    if remote == .ownedEmpty { return .ownedEmpty }
    return RemoteWord(bellows_exchange(remoteAddress, RemoteWord.ownedEmpty.bits))
  }

  /// Puts a block that the owner freed on `local`.
  @inline(__always)
  package func pushLocal(_ block: UInt) {
    setLink(block, it.local)
    it.local = block
  }

  /// Threads up to `count` fresh blocks; answers the first, or 0 where all are threaded.
  package func thread(_ count: UInt) -> UInt {
    let left = UInt(it.total &- it.capacity)
    let taken = count < left ? count : left
    guard taken != 0 else { return 0 }
    let bytes = sizeClass.bytes
    let first = it.base &+ UInt(it.capacity) &* bytes
    var block = first
    for _ in 1..<max(taken, 1) {
      setLink(block, block &+ bytes)
      block = block &+ bytes
    }
    setLink(block, 0)
    it.capacity &+= UInt16(truncatingIfNeeded: taken)
    return first
  }
}

/// The link word of a free block: the next free block, or 0.
@inline(__always) package func link(_ block: UInt) -> UInt { Ref<UInt>(block).it }
@inline(__always) package func setLink(_ block: UInt, _ next: UInt) { Ref<UInt>(block).it = next }
