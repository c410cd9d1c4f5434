// Nodes come and go with memory hotplug. The kernel's own messages about it (netlink) need a socket that containers often forbid,
// so the list of online nodes is compared with what it was: one small file.

import Synchronization

/// Notices nodes that appear and disappear while a program runs.
///
/// A node is there once memory of it is online, and can be placed upon from then on.
public final class NodeWatch: Sendable {
  /// What happened to a node.
  public enum Event: Hashable, Sendable {
    /// The node is online with memory, and was not.
    case appeared(NodeNumber)
    /// The node was online with memory, and is not any more.
    case disappeared(NodeNumber)
  }

  private let known: Mutex<Set<NodeNumber>>
  private let files: SystemFiles

  /// Begins with the nodes that are there now.
  public convenience init() { self.init(reading: SystemFiles()) }

  package init(reading files: SystemFiles) {
    self.files = files
    known = Mutex(Self.nodes(files))
  }

  private static func nodes(_ files: SystemFiles) -> Set<NodeNumber> {
    let line = files.line("sys/devices/system/node/has_memory") ?? ""
    return Set((NumberList(parsing: line)?.numbers ?? []).map(NodeNumber.init(rawValue:)))
  }

  /// What happened since the last call, in order of number; callable from any thread.
  ///
  /// - Complexity: One file of a line.
  public func poll() -> [Event] {
    let now = Self.nodes(files)
    return known.withLock { known in
      let events =
        now.subtracting(known).sorted().map(Event.appeared)
        + known.subtracting(now).sorted().map(Event.disappeared)
      known = now
      return events
    }
  }
}
