import BellowsCore

extension Arena {
  /// How many sections are kept in reserve: added, offline, with all of their descriptors resident.
  ///
  /// - Complexity: O(sections).
  public var spares: Int { spareIndexes.count }

  private var spareIndexes: [SectionIndex] {
    core.growth.acquire()
    defer { core.growth.release() }
    var found: [SectionIndex] = []
    core.forEachSection { section in
      if section.it.state == .offline, section.it.memory.has(SectionMemory.spare) {
        found.append(SectionIndex(rawValue: Int(core.index(of: section))))
      }
    }
    return found
  }

  /// Keeps `count` sections in reserve, so that bringing one online needs no memory: adds or removes what differs.
  ///
  /// - Parameters:
  ///   - count: The number wanted.
  ///   - options: How they are added.
  /// - Throws: What ``add(sections:at:options:)`` throws; then there are fewer, but not fewer than before.
  public func keepSpares(_ count: Int, options: AddOptions = .init()) throws(HotplugError) {
    guard count >= 0 else { throw .invalid }
    var kept = spareIndexes
    var spare = options
    spare.isSpare = true
    while kept.count < count {
      kept.append(contentsOf: try add(sections: configuration.sectionsPerBlock, options: spare))
    }
    while kept.count >= count + configuration.sectionsPerBlock, let last = kept.last {
      let block = block(of: last)
      try remove(block)
      kept.removeLast(block.count)
    }
  }

  /// Brings a section in reserve online, the lowest. It asks the system for nothing, but where an online hook does.
  ///
  /// - Returns: Which.
  /// - Throws: ENOSPC: none is in reserve; or as ``online(_:)``.
  @discardableResult
  public func onlineSpare() throws(HotplugError) -> Range<SectionIndex> {
    do throws(Refusal) {
      let range = try core.onlineSpare()
      return SectionIndex(rawValue: Int(range.lowerBound))..<SectionIndex(rawValue: Int(range.upperBound))
    } catch { throw HotplugError(error) }
  }
}
