// How much a node can still take. What is asked of a full node the kernel takes from another (a preferred one), or it kills the
// process (a bound one), so everybody here looks first. Free memory that is below the kernel's own reserve does not count.

import CShims

/// The free memory of nodes at one moment.
package enum NodeRoom {
  /// Bytes that a node keeps: 1/64 of its memory, at least 8 MiB. The kernel turns to other nodes at its low watermark, which
  /// is about that on small nodes and less on large ones.
  package static func reserve(ofTotal total: Int) -> Int { max(8 << 20, total / 64) }

  /// Bytes that may be placed on a node now; 0 where it is not there. Page cache counts as used: a policy that prefers a
  /// node goes elsewhere sooner than it takes cache away.
  package static func bytes(on node: NodeNumber) -> Int {
    guard 0..<64 ~= node.rawValue else { return 0 }
    let number = UInt32(node.rawValue)
    let free = unsafe bellows_node_bytes(number, "MemFree")
    let total = unsafe bellows_node_bytes(number, "MemTotal")
    return max(0, free - reserve(ofTotal: max(0, total)))
  }
}
