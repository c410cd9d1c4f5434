// A section: its record, with its map and the words of its runs in front of it in memory and the records of its pageblocks
// behind it, so that a section of which little is used touches one page of them.
//
//   run words (the lowest granule's last) │ map │ record │ pageblocks (the lowest first)
//
// Records lie in the arena's metadata, never inside a memmap, which may be elsewhere or be given back.

import CShims

package struct Section: BitwiseCopyable {
  // Written when the section is added, then constant.

  /// First address; a multiple of the section size.
  package var base: UInt
  /// The address of descriptor 0.
  package var memmap: UInt
  package var arena: UInt
  /// Order of birth: the lower, the sooner its memory is used.
  package var number: UInt32
  /// Pageblocks that exist: fewer than the geometry's where address space was short.
  package var blocks: UInt16
  /// Pageblocks at the start that hold the memmap: 1 where self-hosted.
  package var memmapBlocks: UInt16
  /// The zone that has its pages; 0 while it is offline. Of a device's section: the region.
  package var zone: UInt
  /// Changed by `move(to:)` alone, under the zone's lock.
  package fileprivate(set) var state: SectionState

  // Under the zone's lock.

  /// The next section of the zone, by number.
  package var next: UInt
  /// Pageblocks from the start that may be touched. Commit grows as a prefix, so that a section is never
  /// more than one accessible and one inaccessible mapping.
  package var committedBlocks: UInt16
  package var freeBlocks: UInt16
  /// Pageblocks that are not wholly free.
  package var busy: PageMask
  /// Whether what is freed while it goes offline goes back to the system at once. Written under the zone's lock.
  package fileprivate(set) var returnsFreed: UInt8
  /// Only a fresh mapping makes its body what it was when it was reserved, since a page of it was given to somebody. While it
  /// is offline: its body is one. Under the zone's lock; offline, the transition's.
  package var needsFresh: Bool
  /// The next section of the transition that it is in; 0: none. The transition's.
  package var chain: UInt

  /// The thread whose transition has it; 0: none. Under the arena's growth lock.
  package var token: UInt32
  package var memory: SectionMemory
  /// The section of the zone before it, by number; 0: none. Under the zone's lock.
  package var previous: UInt
  /// Where to look for holes in its map. Under the zone's lock.
  package var hints: HoleHints

  /// Where `state` and `returnsFreed` are.
  package static var stateOffset: UInt { 40 }
  package static var returnsFreedOffset: UInt { 128 }
  /// Bytes of a section's record without its pageblocks.
  package static var headerBytes: UInt { 320 }
  /// Bytes of one pageblock's record.
  package static var blockBytes: UInt { 192 }
}

package typealias SectionRef = Ref<Section>

extension Ref where Pointee == Section {
  /// Whether a zone has its pages: to be asked under the zone's lock.
  package var isInZone: Bool { it.state == .online || it.state == .goingOffline }

  /// The one place where a section changes state. A move that the state machine does not have is a fault of the
  /// engine.
  package func move(to next: SectionState) {
    precondition(it.state.leads(to: next))
    bellows_store8(address &+ Section.stateOffset, next.rawValue)
  }

  /// Whether it is on its way offline. Read without a lock by whoever frees.
  package var isGoingOffline: Bool {
    bellows_load8(address &+ Section.stateOffset) == SectionState.goingOffline.rawValue
  }

  /// Whether it is on its way offline and what is freed in it goes back to the system at once.
  package var returnsAtOnce: Bool {
    isGoingOffline && bellows_load8(address &+ Section.returnsFreedOffset) != 0
  }

  package func setReturnsFreed(_ value: Bool) {
    bellows_store8(address &+ Section.returnsFreedOffset, value ? 1 : 0)
  }

  /// Makes a part of its body inaccessible and empty: by a fresh mapping where page tables or a commit charge are to go back
  /// (`isFresh`), else by less; and where the system refuses one, by the other. False: it refuses both.
  package func shut(_ start: UInt, _ bytes: UInt, isFresh: inout Bool, platform: Platform) -> Bool {
    // `mlockall` gives a range pages that nobody asked for.
    func empty() -> Bool {
      platform.attempt(.discard, start, bytes) && platform.attempt(.protect, start, bytes)
    }
    if !isFresh, case .success(0) = platform.perform(.chargesOpen, 0, 0), empty() { return true }
    isFresh = platform.attempt(.reset, start, bytes)
    return isFresh || empty()
  }

  package func block(_ index: UInt) -> PageblockRef {
    Ref<Pageblock>(address &+ Section.headerBytes &+ index &* Section.blockBytes)
  }

  /// Its map, of as many granules as a section of its geometry has.
  @inline(__always)
  package func map(granules: UInt) -> GranuleMap {
    GranuleMap(address: address &- GranuleMap.bytes(for: granules), granules: granules)
  }

  /// The descriptor of the page that holds `address`.
  package func descriptor(of address: UInt) -> PageDescriptorRef {
    PageDescriptorRef(it.memmap &+ ((address &- it.base) &>> Page.shift) &* Page.descriptorBytes)
  }
}
