import BellowsCore
import CShims

extension Arena {
  /// Where the descriptors of a section's pages lie.
  public enum MemmapPlacement: Hashable, Sendable {
    /// With the pages that they describe.
    case withSection
    /// On the node of the thread that uses them first, wherever the section is: allocating and freeing touches
    /// descriptors and not pages, so a section on a far node is administered at local speed.
    case local
    /// On this node as long as it has room.
    case node(NodeNumber)
  }

  /// Chooses the nodes of the arena's memory.
  ///
  /// It holds for memory that is touched from now on, through every decommit and commit; ``bringHome(within:progress:)``
  /// moves what is there already. An arena for each node, each with a heap, gives a program a heap per node.
  ///
  /// - Parameters:
  ///   - policy: The nodes of pages.
  ///   - memmap: The nodes of page descriptors.
  /// - Throws: ``PlacementError``; the placement is as it was then.
  /// - Complexity: One system call, or one to three for each section where sections differ.
  public func place(_ policy: PlacementPolicy, memmap: MemmapPlacement = .withSection) throws(PlacementError)
  {
    guard let schedule = policy.schedule else { throw .invalidNodes }
    var pages = KernelPolicy.local
    if schedule.isEmpty {
      pages = try policy.kernel.get()
    } else if NodeMask(schedule) == nil {
      throw .invalidNodes
    }
    let own: KernelPolicy? =
      switch memmap {
      case .withSection: nil
      case .local: .local
      case .node(let node): try PlacementPolicy.preferred(node).kernel.get()
      }
    try change { record in
      record.pages = pages
      record.strict = 0
      if case .bind = policy.mode { record.strict = pages.nodes }
      record.hasMemmap = own != nil
      record.memmap = own ?? .local
      record.scheduleCount = UInt(schedule.count)
      for (place, node) in schedule.enumerated() { record.schedule[place] = UInt8(node.rawValue) }
      record.chosenCount = 0
    }
  }

  /// Chooses the nodes of one section's pages, apart from the arena's. At most 32 sections can differ.
  ///
  /// - Throws: ``PlacementError``; the placement is as it was then.
  public func place(_ policy: PlacementPolicy, section: SectionIndex) throws(PlacementError) {
    let kernel = try policy.kernel.get()
    guard section.rawValue >= 0,
      section.rawValue < addressRange.byteCount.rawValue / configuration.sectionSize.rawValue
    else { throw .refused(errno: 14) }
    let index = UInt(section.rawValue)
    var isFull = false
    try change { record in
      let known = (0..<record.chosenCount).first { record.chosen[$0].index == index }
      let place = known ?? record.chosenCount
      guard place < 32 else {
        isFull = true
        return
      }
      record.chosen[place] = PlacementRecord.SectionPolicy(index: index, policy: kernel)
      if known == nil { record.chosenCount += 1 }
    }
    if isFull { throw .tooManySections }
  }

  /// Changes the record and gives all memory of the arena its policy; undoes that where the kernel refuses.
  func change(_ body: (inout PlacementRecord) -> Void) throws(PlacementError) {
    core.growth.acquire()
    defer { core.growth.release() }
    core.forEachZone { $0.lock.acquireUnranked() }
    defer { core.forEachZone { $0.lock.release() } }
    let before = records.placement.it
    var record = before
    if !record.isSet {
      record.isSet = true
      record.base = addressRange.start
      record.bytes = UInt(addressRange.byteCount.rawValue)
      record.sectionShift = core.it.geometry.sectionShift
      record.memmapBytes = core.it.geometry.memmapBytes
      record.pages = .local
    }
    body(&record)
    records.placement.it = record
    if case let error = apply(record), error < 0 {
      records.placement.it = before
      _ =
        before.isSet
        ? apply(before) : KernelPolicy.local.apply(addressRange.start, UInt(addressRange.byteCount.rawValue))
      throw .refused(errno: Int32(-error))
    }
  }

  /// To the whole range, and then to the sections that are there, if they differ: the others follow as they come.
  private func apply(_ record: PlacementRecord) -> Int {
    let common = record.scheduleCount == 0 ? record.pages : .preferring(1 << UInt64(record.schedule[0]))
    let result = common.avoiding(record.avoided, others: record.others).apply(record.base, record.bytes)
    if result < 0 || record.isUniform { return result }
    for index in 0..<UInt(core.it.births) {
      let start = record.base + index << record.sectionShift
      guard start < record.base + record.bytes else { break }
      let result = record.apply(start, 1 << record.sectionShift)
      if result < 0 { return result }
    }
    // Sections that were chosen before they came.
    for place in 0..<record.chosenCount {
      let start = record.base + record.chosen[place].index << record.sectionShift
      let result = record.apply(start, 1 << record.sectionShift)
      if result < 0 { return result }
    }
    return 0
  }

  // MARK: Where it is

  /// Where the memory of an arena is.
  public struct Placement: Hashable, Sendable, Encodable {
    /// The version of this form; changes when a field changes its meaning.
    public var schema = 1
    /// The sections in order of address.
    public var sections: [SectionPlacement]
    /// The engine's records, outside of the arena's addresses.
    public var records: PagePlacement

    /// Resident bytes of memmap that lie on another node than most of their section's pages.
    public var memmapOutside: ByteCount {
      sections.reduce(.zero) { $0 + $1.memmapOutside }
    }
  }

  /// Where one section is.
  public struct SectionPlacement: Hashable, Sendable, Encodable {
    /// The section.
    public var index: SectionIndex
    /// Its page descriptors.
    public var memmap: PagePlacement
    /// Its pages.
    public var pages: PagePlacement

    /// The node that most of its pages are on; nil where none is resident.
    public var node: NodeNumber? {
      pages.pages.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// Resident bytes of its memmap on other nodes than that.
    public var memmapOutside: ByteCount {
      guard let node else { return .zero }
      return .pages(memmap.residentPages - (memmap.pages[node] ?? 0))
    }
  }

  /// Asks the kernel where the pages of the arena are; touches none.
  ///
  /// - Complexity: O(committed pages), 172 ns each.
  public func placement() -> Placement {
    let list = sections.map { section in
      let memmapBytes = ByteCount.pages(section.memmapPages)
      let start = section.addressRange.start
      let committed = ByteCount.pages(max(section.committedPages, section.memmapPages))
      return SectionPlacement(
        index: section.index, memmap: PagePlacement(of: AddressRange(start: start, byteCount: memmapBytes)),
        pages: PagePlacement(
          of: AddressRange(start: start + UInt(memmapBytes.rawValue), byteCount: committed - memmapBytes)))
    }
    core.growth.acquire()
    let ranges = records.ranges
    core.growth.release()
    var own = PagePlacement()
    for range in ranges { own += PagePlacement(of: range) }
    return Placement(sections: list, records: own)
  }
}
