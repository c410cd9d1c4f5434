// An arena: the "machine" that memory is added to.
//
//   process heap          sections are reserved one by one, wherever the system has address space
//   caller's arena        one reservation of the capacity asked for, sections at multiples from its base
//
//   section   ┌────────┬──────────────────────────────────────────────┬──────────────┐
//             │ memmap │ pageblocks, committed as a prefix             │ inaccessible │
//             └────────┴──────────────────────────────────────────────┴──────────────┘
//             base     base + 2 MiB                          committed prefix    base + 128 MiB
//
// The growth lock guards the section directory and the metadata; it ranks below the zone's.

import CShims

package struct Arena: BitwiseCopyable {
  package var growthWord: UInt
  /// Balloons and pools: the first of a list that only grows. Atomic.
  package var balloons: UInt
  /// The record of the sub-blocks; 0 until somebody asks for it. Atomic.
  package var subBlocks: UInt
  /// The number of the thread that takes sections offline or brings them back by amount or address; 0: none. Taken by
  /// compare-and-exchange (Arena+Offline.swift).
  package var transition: UInt
  /// The first of the sections that it is at, by `chain`; 0: none.
  package var transitionSections: UInt
  /// Sections that are offline and were online, by `next` and `previous`. Under the growth lock.
  package var offlineSections: UInt
  package var offlineCount: UInt
  /// The heaps on the arena, by `nextOnArena`, and its relocatable blocks; 0: none.
  package var heaps: UInt
  package var relocatables: UInt
  /// Nodes that the arena grows on, as bits, and `spreadBit`. Written under the growth lock (Arena+Zones.swift).
  package var nodes: UInt
  /// Nodes that memory is kept off, and those that serve meanwhile, as bits. Written under the growth lock
  /// (Arena+Avoid.swift).
  package var avoided: UInt
  package var serving: UInt
  package var platform: Platform
  package var geometry: Geometry
  /// The first zone: memory of no node in particular. All there is on a machine with one node.
  package var zone: ZoneRef
  package var table: SectionTable
  package var metadata: Metadata
  /// Start of the reservation and its length; 0 and 0 where sections are reserved one by one.
  package var reservation: UInt
  package var capacity: UInt
  /// Sections ever added: the next number.
  package var births: UInt32
  package var sections: UInt32
  /// Two-level directory of section records by section index (address from the table's origin).
  package var directory: UInt
  package var lastSection: UInt
  /// Whether an allocation may add a section where there is no room.
  package var growsByNeed = true
  /// Whether nodes that come later are grown on, too. Written when the arena is made.
  package var followsNodes = false
  /// Whether there may be spares: false where none was ever kept, or the last look found none. Under the growth lock.
  package var mayHaveSpares = false
  /// No place for a section is free below this one. Of a reservation of its own.
  package var lowestAbsent: UInt = 0
  /// The threads that have a transition under way. Under the growth lock.
  package var transitions = InlineArray<16, UInt32>(repeating: 0)
  /// The first observer; records are never freed.
  package var observers: UInt = 0
  /// Memmaps in reserve, linked through their first words, and how many.
  package var spareMemmaps: UInt = 0
  package var spareMemmapCount: UInt = 0
  /// Bytes of a section's map. Set when the arena is made.
  package fileprivate(set) var mapBytes: UInt = 0
  /// Sections of a memory block: what comes and goes together. Set when the arena is made.
  package var blockSections: UInt32 = 1
  /// The first memory group; records are never freed. Under the growth lock.
  package var groups: UInt = 0
  /// Sections that were brought online, by node: -1 first. Under the growth lock.
  package var nodeSections = InlineArray<65, UInt32>(repeating: 0)

  package static var balloonsOffset: UInt { 8 }
  package static var subBlocksOffset: UInt { 16 }
  package static var transitionOffset: UInt { 24 }
  package static var heapsOffset: UInt { 56 }
  package static var relocatablesOffset: UInt { 64 }
  package static var nodesOffset: UInt { 72 }
  package static var avoidedOffset: UInt { 80 }
  package static var servingOffset: UInt { 88 }
  /// Memory of several nodes is here, or may come.
  package static var spreadBit: UInt { 1 &<< 63 }
  /// No wish for a node: whatever is there, before the arena grows.
  package static var anyNode: Int32 { -1 }
  /// A wish for memory of no node in particular.
  package static var unboundNode: Int32 { -2 }
  /// Records per leaf of the directory: 1 KiB of pointers.
  package static var leafEntries: UInt { 128 }
  /// Bits of a user address that the process heap's table covers: 47 on x86-64 and arm64 by default.
  package static var addressBits: UInt { 47 }
}

package typealias ArenaRef = Ref<Arena>

extension Ref where Pointee == Arena {
  package var growth: Lock { Lock(address, .growth) }

  /// Sets up an arena in zero-filled memory at `self`, with its zone at `zone`.
  ///
  /// `capacity` 0 makes an arena without a reservation of its own, whose sections lie anywhere. Answers
  /// false, with nothing left behind, where the system has no address space.
  package func initialise(geometry: Geometry, platform: Platform, zone: ZoneRef, capacity: UInt) -> Bool {
    let reserved = capacity.rounded(upTo: geometry.sectionBytes)
    guard reserved >= capacity else { return false }
    var base: UInt = 0
    if reserved != 0 {
      guard let start = platform.reserve(reserved, alignment: geometry.sectionBytes) else { return false }
      base = start
    }
    let limit = (reserved == 0 ? 1 &<< Arena.addressBits : reserved) &>> geometry.sectionShift
    var metadata = Metadata()
    guard let table = SectionTable(origin: base, limit: limit, geometry: geometry, platform: platform) else {
      if reserved != 0 { platform.attempt(.release, base, reserved) }
      return false
    }
    let roots = (limit &+ (Arena.leafEntries &- 1)) / Arena.leafEntries
    guard let directory = metadata.allocate(roots &* 8, platform: platform) else {
      table.release(platform: platform)
      if reserved != 0 { platform.attempt(.release, base, reserved) }
      return false
    }
    it = Arena(
      growthWord: 0, balloons: 0, subBlocks: 0, transition: 0, transitionSections: 0, offlineSections: 0,
      offlineCount: 0, heaps: 0, relocatables: 0, nodes: 0, avoided: 0, serving: 0, platform: platform,
      geometry: geometry,
      zone: zone,
      table: table,
      metadata: metadata,
      reservation: base, capacity: reserved, births: 0, sections: 0, directory: directory, lastSection: 0)
    it.mapBytes = GranuleMap.bytes(for: geometry.granulesPerSection)
    zone.initialise(geometry: geometry, platform: platform)
    return true
  }

  /// Bytes of records per section.
  package var recordBytes: UInt { runWordBytes &+ it.mapBytes &+ ownRecordBytes }

  // In the order in which they lie.
  private var runWordBytes: UInt { it.geometry.granulesPerSection &* RunWord.bytes }
  private var ownRecordBytes: UInt {
    Section.headerBytes &+ it.geometry.pageblocksPerSection &* Section.blockBytes
  }

  /// Makes the records of a section that went what they were. They stay in the directory, for another one at its address.
  /// The words of its runs are zero since these went.
  package func clearRecords(_ record: UInt) {
    bellows_zero(record &- it.mapBytes, it.mapBytes &+ ownRecordBytes)
  }

  /// Memory for records. Takes the growth lock.
  package func allocateMetadata(_ bytes: UInt) -> UInt? {
    growth.acquire()
    defer { growth.release() }
    return it.metadata.allocate(bytes, platform: it.platform)
  }

  // MARK: Finding a section

  /// The record of the section that holds `address`, or nil.
  package func section(at address: UInt) -> SectionRef? {
    let index = (address &- it.table.origin) &>> it.geometry.sectionShift
    guard index < it.table.limit else { return nil }
    let leaf = bellows_load_acquire(it.directory &+ (index / Arena.leafEntries) &* 8)
    guard leaf != 0 else { return nil }
    let record = bellows_load_acquire(leaf &+ (index % Arena.leafEntries) &* 8)
    return record == 0 ? nil : SectionRef(record)
  }

  /// The record of the section that holds `address`, which must be in one.
  package func knownSection(at address: UInt) -> SectionRef {
    let index = (address &- it.table.origin) &>> it.geometry.sectionShift
    let leaf = bellows_load(it.directory &+ (index / Arena.leafEntries) &* 8)
    return SectionRef(bellows_load(leaf &+ (index % Arena.leafEntries) &* 8))
  }

  /// The word of the run that starts in the granule that holds `address`; nil where no section is.
  @inline(__always)
  package func run(at address: UInt) -> RunWordRef? {
    guard let section = section(at: address) else { return nil }
    return runWord(section, address)
  }

  /// The same of an address that must be in a section.
  @inline(__always)
  package func knownRun(at address: UInt) -> RunWordRef { runWord(knownSection(at: address), address) }

  @inline(__always)
  private func runWord(_ section: SectionRef, _ address: UInt) -> RunWordRef {
    let granule = (address &>> Page.granuleShift) & (it.geometry.granulesPerSection &- 1)
    return RunWordRef(section.address &- it.mapBytes &- (granule &+ 1) &* RunWord.bytes)
  }

  // MARK: Pages

  /// `pages` pages in a row, of `node` where that is possible, growing the arena where it has none. Nil: the system or
  /// the capacity is exhausted.
  package func allocate(
    pages: UInt, alignment: UInt, mayGrow: Bool = true, isMovable: Bool = false, node: Int32 = Arena.anyNode
  ) -> PageRun? {
    if let run = allocateGrowing(pages: pages, alignment: alignment, mayGrow, isMovable, node) { return run }
    guard mayGrow else { return nil }
    // Memory that a balloon holds is the last resort.
    while relieve(pages) {
      if case .run(let run) = allocateHere(
        pages: pages, alignment: alignment, isMovable: isMovable, node: node)
      {
        return run
      }
    }
    return nil
  }

  /// Gives pages back; `isAbsent` says that none of them is resident.
  package func free(_ run: PageRun, isAbsent: Bool = false) {
    let section = knownSection(at: run.address)
    ZoneRef(section.it.zone).free(section, address: run.address, pages: run.pages, isAbsent: isAbsent)
  }

  // MARK: Adding a section

  /// Adds and onlines one section with its memmap in its first pageblock. Under the growth lock. Undoes
  /// every step where one fails.
  ///
  /// `isWithheld`: the allocator gets none of its pages, and all of its descriptors are resident. `node`: whose zone is
  /// there; its pages are to come from it.
  package func addSection(isWithheld: Bool = false, node: Int32 = -1) -> SectionRef? {
    guard let place = reserveSection(), let section = prepare(place, isWithheld: isWithheld, node: node)
    else { return nil }
    publish(section, isWithheld: isWithheld)
    return section
  }

  /// The same with a memory block of several sections, all or none: the first of them. Under the growth lock.
  func addBlock(isWithheld: Bool = false, node: Int32 = -1) -> SectionRef? {
    let unit = UInt(it.blockSections)
    guard let first = absentRun(of: unit, alignment: unit) else { return nil }
    var ready = first
    while ready < first &+ unit, let place = place(at: ready),
      prepare(place, isWithheld: isWithheld, node: node) != nil
    {
      ready = ready &+ 1
    }
    guard ready == first &+ unit else {
      while ready > first {
        ready = ready &- 1
        if let place = place(at: ready) { unreserveSection(place) }
      }
      return nil
    }
    for index in first..<ready { publish(known(index), isWithheld: isWithheld) }
    return known(first)
  }

  /// All of an addition that may fail, and undoes itself. The section is not yet anybody's to find.
  private func prepare(_ place: Place, isWithheld: Bool = false, node: Int32) -> SectionRef? {
    let geometry = it.geometry
    let platform = it.platform
    let section = SectionRef(place.record)
    let memmapBlocks = (geometry.memmapBytes &+ (geometry.pageblockBytes &- 1)) &>> geometry.pageblockShift
    section.it.base = place.base
    section.it.arena = address
    section.it.memmap = place.base
    section.it.memory.node = -1
    section.it.memory.set(SectionMemory.selfHosted | SectionMemory.registered)
    if node >= 0 {
      // Before a page of it is touched, those of its memmap included.
      if steer(node, place.base, place.blocks &<< geometry.pageblockShift) {
        section.it.memory.node = node
        section.it.memory.set(SectionMemory.prefersNode)
      } else {
        forgetGrowth(on: node)
      }
    } else {
      steer(node, place.base, place.blocks &<< geometry.pageblockShift)
    }
    section.it.memory.altmap = Altmap(
      base: (place.base &- it.reservation) &>> Page.shift, free: geometry.memmapBytes &>> Page.shift)
    _ = section.it.memory.altmap.allocate(geometry.memmapBytes &>> Page.shift)
    section.it.blocks = UInt16(truncatingIfNeeded: place.blocks)
    section.it.memmapBlocks = UInt16(truncatingIfNeeded: memmapBlocks)
    section.it.busy = PageMask()
    if place.blocks < PageMask.capacity {
      section.it.busy.insert(place.blocks, count: PageMask.capacity &- place.blocks)
    }
    section.it.freeBlocks = section.it.blocks
    section.it.committedBlocks = 0

    guard zone(for: section).commit(section, through: memmapBlocks),
      it.table.prepare(place.base, platform: platform),
      !isWithheld || platform.attempt(.populate, place.base, geometry.memmapBytes)
    else {
      unreserveSection(place)
      return nil
    }
    return section
  }

  private func publish(_ section: SectionRef, isWithheld: Bool = false) {
    section.it.number = it.births
    it.births &+= 1
    it.sections &+= 1
    it.lastSection = section.it.base
    it.table.set(section.it.base, memmap: section.it.base)
    section.move(to: .offline)
    section.it.memory.set(SectionMemory.early)
    let zone = zone(for: section)
    join(section, zone)
    zone.attach(section, isWithheld: isWithheld)
  }

  /// The zone that a section comes online into.
  func zone(for section: SectionRef) -> ZoneRef { zone(node: section.it.memory.node) ?? it.zone }

  private struct Place {
    var base: UInt
    var blocks: UInt
    var record: UInt
  }

  /// Address space and a record for one more section.
  private func reserveSection() -> Place? {
    let geometry = it.geometry
    let platform = it.platform
    var base: UInt
    var bytes = geometry.sectionBytes
    if it.capacity != 0 {
      guard it.blockSections == 1, let index = absentRun(of: 1) else { return nil }
      base = it.reservation &+ index &<< geometry.sectionShift
    } else {
      base = 0
      // Where 128 MiB of address space are not to be had (RLIMIT_AS), less of a section will do.
      while bytes >= geometry.pageblockBytes &* 4 {
        let hint = it.lastSection == 0 ? 0 : it.lastSection &- geometry.sectionBytes
        if let start = platform.reserve(bytes, alignment: geometry.sectionBytes, hint: hint) {
          base = start
          break
        }
        bytes = bytes &>> 1
      }
      guard base != 0 else { return nil }
    }
    guard base &>> geometry.sectionShift < it.table.limit &+ it.table.origin &>> geometry.sectionShift,
      let record = enterRecord(base)
    else {
      if it.capacity == 0 { platform.attempt(.release, base, bytes) }
      return nil
    }
    return Place(base: base, blocks: bytes &>> geometry.pageblockShift, record: record)
  }

  /// A place of the reservation, by section index, and its record.
  private func place(at index: UInt) -> Place? {
    let base = it.reservation &+ index &<< it.geometry.sectionShift
    guard let record = enterRecord(base) else { return nil }
    return Place(base: base, blocks: it.geometry.pageblocksPerSection, record: record)
  }

  private func unreserveSection(_ place: Place) {
    let bytes = place.blocks &<< it.geometry.pageblockShift
    if it.capacity == 0 {
      it.platform.attempt(.release, place.base, bytes)
    } else {
      it.platform.attempt(.reset, place.base, bytes)
    }
    clearRecords(place.record)
  }

  /// The record for the section at `base`: a new one, or the one of an earlier section there.
  package func enterRecord(_ base: UInt) -> UInt? {
    let platform = it.platform
    let index = (base &- it.table.origin) &>> it.geometry.sectionShift
    let root = it.directory &+ (index / Arena.leafEntries) &* 8
    var leaf = bellows_load(root)
    if leaf == 0 {
      guard let made = it.metadata.allocate(Arena.leafEntries &* 8, platform: platform) else { return nil }
      leaf = made
      bellows_store_release(root, leaf)
    }
    let entry = leaf &+ (index % Arena.leafEntries) &* 8
    let known = bellows_load(entry)
    if known != 0 { return known }
    // The record and what is used first of all around it in one page, where that is possible.
    guard let start = it.metadata.allocate(recordBytes &+ Page.bytes, platform: platform) else { return nil }
    let record =
      (start &+ runWordBytes &+ it.mapBytes &+ Page.bytes / 2).rounded(upTo: Page.bytes) &- Page.bytes / 2
    bellows_store_release(entry, record)
    return record
  }

  // MARK: Giving sections back

  /// Returns address space and commit charge that nothing needs: the free pageblocks at the end of each
  /// section become inaccessible, and sections without a used page go altogether (but for an arena with a
  /// reservation of its own, whose sections are its caller's). Call it with nothing dirty.
  ///
  /// For the moment when the system refuses memory; otherwise sections stay, since their address space costs
  /// nothing.
  package func shrink() {
    growth.acquire()
    defer { growth.release() }
    forEachZone { $0.decommitTails() }
    guard it.capacity == 0 else { return }
    forEachZone { zone in
      while let section = zone.detachFreeSection() {
        part(section)
        it.table.set(section.it.base, memmap: 0)
        it.platform.attempt(.release, section.it.base, UInt(section.it.blocks) &<< it.geometry.pageblockShift)
        if it.lastSection == section.it.base { it.lastSection = 0 }
        clearRecords(section.address)
        it.sections &-= 1
      }
    }
  }

  /// Gives the whole arena back: for arenas with a reservation of their own. Metadata chunks go with it
  /// only where the caller mapped them; see `Metadata`.
  package func releaseReservation() {
    guard it.capacity != 0 else { return }
    it.platform.attempt(.release, it.reservation, it.capacity)
    it.table.release(platform: it.platform)
  }
}
