import BellowsCore

extension Arena {
  /// What may live in a zone.
  public enum ZoneKind: String, Hashable, Sendable, Codable, CaseIterable {
    /// Anything.
    case normal
    /// Only what can move: relocatable blocks, and pages that their owner declares movable. So its sections can go offline.
    /// (Linux: `ZONE_MOVABLE`.)
    case movable
  }

  /// Which zone sections come online in.
  public enum ZoneChoice: Hashable, Sendable {
    /// The zone that the memory blocks on both sides are in, or the one that is online; the normal one where they differ, or
    /// none is. (Linux: `online`, with the policy contig-zones.)
    case contiguous
    /// (Linux: `online_kernel`.)
    case normal
    /// (Linux: `online_movable`.)
    case movable
    /// Movable as long as movable memory is at most so many percent of the early memory, in the arena and on the node; else
    /// normal. Zero: never movable. (Linux: the policy auto-movable and its `auto_movable_ratio`.)
    ///
    /// Early is what the arena began with: sections that came by need, and those added with ``AddOptions/isEarly``. Other normal
    /// memory may go again and does not count, but within a dynamic group, for that group. The sections of a static group, and
    /// of one unit of a dynamic one, come online alike: after a normal one, no movable one.
    case automatic(percent: Int = 301)
  }
}

extension Arena.ZoneChoice {
  var core: BellowsCore.ZoneChoice {
    switch self {
    case .contiguous: .contiguous
    case .normal: .normal
    case .movable: .movable
    case .automatic(let percent): .automatic(ratio: UInt32(clamping: percent))
    }
  }
}

extension Arena.ZoneKind {
  init(_ core: BellowsCore.ZoneKind) { self = core == .movable ? .movable : .normal }
}
