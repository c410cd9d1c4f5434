import BellowsCore

extension Arena {
  /// The pages of one node, as the allocator counts them.
  ///
  /// An arena has a zone for each node that a section of it was added for, and one for sections of no node in particular, whose
  /// pages the kernel places where they are touched first. Where sections were brought online as movable memory, there is
  /// another one for them. (Linux: `struct zone`, `/proc/zoneinfo`.)
  public struct Zone: Hashable, Sendable, Codable {
    /// The node; nil: of none in particular.
    public var node: NodeNumber?
    /// What may live in it.
    public var kind: ZoneKind
    /// Addresses of the zone's online sections.
    public var present: ByteCount
    /// Of that, what the allocator has to give: without page descriptors, and without what balloons keep.
    public var managed: ByteCount
    /// Of that, what allocations and the blocks of heaps lie in.
    public var allocated: ByteCount
    /// What can be allocated.
    public var free: ByteCount
    /// The distance from the zone's node to that of each zone of the arena, in the order of ``Arena/zones``: where pages are
    /// taken from instead if there are none here, the nearest first.
    public var distances: [Int]
  }

  /// The arena's zones in the order in which they came; the first is the one of no node in particular.
  ///
  /// Each one's figures are exact; between two of them other threads may have allocated and freed.
  ///
  /// - Complexity: O(zones²).
  public var zones: [Zone] {
    var all: [ZoneRef] = []
    core.forEachZone { all.append($0) }
    return all.map { zone in
      zone.lock.acquire()
      defer { zone.lock.release() }
      return Zone(
        node: zone.it.node < 0 ? nil : NodeNumber(rawValue: Int(zone.it.node)),
        kind: ZoneKind(zone.it.kind),
        present: ByteCount(pages: zone.it.presentPages), managed: ByteCount(pages: zone.it.managedPages),
        allocated: ByteCount(pages: zone.it.usedPages), free: ByteCount(pages: zone.freePages),
        distances: all.map { $0.address == zone.address ? 10 : Int(zone.distance(to: $0.it.node)) })
    }
  }
}
