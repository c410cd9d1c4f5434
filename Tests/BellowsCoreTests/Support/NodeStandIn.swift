// What a machine of several nodes answers to the calls that concern them. Memory itself is the system's here: where it lies
// is for the emulated machine to show.

import BellowsCore
import Glibc

struct NodeStandIn {
  /// The distances of each node to each.
  var distances: [[UInt8]]
  /// Nodes whose memory the process may have.
  var allowed: UInt64
  /// The node that the calling thread runs on; nil: its memory policy is another one.
  var current: Int?
  /// Ranges that were given a policy, the newest last.
  private(set) var bound: [(range: Range<UInt>, policy: UInt, nodes: UInt)] = []
  /// How often the thread's node was asked for.
  private(set) var questions = 0

  init(distances: [[UInt8]], current: Int? = 0) {
    self.distances = distances
    self.current = current
    allowed = (1 << UInt64(distances.count)) - 1
  }

  /// `count` nodes, all as far from each other.
  init(count: Int, current: Int? = 0) {
    self.init(distances: (0..<count).map { a in (0..<count).map { $0 == a ? 10 : 20 } }, current: current)
  }

  /// The policy that the page at an address has: the nodes of its mask.
  func nodes(of address: UInt) -> UInt? { bound.last { $0.range.contains(address) }?.nodes }

  mutating func answer(_ call: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt, _ d: UInt) -> Int? {
    switch call {
    case .bind:
      guard UInt64(d) & allowed != 0 else { return -Int(EINVAL) }
      bound.append((a..<(a + b), c, d))
      return 0
    case .reset, .release:
      // A fresh mapping has none.
      bound.removeAll { $0.range.overlaps(a..<(a + b)) && (a..<(a + b)).contains($0.range.lowerBound) }
      return nil
    case .currentNode:
      questions += 1
      return current ?? -Int(ENODEV)
    case .localNodes:
      unsafe UnsafeMutablePointer<UInt64>(bitPattern: a)!.pointee = current == nil ? 0 : allowed
      return 0
    case .distances:
      guard a < distances.count else { return -Int(ENOENT) }
      for (place, distance) in distances[Int(a)].prefix(Int(c)).enumerated() {
        unsafe UnsafeMutablePointer<UInt8>(bitPattern: b)![place] = distance
      }
      return 0
    default: return nil
    }
  }
}
