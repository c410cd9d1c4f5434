import BellowsCore
import CShims
import Glibc

extension Arena {
  /// Takes a section offline: its memory goes back to the system, and nothing is allocated in it until
  /// ``bringBack(_:)``.
  ///
  /// Blocks of heaps and allocations of pages cannot be moved; the report names what is in the way. Relocatable
  /// blocks are moved out, unless they are pinned.
  ///
  /// - Parameters:
  ///   - section: The section's place in the arena.
  ///   - policy: What happens where the section cannot go as a whole.
  ///   - limit: How long to wait for what is in the way to be freed; at least one pass is made.
  /// - Returns: What came of it. A section that could not go is no error.
  /// - Throws: ``OfflineError/noSuchSection`` or ``OfflineError/busy``; nothing has changed then.
  /// - Complexity: O(pages in use) a pass, and what the system takes to return the memory, about 75 us per MiB.
  ///   Other threads can allocate meanwhile.
  @discardableResult
  public func takeOffline(
    _ section: SectionIndex, policy: OfflinePolicy = .wholeOnly, within limit: Duration = .zero
  ) throws(OfflineError) -> OfflineReport {
    let request = OfflineRequest(policy: policy.core, deadline: limit.deadline)
    var report = BellowsCore.OfflineReport()
    let error = core.offline(at: try address(of: section), request, &report, cage)
    try check(error, report.passes)
    return OfflineReport(report)
  }

  /// Brings a section back that is offline, or wholly or in part out of circulation.
  ///
  /// - Parameter section: The section's place in the arena.
  /// - Throws: ``OfflineError/noSuchSection`` where nothing of it is out of circulation, or ``OfflineError/busy``.
  /// - Complexity: O(pageblocks), and a look at its shards where it was on its way.
  public func bringBack(_ section: SectionIndex) throws(OfflineError) {
    var report = BellowsCore.OfflineReport()
    try check(core.online(at: try address(of: section), &report, cage), 0)
  }

  /// Whether a section is out of circulation at an address: offline, or on its way and free there.
  public func isOutOfCirculation(_ address: UInt) -> Bool { core.isOutOfCirculation(address) }

  private func address(of section: SectionIndex) throws(OfflineError) -> UInt {
    let size = configuration.sectionSize.rawValue
    guard section.rawValue >= 0, section.rawValue < addressRange.byteCount.rawValue / size else {
      throw .noSuchSection
    }
    return addressRange.start + UInt(section.rawValue) * UInt(size)
  }

  private func check(_ error: Int32, _ passes: UInt) throws(OfflineError) {
    switch error {
    case HotplugErrno.invalid: throw .noSuchSection
    case HotplugErrno.deadlock: throw .calledByListener
    // Left-overs are in the report, which has a pass then; without one another thread is at it.
    case HotplugErrno.busy where passes == 0: throw .busy
    default: break
    }
  }

  private var cage: ArenaCage {
    ArenaCage(
      core, nil,
      CageEnvironment(
        context: 0, barrier: {}, isParked: { _, _, _, _ in false }, announce: { _, _, _, _ in 0 },
        sleep: { usleep(UInt32($0) * 1000) }))
  }
}
