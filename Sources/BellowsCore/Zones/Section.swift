// A section: its record, followed in memory by the records of its pageblocks.
//
// Records lie in the arena's metadata, never inside a memmap, which may be elsewhere or be given back.

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

  // Under the zone's lock.

  /// The next section of the zone, by number.
  package var next: UInt
  /// Pageblocks from the start that may be touched. Commit grows as a prefix, so that a section is never
  /// more than one accessible and one inaccessible mapping.
  package var committedBlocks: UInt16
  package var freeBlocks: UInt16
  /// Pageblocks that are not wholly free.
  package var busy: PageMask

  /// Bytes of a section's record without its pageblocks.
  package static var headerBytes: UInt { 192 }
  /// Bytes of one pageblock's record.
  package static var blockBytes: UInt { 192 }
}

package typealias SectionRef = Ref<Section>

extension Ref where Pointee == Section {
  package func block(_ index: UInt) -> PageblockRef {
    Ref<Pageblock>(address &+ Section.headerBytes &+ index &* Section.blockBytes)
  }
}
