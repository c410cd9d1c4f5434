// Which node memory comes from, in the words of mempolicy(7), and what Bellows makes of them.
//
// Never MPOL_BIND: to a bound thread that touches a page of a full node the kernel's answer is the OOM killer, whatever is
// free elsewhere. Strict placement here is a look at the room when memory is committed, which is refused where there is
// none, and a preference after that. And always MPOL_F_STATIC_NODES: a change of the cpuset would else rewrite the nodes,
// and not write them back.

import BellowsCore
import CShims

/// Which nodes memory comes from.
public struct PlacementPolicy: Hashable, Sendable {
  enum Mode: Hashable, Sendable {
    case local
    case preferred([NodeNumber])
    case bind([NodeNumber])
    case interleave([NodeNumber])
    case weighted([NodeNumber: Int])
  }
  let mode: Mode

  /// From the node of the thread that touches a page first: what the kernel does by itself.
  public static var local: Self { Self(mode: .local) }

  /// From this node as long as it has free memory, then from the nearest that has.
  public static func preferred(_ node: NodeNumber) -> Self { Self(mode: .preferred([node])) }

  /// From one of these nodes; memory is committed only while they have room for it, and refused else.
  ///
  /// What another program takes between commit and first use is not refused but comes from the nearest other node:
  /// the only stricter way that Linux has ends the process.
  public static func bind(_ nodes: [NodeNumber]) -> Self { Self(mode: .bind(nodes)) }

  /// Page by page from each of these nodes in turn.
  public static func interleave(_ nodes: [NodeNumber]) -> Self { Self(mode: .interleave(nodes)) }

  /// Section by section from these nodes, in proportion to their weights, 1 to 64 in sum.
  ///
  /// By section and not by page, so that it works on kernels without weighted interleaving, and with weights of its
  /// own, where the kernel has one set for the whole system.
  public static func weighted(_ weights: [NodeNumber: Int]) -> Self { Self(mode: .weighted(weights)) }

  /// Nodes that the policy names.
  public var nodes: [NodeNumber] {
    switch mode {
    case .local: []
    case .preferred(let nodes), .bind(let nodes), .interleave(let nodes): nodes.sorted()
    case .weighted(let weights): weights.keys.sorted()
    }
  }

  /// Makes it the calling thread's policy, for memory without a policy of its own that it touches first: also for what
  /// malloc gives it.
  ///
  /// - Throws: ``PlacementError/invalidNodes``; ``PlacementError/refused(errno:)``. The policy is as it was then.
  public func applyToThread() throws(PlacementError) {
    guard case .success(let policy) = kernel else { throw .invalidNodes }
    let result = bellows_thread_policy_set(UInt32(truncatingIfNeeded: policy.policy), policy.nodes)
    guard result == 0 else { throw .refused(errno: Int32(-result)) }
  }

  /// What mbind takes. A policy by sections has none.
  var kernel: Result<KernelPolicy, PlacementError> {
    guard let mask = NodeMask(nodes) else { return .failure(.invalidNodes) }
    switch mode {
    case .local: return .success(.local)
    case .preferred(let nodes), .bind(let nodes):
      return nodes.isEmpty ? .failure(.invalidNodes) : .success(.preferring(mask.bits))
    case .interleave(let nodes):
      let policy = UInt(BELLOWS_POLICY_INTERLEAVE | BELLOWS_POLICY_STATIC_NODES)
      return nodes.isEmpty
        ? .failure(.invalidNodes) : .success(KernelPolicy(policy: policy, nodes: mask.bits))
    case .weighted: return .failure(.invalidNodes)
    }
  }

  /// The nodes of sections in turn: each as often as its weight says, spread evenly. Nil: weights that are not allowed.
  var schedule: [NodeNumber]? {
    guard case .weighted(let weights) = mode else { return [] }
    let sum = weights.values.reduce(0, +)
    guard !weights.isEmpty, weights.values.allSatisfy({ $0 > 0 && $0 <= 64 }), sum <= 64 else { return nil }
    var credit: [NodeNumber: Int] = [:]
    return (0..<sum).map { _ in
      for (node, weight) in weights { credit[node, default: 0] += weight }
      let next = weights.keys.sorted().max { (credit[$0] ?? 0) < (credit[$1] ?? 0) } ?? 0
      credit[next, default: 0] -= sum
      return next
    }
  }
}

/// Why memory could not be placed.
@nonexhaustive
public enum PlacementError: Error, Hashable, Sendable {
  /// A node is missing, beyond 63, or named where none is wanted; or weights are below 1 or above 64 in sum.
  case invalidNodes
  /// More than 32 sections would have a policy of their own.
  case tooManySections
  /// The kernel refuses: no such node, a node without memory, or one that the cpuset forbids (EINVAL).
  case refused(errno: Int32)
}

/// A policy as mbind takes it: mode and flags, and a bit for each node.
struct KernelPolicy: BitwiseCopyable, Hashable, Sendable {
  var policy: UInt
  var nodes: UInt64

  static var local: Self { Self(policy: UInt(BELLOWS_POLICY_LOCAL), nodes: 0) }

  static func preferring(_ nodes: UInt64) -> Self {
    let mode = nodes.nonzeroBitCount == 1 ? BELLOWS_POLICY_PREFERRED : BELLOWS_POLICY_PREFERRED_MANY
    return Self(policy: UInt(mode | BELLOWS_POLICY_STATIC_NODES), nodes: nodes)
  }

  /// The same without some nodes; where none is left, or where it names none, one of `others`.
  func avoiding(_ avoided: UInt64, others: UInt64) -> Self {
    guard avoided != 0 else { return self }
    let left = nodes & ~avoided
    if left == 0 { return .preferring(others & ~avoided) }
    let isPreference = policy & 0xff != UInt(BELLOWS_POLICY_INTERLEAVE)
    return isPreference ? .preferring(left) : Self(policy: policy, nodes: left)
  }

  /// Makes it the policy of a range; 0 or -errno.
  func apply(_ start: UInt, _ bytes: UInt) -> Int {
    var nodes = UInt(nodes)
    var policy = policy
    while true {
      let result = bellows_system(0, SystemCall.bind.rawValue, start, bytes, policy, nodes)
      // Before Linux 5.15 one node at a time can be preferred.
      guard result == -22, policy & 0xff == UInt(BELLOWS_POLICY_PREFERRED_MANY) else {
        return result
      }
      nodes = nodes & (0 &- nodes)
      policy = policy & ~0xff | UInt(BELLOWS_POLICY_PREFERRED)
    }
  }
}
