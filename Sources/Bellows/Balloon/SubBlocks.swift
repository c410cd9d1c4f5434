import BellowsCore
import SystemPackage

/// The sub-blocks of an arena's online sections: pageblocks, 2 MiB in sections of 128 MiB and more, that are plugged and
/// unplugged one by one.
///
/// ```swift
/// let subBlocks = try arena.subBlocks()
/// for subBlock in subBlocks.all.reversed() where subBlock.isPlugged && subBlock.usedPages == 0 {
///   try subBlocks.unplug(subBlock.addressRange.start)
/// }
/// ```
///
/// Unplugging takes exactly these pages from the allocator and returns the memory behind them; from then on an access
/// ends in SIGSEGV. The section stays online, and (from Linux 6.13 on) one mapping. A virtual machine shrinks in the same way with
/// virtio-mem; who wants to follow a target finds in the examples how.
///
/// It is a view of the arena, of which there may be any number. All functions may be called from any thread.
public struct SubBlocks: Sendable {
  /// What one sub-block looked like at one moment.
  public struct SubBlock: Hashable, Sendable {
    /// The section that it is a part of.
    public var section: SectionIndex
    /// Its addresses.
    public var addressRange: AddressRange
    /// Whether its pages are the allocator's.
    public var isPlugged: Bool
    /// Pages of it that are in use, where it is plugged.
    public var usedPages: Int
  }

  /// The arena.
  public let arena: Arena
  private let core: SubBlocksRef

  fileprivate init(of arena: Arena, core: SubBlocksRef) {
    self.arena = arena
    self.core = core
  }

  /// The length of a sub-block.
  public var subBlockSize: ByteCount { .bytes(Int(arena.core.it.geometry.pageblockBytes)) }

  /// How much is unplugged.
  public var unplugged: ByteCount {
    core.lock.acquire()
    defer { core.lock.release() }
    return ByteCount(pages: core.it.unpluggedPages)
  }

  /// All sub-blocks of online sections, in order of address, those left out that hold descriptors or that a balloon or pool
  /// has wholly.
  ///
  /// - Complexity: O(sub-blocks).
  public var all: [SubBlock] {
    let geometry = arena.core.it.geometry
    return arena.sections.flatMap { section -> [SubBlock] in
      let first = UInt(section.memmapPages) << Page.shift
      return stride(from: first, to: geometry.sectionBytes, by: Int(geometry.pageblockBytes)).compactMap {
        offset in
        let start = section.addressRange.start + offset
        guard let record = arena.core.section(at: start), record.it.state == .online else { return nil }
        let isPlugged = !core.isUnplugged(start)
        if isPlugged, arena.core.isWithheld(start) { return nil }
        let zone = ZoneRef(record.it.zone)
        return SubBlock(
          section: section.index, addressRange: AddressRange(start: start, byteCount: subBlockSize),
          isPlugged: isPlugged,
          usedPages: isPlugged
            ? Int(zone.usedPages(record, address: start, pages: geometry.pageblockPages)) : 0)
      }
    }
  }

  /// Adds a section to the arena and brings it online with all of its sub-blocks unplugged. With memory blocks of several
  /// sections (``Arena/Configuration/sectionsPerBlock``) it adds a block of them, and answers the first.
  ///
  /// - Throws: `ENOMEM` where the arena's capacity is used up or the system refuses. The arena is as it was then.
  /// - Complexity: O(pages of a section).
  @discardableResult
  public func addSection() throws(Errno) -> SectionIndex { try arena.addSection(for: .subBlocks(core)) }

  /// Takes a sub-block out of the allocator and returns the memory behind it. From then on an access faults.
  ///
  /// - Parameter start: Its first address.
  /// - Throws: `EBUSY` where a page of it is in use, `EEXIST` where it is unplugged, `EINVAL` where no sub-block starts
  ///   there or it holds descriptors, `ENXIO` where no online section is, `ENOMEM` where the system refuses. Nothing
  ///   has changed then.
  /// - Complexity: O(pages of a sub-block).
  public func unplug(_ start: UInt) throws(Errno) {
    try systemError { () throws(Refusal) in try core.unplug(start) }
  }

  /// Gives the pages of a sub-block to the allocator. None of them is resident until it is written.
  ///
  /// - Parameter start: Its first address.
  /// - Throws: `EEXIST` where it is plugged, `ENOMEM` where the system refuses; `EINVAL` and `ENXIO` as ``unplug(_:)``.
  /// - Complexity: O(pages of a sub-block).
  public func plug(_ start: UInt) throws(Errno) {
    try systemError { () throws(Refusal) in try core.plug(start) }
  }
}

extension Arena {
  /// The sub-blocks of the arena's sections.
  ///
  /// - Throws: `ENOMEM` where the system has no memory for the record.
  public func subBlocks() throws(Errno) -> SubBlocks {
    guard let record = core.subBlocks() else { throw .noMemory }
    return SubBlocks(of: self, core: record)
  }
}
