import BellowsCore

extension Arena {
  /// What one section looked like at one moment.
  ///
  /// Pages are 4 KiB. The committed ones are `memmapPages + usedPages + freePages`.
  public struct Section: Hashable, Sendable, Codable {
    /// The section's place in the arena.
    public var index: SectionIndex
    /// The section's addresses.
    public var addressRange: AddressRange
    /// Pages that are accessible: a prefix of the section that grows with need.
    public var committedPages: Int
    /// Pages at the start that hold the descriptors of all of the section's pages.
    public var memmapPages: Int
    /// Pages that allocations and the blocks of heaps lie in.
    public var usedPages: Int
    /// Committed pages that are free.
    public var freePages: Int
    /// Of these, pages that were used and not yet returned to the system.
    public var dirtyPages: Int
  }

  /// The sections that have been added, in order of address.
  ///
  /// Each is exact; between two of them other threads may have allocated and freed.
  ///
  /// - Complexity: O(committed pageblocks). Allocations wait for one section at a time.
  public var sections: [Section] {
    var result: [Section] = []
    // Those that are offline are in no zone: by place.
    for index in 0..<addressRange.byteCount.rawValue / configuration.sectionSize.rawValue {
      let start = addressRange.start + UInt(index * configuration.sectionSize.rawValue)
      guard let section = core.section(at: start) else { continue }
      let zone = core.zone(of: section)
      zone.lock.acquire()
      if section.it.state != .absent, section.it.state != .device { result.append(snapshot(section, zone)) }
      zone.lock.release()
    }
    return result
  }

  /// Under the zone's lock.
  private func snapshot(_ section: SectionRef, _ zone: ZoneRef) -> Section {
    let memmapBlocks = UInt(section.it.memmapBlocks)
    let committedBlocks = UInt(section.it.committedBlocks)
    var used = 0
    var dirty = 0
    for index in memmapBlocks..<committedBlocks {
      used += Int(section.block(index).it.usedPages)
      dirty += Int(section.block(index).it.dirtyPages)
    }
    let blockPages = Int(zone.blockPages)
    let size = configuration.sectionSize
    return Section(
      index: SectionIndex(rawValue: Int((section.it.base - addressRange.start) / UInt(size.rawValue))),
      addressRange: AddressRange(start: section.it.base, byteCount: size),
      committedPages: Int(committedBlocks) * blockPages,
      memmapPages: Int(memmapBlocks) * blockPages,
      usedPages: used,
      freePages: Int(committedBlocks - memmapBlocks) * blockPages - used,
      dirtyPages: dirty)
  }
}
