// Sub-blocks: the pageblocks of an online section, plugged and unplugged one by one.
//
//     section   │ memmap │ plugged │ unplugged │ plugged │ ...
//                         readable   faults
//
// Unplugging takes exactly the pages of a sub-block out of the allocator and puts guard markers in their place: the
// memory goes, an access ends in SIGSEGV, and the section stays one mapping. Where the kernel has no guard markers
// (before Linux 6.13), or the memory is locked, the sub-block is made inaccessible, which splits the mapping. (The idea is
// virtio-mem's.)
//
// An unplugged sub-block is present and not managed: its descriptors say offline, and the first one names this record as
// owner. So the state of a sub-block needs no table. One lock.

import CShims

package struct SubBlocks: BitwiseCopyable {
  package var lockWord: UInt
  package var arena: ArenaRef
  /// Unplugged now, in pages.
  package var unpluggedPages: UInt
}

package typealias SubBlocksRef = Ref<SubBlocks>

extension Ref where Pointee == SubBlocks {
  package var lock: Lock { Lock(address, .balloon) }

  package func initialise(arena: ArenaRef) {
    it = SubBlocks(lockWord: 0, arena: arena, unpluggedPages: 0)
  }

  private var geometry: Geometry { it.arena.it.geometry }

  /// Whether the sub-block that holds `address` is unplugged. Takes the lock.
  package func isUnplugged(_ address: UInt) -> Bool {
    lock.acquire()
    defer { lock.release() }
    guard let section = it.arena.section(at: address), section.it.state == .online else { return false }
    return isUnplugged(section, (address &- section.it.base) &>> geometry.pageblockShift)
  }

  private func isUnplugged(_ section: SectionRef, _ index: UInt) -> Bool {
    let first = section.descriptor(of: start(section, index))
    return bellows_load(first.address) == GranuleWord.offline.bits && owner(first).it == address
  }

  private func owner(_ descriptor: PageDescriptorRef) -> Ref<UInt> { Ref<UInt>(descriptor.address &+ 8) }
  private func start(_ section: SectionRef, _ index: UInt) -> UInt {
    section.it.base &+ index &<< geometry.pageblockShift
  }

  /// The section and place of the sub-block that starts at `address`. EINVAL: none does, or it holds descriptors.
  /// ENXIO: the section is not online.
  private func find(_ address: UInt) throws(Refusal) -> (SectionRef, UInt) {
    guard address.isAligned(to: geometry.pageblockBytes) else { throw .invalid }
    guard let section = it.arena.section(at: address), section.it.state == .online else { throw .noDevice }
    let index = (address &- section.it.base) &>> geometry.pageblockShift
    guard index >= UInt(section.it.memmapBlocks), index < UInt(section.it.blocks) else { throw .invalid }
    return (section, index)
  }

  /// Takes pages that came online and are marked as offline, as sub-blocks that are unplugged: an online hook's work.
  /// Whole sub-blocks only. Takes the lock.
  package func keep(_ start: UInt, pages: UInt) {
    lock.acquire()
    let section = it.arena.knownSection(at: start)
    var unit = start
    while unit < start &+ pages &<< Page.shift {
      owner(section.descriptor(of: unit)).it = address
      unit = unit &+ geometry.pageblockBytes
    }
    it.unpluggedPages = it.unpluggedPages &+ pages
    lock.release()
  }

  // MARK: Change

  /// Unplugs the sub-block at `start`. EBUSY: a page of it is in use. EEXIST: it is unplugged. ENOMEM: the system
  /// refuses. EINVAL, ENXIO: see `find`. Takes the lock.
  package func unplug(_ start: UInt) throws(Refusal) {
    lock.acquire()
    defer { lock.release() }
    let (section, index) = try find(start)
    if isUnplugged(section, index) { throw .exists }
    let zone = ZoneRef(section.it.zone)
    let run = try zone.allocateRange(section, address: start, pages: geometry.pageblockPages)
    guard hide(start, run.bytes) else {
      it.arena.free(run)
      throw .noMemory
    }
    zone.withhold(section, address: start, pages: run.pages)
    owner(section.descriptor(of: start)).it = address
    it.unpluggedPages = it.unpluggedPages &+ run.pages
  }

  /// Plugs the sub-block at `start`: its pages are the allocator's again, none of them resident. EEXIST: it is plugged.
  /// ENOMEM: the system refuses. EINVAL, ENXIO: see `find`. Takes the lock.
  package func plug(_ start: UInt) throws(Refusal) {
    lock.acquire()
    defer { lock.release() }
    let (section, index) = try find(start)
    guard isUnplugged(section, index) else { throw .exists }
    let zone = ZoneRef(section.it.zone)
    let committed = UInt(section.it.committedBlocks)
    guard zone.makeAccessible(section, address: start, pages: geometry.pageblockPages) else {
      throw .noMemory
    }
    // Accessible memory grows from the start of the section: what lies between and is unplugged must not be.
    var between = committed
    while between < index {
      if isUnplugged(section, between) { _ = hide(self.start(section, between), geometry.pageblockBytes) }
      between = between &+ 1
    }
    guard show(start, geometry.pageblockBytes) else {
      // It may have become accessible with the section's start.
      if committed <= index { _ = hide(start, geometry.pageblockBytes) }
      throw .noMemory
    }
    owner(section.descriptor(of: start)).it = 0
    zone.supply(section, address: start, pages: geometry.pageblockPages, isAbsent: true)
    it.unpluggedPages = it.unpluggedPages &- geometry.pageblockPages
  }

  /// Memory goes, and an access faults. False, and nothing changed, where the system refuses.
  ///
  /// EINVAL of a guard marker says that the kernel has none, or that this memory is locked: no news of the next sub-block.
  private func hide(_ start: UInt, _ bytes: UInt) -> Bool {
    let platform = it.arena.it.platform
    if case .failure(let reason) = platform.perform(.guardInstall, start, bytes) {
      guard Refusal(reason) == .invalid else { return false }
      return platform.attempt(.discard, start, bytes) && platform.attempt(.protect, start, bytes)
    }
    return true
  }

  /// Undoes `hide`, whichever way it took.
  private func show(_ start: UInt, _ bytes: UInt) -> Bool {
    let platform = it.arena.it.platform
    guard platform.attempt(.commit, start, bytes) else { return false }
    if case .failure(let reason) = platform.perform(.guardRemove, start, bytes) {
      return Refusal(reason) == .invalid
    }
    return true
  }
}
