// How much a node can still take. What is asked of a full node the kernel takes from another (a preferred one), or it kills the
// process (a bound one), so everybody here looks first. Free memory that is below the kernel's own reserve does not count.

import BellowsCore

/// The free memory of nodes at one moment.
package enum NodeRoom {
  /// Bytes that may be placed on a node now; 0 where it is not there.
  package static func bytes(on node: NodeNumber) -> Int {
    guard 0..<64 ~= node.rawValue else { return 0 }
    return Int(Platform.system.room(on: Int32(node.rawValue)))
  }
}
