import BellowsCore
import CShims
import Glibc

/// Sections that belong together, as those of one module of memory or of one device.
public struct MemoryGroup: RawRepresentable, Hashable, Sendable, Codable {
  /// Its number in its arena, from 1.
  public var rawValue: UInt32

  /// The group of a number.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// What binds its sections.
  public enum Kind: Hashable, Sendable {
    /// At most so much memory, which goes as one. (Linux: a DIMM.)
    case `static`(byteCount: ByteCount)
    /// Memory in units of so much, a power of two. (Linux: virtio-mem.)
    case dynamic(unit: ByteCount)
  }
}

extension Arena {
  /// Makes a group, which has no sections yet.
  ///
  /// - Parameters:
  ///   - kind: Its size or unit: whole memory blocks.
  ///   - node: The node that its sections are on; nil: none in particular.
  ///   - hook: Who is asked when one of them comes online; nil: nobody.
  /// - Returns: The group.
  /// - Throws: EINVAL: not whole memory blocks, a unit that is no power of two, or a node that cannot be; ENOMEM.
  /// - Complexity: O(groups).
  public func makeGroup(
    _ kind: MemoryGroup.Kind, node: Int? = nil, hook: OnlineHook? = nil
  ) throws(HotplugError) -> MemoryGroup {
    let (core, size): (BellowsCore.MemoryGroup.Kind, ByteCount) =
      switch kind {
      case .static(let byteCount): (.fixed, byteCount)
      case .dynamic(let unit): (.dynamic, unit)
      }
    guard size > .zero else { throw .invalid }
    defer {
      guests.letGo(hook)
      guests.sweep(self.core)
    }
    do throws(Refusal) {
      return MemoryGroup(
        rawValue: try self.core.makeGroup(
          core, bytes: UInt(size.rawValue), node: Int32(clamping: node ?? -1),
          hook: hook?.record(in: guests) ?? BellowsCore.OnlineHook()))
    } catch { throw HotplugError(error) }
  }

  /// Ends a group.
  ///
  /// - Throws: EINVAL: there is no such group; EBUSY: it has sections.
  public func endGroup(_ group: MemoryGroup) throws(HotplugError) {
    try run { () throws(Refusal) in try core.endGroup(group.rawValue) }
  }

  /// Takes all of a group's sections offline and removes them: all, or everything stays as it was.
  ///
  /// - Parameters:
  ///   - group: Which.
  ///   - limit: How long to wait for pages to be freed.
  /// - Throws: EBUSY where pages are in use or another transition has a section; EINVAL, EDEADLK, ENOMEM; or what an
  ///   observer answers.
  public func removeSections(of group: MemoryGroup, within limit: Duration = .zero) throws(HotplugError) {
    let request = OfflineRequest(policy: .wholeOnly, deadline: limit.deadline)
    try run { () throws(Refusal) in
      var report = BellowsCore.OfflineReport()
      try core.removeSections(ofGroup: group.rawValue, request, &report) { usleep(UInt32($0) * 1000) }
    }
  }

  // MARK: Memory blocks

  /// What comes and goes together: so many sections as ``Configuration/sectionsPerBlock`` says.
  public struct MemoryBlock: Hashable, Sendable, Codable {
    /// Its number: section places by sections of a block.
    public var number: Int
    /// Its addresses.
    public var addressRange: AddressRange
    /// What its sections are; nil where they differ, because a transition is at them.
    public var state: SectionState?
    /// Whether listings show it.
    public var isRegistered: Bool
    /// The node that it is bound to; nil: none in particular.
    public var node: Int?
    /// The memory group that it belongs to; nil: none.
    public var group: MemoryGroup?
  }

  /// The places of the memory block that a section is part of.
  public func block(of section: SectionIndex) -> Range<SectionIndex> {
    let unit = configuration.sectionsPerBlock
    let first = SectionIndex(rawValue: section.rawValue / unit * unit)
    return first..<first.advanced(by: unit)
  }

  /// The memory blocks that were added, in order of address; those that are not registered among them.
  ///
  /// - Complexity: O(sections).
  public var memoryBlocks: [MemoryBlock] {
    var blocks: [MemoryBlock] = []
    var places: [SectionIndex] = []
    core.growth.acquire()
    core.forEachSection { places.append(SectionIndex(rawValue: Int(core.index(of: $0)))) }
    core.growth.release()
    let unit = configuration.sectionsPerBlock
    for place in places {
      guard let section = memorySection(place) else { continue }
      if let last = blocks.last, last.number == section.block {
        if last.state != section.state { blocks[blocks.count - 1].state = nil }
        continue
      }
      let start = addressRange.start + UInt(section.block * unit * configuration.sectionSize.rawValue)
      blocks.append(
        MemoryBlock(
          number: section.block,
          addressRange: AddressRange(
            start: start, byteCount: .bytes(unit * configuration.sectionSize.rawValue)),
          state: section.state, isRegistered: section.isRegistered, node: section.node, group: section.group))
    }
    return blocks
  }
}
