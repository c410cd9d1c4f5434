// What a machine of several nodes answers to the calls that concern them. Memory itself is the system's here: where it lies
// is for the emulated machine to show; a stand-in that `placesPages` keeps a list of what it would have done.

import BellowsCore
import CShims
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
  /// Whether it answers where pages lie, and moves them: each is on the first node of its policy when it is looked at first,
  /// without one on the thread's.
  var placesPages = false
  private var placed: [UInt: Int32] = [:]
  /// Pages that do not move, or are locked.
  var pinned: Set<UInt> = []
  var shared: Set<UInt> = []
  var locked: Set<UInt> = []
  /// Free bytes by node; without an entry there is plenty.
  var room: [Int: Int] = [:]
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

  /// The node that the page at an address is on.
  mutating func node(of address: UInt) -> Int32 { look(address.rounded(downTo: Page.bytes)) }

  /// Resident pages that were seen, and are on a node.
  func pages(on node: Int32) -> Int {
    placed.filter { $0.value == node && Kernel.residentPages($0.key, Page.bytes) == 1 }.count
  }

  private mutating func look(_ page: UInt) -> Int32 {
    guard bellows_system(0, SystemCall.resident.rawValue, page, Page.bytes, 0, 0) == 1 else {
      placed[page] = nil
      return -ENOENT
    }
    if let known = placed[page] { return known }
    let policy = nodes(of: page) ?? 0
    let node = policy == 0 ? Int32(current ?? 0) : Int32(policy.trailingZeroBitCount)
    placed[page] = node
    return node
  }

  private mutating func place(_ count: UInt, _ addresses: UInt, _ nodes: UInt, _ results: UInt) -> Int {
    for index in 0..<count {
      let page = Ref<UInt>(addresses + index * 8).it
      let now = look(page)
      let result = Ref<Int32>(results + index * 4)
      guard nodes != 0, now >= 0 else {
        result.it = now
        continue
      }
      let target = Ref<Int32>(nodes + index * 4).it
      if pinned.contains(page) {
        result.it = -EBUSY
      } else if shared.contains(page) {
        result.it = -EACCES
      } else {
        placed[page] = target
        result.it = target
      }
    }
    return 0
  }

  mutating func answer(_ call: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt, _ d: UInt) -> Int? {
    switch call {
    case .bind:
      guard c & 0xff == 0 || UInt64(d) & allowed != 0 else { return -Int(EINVAL) }
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
    case .allowedNodes:
      unsafe UnsafeMutablePointer<UInt64>(bitPattern: a)!.pointee = allowed
      return 0
    case .nodeRoom: return Int(a) < distances.count ? room[Int(a)] ?? 1 << 40 : -Int(ENOENT)
    case .isLocked where placesPages: return locked.contains(a) ? 1 : 0
    case .place where placesPages: return place(a, b, c, d)
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
