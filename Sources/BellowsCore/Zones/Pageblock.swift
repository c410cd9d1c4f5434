// A pageblock: the domain of the small buddy, the unit of isolation.
//
// Where a pageblock stands follows from what is in it; `Zone.settle` is the one function that moves it:
//
//             allocate                     allocate all
//     free ─────────────► partly used ◄──────────────────► full
//       ▲   free the last      │                             │
//       └───────────────────── ┘        isolated (purge), caged: on no list until released
//
// A record that is all zero bits is a free pageblock that was never used, so a section's records need no
// set-up and stay untouched until their pageblocks are committed.
//
// Every field belongs to the zone's lock.

package struct Pageblock: BitwiseCopyable {
  /// Pages that are allocated, or not the allocator's to give: the memmap, pages beyond the section's end.
  package var used: BuddyMask
  /// Free pages that may be resident: they were handed out since they were last returned to the system.
  package var dirty: PageMask
  /// The section's record. This and `index` are set when the pageblock is committed.
  package var section: UInt
  /// Neighbours on a zone list.
  package var next: UInt
  package var previous: UInt
  /// Neighbours on the zone's purge queue.
  package var purgeNext: UInt
  package var purgePrevious: UInt
  /// When the first of the dirty pages became so, in milliseconds (CLOCK_MONOTONIC_COARSE).
  package var dirtySince: UInt64
  package var usedPages: UInt16
  package var dirtyPages: UInt16
  /// Place in its section.
  package var index: UInt16
  /// The zone list it is on, plus one; 0: none.
  package var list: UInt8
  package var flags: UInt8

  /// Taken out of circulation: on no list, whatever is free in it.
  package static var isolated: UInt8 { 1 }
  /// On the purge queue.
  package static var queued: UInt8 { 2 }
  /// Its migrate type: set where it serves movable pages. Given when it is taken while wholly free, so that
  /// pages that can move and pages that cannot are kept apart (Linux: MIGRATE_MOVABLE, MIGRATE_UNMOVABLE).
  package static var movable: UInt8 { 8 }
  /// Its section does not count it as wholly free.
  package static var countedBusy: UInt8 { 4 }
  /// On its way offline, or there: what is free in it is the cage's, until that is released. Beside `isolated`,
  /// which a purge sets and clears for itself.
  package static var caged: UInt8 { 16 }
  /// In the child of a fork: isolated by a purge of a thread that is not there.
  package static var orphaned: UInt8 { 32 }
}

package typealias PageblockRef = Ref<Pageblock>

extension Ref where Pointee == Pageblock {
  package func has(_ flag: UInt8) -> Bool { it.flags & flag != 0 }
  package func set(_ flag: UInt8) { it.flags |= flag }
  package func clear(_ flag: UInt8) { it.flags &= ~flag }
}
