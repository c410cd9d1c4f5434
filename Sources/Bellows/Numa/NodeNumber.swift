/// The kernel's number of a NUMA node. Numbers may have gaps.
public struct NodeNumber: RawRepresentable, Hashable, Comparable, Sendable, Codable {
  /// The number: 0 and up. Memory can be placed on nodes below 64.
  public var rawValue: Int

  /// Makes the number of node `rawValue`.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// Whether `a` comes before `b`.
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension NodeNumber: ExpressibleByIntegerLiteral {
  /// Makes the number of node `value`.
  public init(integerLiteral value: Int) { rawValue = value }
}

extension NodeNumber: CustomStringConvertible {
  /// The bare number.
  public var description: String { "\(rawValue)" }
}

/// A set of nodes as the system calls take it: nodes 0 to 63, a bit each.
package struct NodeMask: Hashable, Sendable {
  package var bits: UInt64

  package init(bits: UInt64) { self.bits = bits }

  /// The mask of `nodes`; nil where one of them is beyond what a mask holds.
  package init?(_ nodes: some Sequence<NodeNumber>) {
    bits = 0
    for node in nodes {
      guard 0..<64 ~= node.rawValue else { return nil }
      bits |= 1 << UInt64(node.rawValue)
    }
  }

  /// The nodes in order of number.
  package var nodes: [NodeNumber] {
    (0..<64).filter { bits >> UInt64($0) & 1 != 0 }.map(NodeNumber.init(rawValue:))
  }
}
