// Copies the records of a process' heap.
//
// The process goes on meanwhile. Each zone counts the changes that its lock guards (Lock.swift), odd while one is under
// way. A copy is good if the counts were even and are what they were before; else it is made again. A process that
// changes all the time is read section by section, each with the count before and after in one system call. One that
// is stopped in the middle of a change stays so, and is read as it is.
//
// Nothing that was read is trusted: counts are bounded, addresses only read from.

import BellowsCore
import CShims
import Glibc

/// Copies what the heap of a process consists of.
struct HeapReader {
  let target: TargetProcess
  let memory: TargetMemory
  let header: bellows_header
  private let geometry: Geometry

  /// Finds the heap of a process, where `known` does not say where its header is.
  init(_ target: TargetProcess, header known: UInt? = nil) throws(TargetError) {
    self.target = target
    memory = try TargetMemory(process: target.id)
    header =
      if let known { try TargetHeader(of: target.id, at: known).record } else {
        try TargetHeader(of: target.id).record
      }
    let arena = try memory.value(Arena.self, at: UInt(header.arena))
    geometry = arena.geometry
    guard (22...30).contains(geometry.sectionShift), geometry.pageblockShift < geometry.sectionShift,
      geometry.pageblockShift > Page.shift, geometry.pageblocksPerSection <= 512
    else { throw .damaged(target.id, what: "its sections have no size") }
  }

  /// Whether the records of a process have the sizes that they have here.
  static func knows(_ header: bellows_header) -> Bool {
    header.arena_bytes == MemoryLayout<Arena>.size && header.zone_bytes == MemoryLayout<Zone>.size
      && header.heap_bytes == MemoryLayout<Heap>.size && header.section_bytes == MemoryLayout<Section>.size
      && header.pageblock_bytes == MemoryLayout<Pageblock>.size
      && header.thread_heap_bytes == MemoryLayout<ThreadHeap>.size
  }

  private var sectionRecordBytes: Int {
    Int(Section.headerBytes + geometry.pageblocksPerSection * Section.blockBytes)
  }

  /// What a snapshot looks at besides the records.
  struct Details: OptionSet {
    let rawValue: Int
    /// What the kernel holds of each pageblock.
    static let residence = Details(rawValue: 1)
    /// What lives in each pageblock.
    static let blockers = Details(rawValue: 2)
    /// On which NUMA nodes its pages are.
    static let nodes = Details(rawValue: 4)
  }

  /// Copies the heap.
  func snapshot(_ details: Details = .residence) throws(TargetError) -> HeapSnapshot {
    let records = try sectionRecords()
    let (sections, consistency) = try consistentSections(records)
    let zones = try zones()
    let huge = try memory.value(HugeTable.self, at: UInt(header.heap) + Heap.hugeOffset)
    var result = HeapSnapshot(
      process: target.id, name: target.name, version: BELLOWS_VERSION_TEXT, consistency: consistency,
      sectionBytes: Int(geometry.sectionBytes), pageblockBytes: Int(geometry.pageblockBytes),
      sections: sections.sorted { $0.base < $1.base }, hugeBlocks: Int(clamping: huge.count),
      hugeBytes: Int(clamping: huge.bytes),
      returnedBytes: Int(clamping: zones.reduce(0) { $0 &+ $1.record.returnedPages } &* Page.bytes),
      heaps: try threadHeaps())
    if details.contains(.nodes) {
      let number = try ProcView.callNumber(of: target.id)
      for place in result.sections.indices { result.sections[place].locate(in: number) }
    }
    if details.isDisjoint(with: [.residence, .blockers]) { return result }
    let residence = try Residence(of: target.id)
    defer { residence.close() }
    if details.contains(.blockers) { try census(residence).fill(&result) }
    if details.contains(.residence) { try residence.fill(&result) }
    return result
  }

  /// Its limits, and what it holds. Read one after the other: exact where the process stands still.
  func limits() throws(TargetError) -> HeapLimits {
    let limit = try memory.value(Limit.self, at: UInt(header.heap) + Heap.limitOffset)
    let held = try zones().reduce(0) { $0 &+ $1.record.usedPages &+ $1.record.dirtyPages }
    let huge = try memory.value(HugeTable.self, at: UInt(header.heap) + Heap.hugeOffset)
    func bytes(_ pages: UInt) -> Int { Int(clamping: pages &* Page.bytes) }
    return HeapLimits(
      softBytes: bytes(limit.softPages), hardBytes: bytes(limit.hardPages),
      heldBytes: bytes(held) + Int(clamping: huge.bytes))
  }

  func census(_ residence: Residence) -> Census {
    Census(memory: memory, geometry: geometry, residence: residence)
  }

  // MARK: Zones

  /// The zones and where they are: one, or one more than there are nodes with memory of the heap.
  private func zones() throws(TargetError) -> [(address: UInt, record: Zone)] {
    var result: [(address: UInt, record: Zone)] = []
    var next = UInt(header.zone)
    while next != 0 {
      guard result.count <= 65 else { throw .damaged(target.id, what: "its zones have no end") }
      let record = try memory.value(Zone.self, at: next)
      result.append((next, record))
      next = record.next
    }
    return result
  }

  // MARK: Sections

  /// The addresses of all section records, from the arena's directory.
  private func sectionRecords() throws(TargetError) -> [UInt] {
    let arena = try memory.value(Arena.self, at: UInt(header.arena))
    let roots = (arena.table.limit &+ (Arena.leafEntries &- 1)) / Arena.leafEntries
    guard roots <= 1 << 20 else { throw .damaged(target.id, what: "its directory has no end") }
    var records: [UInt] = []
    for leaf in try memory.words(at: arena.directory, count: Int(roots)) where leaf != 0 {
      records += try memory.words(at: leaf, count: Int(Arena.leafEntries)).filter { $0 != 0 }
    }
    return records
  }

  private func consistentSections(
    _ records: [UInt]
  ) throws(TargetError) -> ([SectionSnapshot], HeapSnapshot.Consistency) {
    for attempt in 0..<20 {
      // Also how many zones there are: one that came meanwhile counts as a change.
      let before = try changes()
      if before.allSatisfy({ $0 & 1 == 0 }) {
        let sections = try self.sections(records)
        if try changes() == before { return (sections, .whole) }
      } else if attempt > 2, target.isStopped, try changes() == before {
        return (try sections(records), .midChange)
      }
      usleep(useconds_t(50 << min(attempt, 6)))
    }
    var sections: [SectionSnapshot] = []
    for record in records {
      guard let bytes = try settled(record) else { throw .changing(target.id) }
      if let section = try decode(bytes, at: record) { sections.append(section) }
    }
    return (sections, .bySection)
  }

  /// The count of changes of each zone: the four bytes behind its lock's word.
  private func changes() throws(TargetError) -> [UInt32] {
    try zones().map { UInt32(truncatingIfNeeded: $0.record.lockWord >> 32) }
  }

  private func settled(_ record: UInt) throws(TargetError) -> [UInt8]? {
    // The zone that has it; of one that is offline, any. A device's section has a region there, which is left alone.
    let section = try memory.value(Section.self, at: record)
    let known = try zones().map(\.address)
    let counter = known.contains(section.zone) ? section.zone : UInt(header.zone)
    // Who is in the middle of a change may have to wait for a processor, and may be stopped there.
    let end = ContinuousClock.now + .seconds(2)
    var attempt = 0
    while true {
      if let bytes = try memory.settledBytes(at: record, count: sectionRecordBytes, changes: counter) {
        return bytes
      }
      attempt += 1
      if attempt % 16 == 0 { usleep(attempt < 1000 ? 20 : 1000) }
      if attempt % 1024 == 0 {
        if target.isStopped { return try memory.bytes(at: record, count: sectionRecordBytes) }
        if ContinuousClock.now > end { return nil }
      }
    }
  }

  private func sections(_ records: [UInt]) throws(TargetError) -> [SectionSnapshot] {
    var sections: [SectionSnapshot] = []
    for record in records {
      let bytes = try memory.bytes(at: record, count: sectionRecordBytes)
      if let section = try decode(bytes, at: record) { sections.append(section) }
    }
    return sections
  }

  /// A section's snapshot from the bytes of its record at an address; nil where no section is.
  private func decode(_ bytes: [UInt8], at record: UInt) throws(TargetError) -> SectionSnapshot? {
    let section = TargetMemory.value(Section.self, in: bytes, at: 0)
    // An enum whose bits came from elsewhere must not be looked at before it is known to be one of its cases.
    let offset = MemoryLayout<Section>.offset(of: \.state) ?? 0
    guard section.base != 0, let state = SectionState(rawValue: bytes[offset]), state != .absent else {
      return nil
    }
    let blocks = UInt(section.blocks)
    guard blocks <= geometry.pageblocksPerSection, UInt(section.committedBlocks) <= blocks,
      UInt(section.memmapBlocks) <= blocks, section.base.isAligned(to: geometry.sectionBytes)
    else { throw .damaged(target.id, what: "a section is larger than it can be") }
    let pageblocks = (0..<blocks).map { index in
      let place = Int(Section.headerBytes + index * Section.blockBytes)
      let block = TargetMemory.value(Pageblock.self, in: bytes, at: place)
      return PageblockSnapshot(
        used: Int(block.used.count(0, count: geometry.pageblockPages)), dirty: Int(block.dirty.count),
        isCaged: block.flags & Pageblock.caged != 0)
    }
    return SectionSnapshot(
      base: section.base, bytes: Int(blocks * geometry.pageblockBytes), block: Int(section.number),
      state: state.word, zone: Self.zoneName(section, state), node: nil,
      memmap: section.memmap, runWords: record - GranuleMap.bytes(for: geometry.granulesPerSection),
      memmapBlocks: Int(section.memmapBlocks),
      committedBlocks: Int(section.committedBlocks),
      pageblocks: pageblocks)
  }

  private static func zoneName(_ section: Section, _ state: SectionState) -> String? {
    state == .device ? "device" : section.zone == 0 ? nil : "normal"
  }

  // MARK: Thread heaps

  private func threadHeaps() throws(TargetError) -> [ThreadHeapSnapshot] {
    let heap = try memory.value(Heap.self, at: UInt(header.heap))
    var result: [ThreadHeapSnapshot] = []
    var next = heap.heaps
    let names = ThreadNames(of: target.id)
    while next != 0, result.count < 100_000 {
      let record = try memory.value(ThreadHeap.self, at: next)
      var kept: UInt = 0
      for index in 0..<Int(RunBin.ownCount) where record.slots[index] != 0 {
        kept += RunBin(index: UInt(index)).pages
      }
      let isCommon = next == heap.commons
      let thread = record.isIdle || isCommon ? 0 : names.number(of: Int(record.threadID))
      let name =
        isCommon
        ? "(ended threads)"
        : thread == 0
          ? "(unused)" : Residence.files.line("proc/\(target.id)/task/\(thread)/comm") ?? "(ended)"
      result.append(
        ThreadHeapSnapshot(
          thread: thread, name: name, slowCalls: Int(record.activity), keptBytes: Int(kept * Page.bytes)))
      next = record.nextHeap
    }
    return result.filter { $0.thread != 0 } + result.filter { $0.thread == 0 }
  }
}

extension SectionState {
  /// The state in the words that people read.
  var word: String {
    switch self {
    case .absent: "absent"
    case .offline: "offline"
    case .goingOnline: "going-online"
    case .online: "online"
    case .goingOffline: "going-offline"
    case .device: "device"
    }
  }
}
