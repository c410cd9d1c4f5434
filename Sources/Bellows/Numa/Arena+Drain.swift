// A node is emptied of an arena, and filled again.

import BellowsCore
import CShims

extension Arena {
  /// Takes the arena's memory off some nodes, while the program goes on using it: pages move, addresses stay.
  ///
  /// First the placement leaves out these nodes, so that nothing new comes there. Sections that lie there, and of which
  /// nothing is left once relocatable blocks have moved out, go offline. Then what is there moves, to the nodes of the
  /// placement that are left, or to the nearest others. The engine's records go, too. The nodes stay left
  /// out until ``bringHome(within:progress:)``, even where the deadline came first.
  ///
  /// - Parameters:
  ///   - nodes: The nodes to empty.
  ///   - limit: The time after which no further batch of 512 pages is begun.
  ///   - progress: Called after each batch; false stops.
  /// - Returns: What moved, and what stayed and why.
  /// - Throws: ``PageMover/Failure``; the placement is as it was then, and nothing has moved.
  public func drain(
    _ nodes: [NodeNumber], within limit: Duration? = nil,
    progress: (PageMover.Progress) -> Bool = { _ in true }
  ) throws(PageMover.Failure) -> PageMover.Outcome {
    let topology = NodeTopology.current()
    guard let avoided = NodeMask(nodes), avoided.bits != 0, let first = nodes.first else {
      throw .invalidNodes
    }
    let all = avoided.bits | records.placement.it.avoided
    let targets = topology.fallback(from: first).filter {
      $0.rawValue < 64 && all >> UInt64($0.rawValue) & 1 == 0
    }
    guard let others = NodeMask(targets), others.bits != 0 else { throw .invalidNodes }
    let before = records.placement.it
    try redirect { record in
      record.avoided = all
      record.others = others.bits
    }
    // Those that the placement names come first.
    let wanted = NodeMask(bits: before.pages.nodes & ~all).nodes
    let mover = try PageMover(from: nodes, to: wanted + targets.filter { !wanted.contains($0) })
    do throws(PageMover.Failure) {
      try mover.requireRoom(residentRanges(policyOfRecords: .preferring(others.bits)))
      takeOffline(on: Set(nodes))
      return try mover.move(
        residentRanges(policyOfRecords: .preferring(others.bits)), within: limit, progress: progress)
    } catch {
      try redirect { record in
        record.avoided = before.avoided
        record.others = before.others
      }
      throw error
    }
  }

  /// Lets drained nodes serve again, and moves all memory of the arena to where its placement wants it.
  ///
  /// Under ``PlacementPolicy/local`` and ``PlacementPolicy/interleave(_:)`` nothing moves: no page has a node that it
  /// belongs to.
  ///
  /// - Throws: ``PageMover/Failure``; not all has moved then.
  @discardableResult
  public func bringHome(
    within limit: Duration? = nil, progress: (PageMover.Progress) -> Bool = { _ in true }
  ) throws(PageMover.Failure) -> [PageMover.Outcome] {
    try redirect { $0.avoided = 0 }
    bringSectionsBack()
    let record = records.placement.it
    guard record.isSet else { return [] }
    let clock = ContinuousClock()
    let end = limit.map { clock.now + $0.bounded }
    let withMemory = NodeTopology.current().nodes.filter { $0.memoryBytes > 0 }.map(\.number)
    let resident = residentRanges(policyOfRecords: .local)
    var outcomes: [PageMover.Outcome] = []
    for section in sections {
      let memmapEnd = section.addressRange.start + UInt(section.memmapPages) << Page.shift
      let policy = record.policy(section: UInt(section.index.rawValue))
      let parts = [
        (section.addressRange.start, memmapEnd, record.hasMemmap ? record.memmap : policy),
        (memmapEnd, section.addressRange.end, policy),
      ]
      for (start, partEnd, policy) in parts {
        let home = NodeMask(bits: policy.isPreference ? policy.nodes : 0).nodes
        let away = withMemory.filter { !home.contains($0) && $0.rawValue < 64 }
        let ranges = resident.compactMap { $0.intersection(start, partEnd) }
        guard !home.isEmpty, !away.isEmpty, !ranges.isEmpty else { continue }
        let left = end.map { max(.zero, $0 - clock.now) }
        outcomes.append(try PageMover(from: away, to: home).move(ranges, within: left, progress: progress))
      }
    }
    return outcomes
  }

  /// Takes sections offline that have pages on some nodes, or were added for them: those of which all can go.
  private func takeOffline(on nodes: Set<NodeNumber>) {
    for place in placement().sections {
      guard let section = core.section(index: UInt(place.index.rawValue)) else { continue }
      let node = Int(section.it.memory.node)
      let isThere =
        place.pages.nodes.contains { nodes.contains($0) } || nodes.contains(NodeNumber(rawValue: node))
      guard isThere, let report = try? takeOffline(place.index), report.sections == 1 else { continue }
      core.growth.acquire()
      section.it.memory.isDrained = true
      core.growth.release()
    }
  }

  /// Brings those back.
  private func bringSectionsBack() {
    for index in sections.map(\.index) {
      guard let section = core.section(index: UInt(index.rawValue)) else { continue }
      core.growth.acquire()
      let isDrained = section.it.memory.isDrained
      section.it.memory.isDrained = false
      core.growth.release()
      if isDrained { try? bringBack(index) }
    }
  }

  private func redirect(_ body: (inout PlacementRecord) -> Void) throws(PageMover.Failure) {
    do throws(PlacementError) { try change(body) } catch {
      guard case .refused(let code) = error else { throw .invalidNodes }
      throw .refused(errno: code)
    }
  }

  /// The accessible parts of the arena and its records, which get a policy here: they have none else.
  private func residentRanges(policyOfRecords: KernelPolicy) -> [AddressRange] {
    core.growth.acquire()
    let own = records.ranges
    core.growth.release()
    for range in own { _ = policyOfRecords.apply(range.start, UInt(range.byteCount.rawValue)) }
    let mappings = ProcessMappings(reading: SystemFiles())?.mappings ?? []
    let inside = mappings.filter { $0.permissions.hasPrefix("rw") }
      .compactMap { $0.range.intersection(addressRange.start, addressRange.end) }
    return inside + own
  }
}

extension KernelPolicy {
  var isPreference: Bool {
    let mode = Int(policy & 0xff)
    return mode == BELLOWS_POLICY_PREFERRED || mode == BELLOWS_POLICY_PREFERRED_MANY
  }
}

extension AddressRange {
  /// The part of it between two addresses, or nil.
  func intersection(_ start: UInt, _ end: UInt) -> AddressRange? {
    let (low, high) = (max(self.start, start), min(self.end, end))
    return low < high ? AddressRange(start: low, byteCount: .bytes(Int(high - low))) : nil
  }
}
