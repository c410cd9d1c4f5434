// Where the pages of a range are, asked of the kernel by move_pages without a target: it touches no page. (get_mempolicy
// by address would fault one in, and then answer for the page of zeros.) 172 ns a page.

import CShims
import Glibc

/// How many pages of a range lie on which node.
public struct PagePlacement: Hashable, Sendable, Encodable {
  /// Resident pages of 4 KiB by node. Nodes without any are not in it.
  public private(set) var pages: [NodeNumber: Int] = [:]
  /// Pages that are not resident: never written, given back, or swapped out.
  public private(set) var absentPages = 0

  /// No pages at all.
  public init() {}

  /// Asks where the pages of a range of this process are.
  ///
  /// A huge page counts as the 4 KiB pages that it consists of. Other threads may change it while it is read.
  ///
  /// - Parameter range: Addresses; parts of pages count as whole ones. What is not mapped counts as absent.
  /// - Complexity: O(pages), 172 ns each.
  public init(of range: AddressRange) {
    self.init(of: range, process: 0)
  }

  /// Asks where the pages of a range of a process are; 0 is this one.
  package init(of range: AddressRange, process: Int32) {
    Self.forEachBatch(of: range, process: process) { _, results in
      for result in results {
        if result >= 0 { pages[NodeNumber(rawValue: Int(result)), default: 0] += 1 } else { absentPages += 1 }
      }
    }
  }

  /// All resident pages.
  public var residentPages: Int { pages.values.reduce(0, +) }

  /// The nodes that have any, in order of number.
  public var nodes: [NodeNumber] { pages.keys.sorted() }

  /// Adds the pages of another range.
  public static func += (sum: inout PagePlacement, other: PagePlacement) {
    sum.pages.merge(other.pages) { $0 + $1 }
    sum.absentPages += other.absentPages
  }

  /// Counts pages that the kernel has counted.
  package mutating func add(_ count: Int, on node: NodeNumber) {
    if count != 0 { pages[node, default: 0] += count }
  }

  private enum CodingKeys: CodingKey {
    case nodes, absentPages
  }

  private struct Entry: Encodable {
    var node: NodeNumber
    var pages: Int
  }

  /// Encodes `nodes`, an array of node and pages, and `absentPages`.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(nodes.map { Entry(node: $0, pages: pages[$0] ?? 0) }, forKey: .nodes)
    try container.encode(absentPages, forKey: .absentPages)
  }

  /// The most pages of one question: the kernel copies 4 KiB of addresses at a time.
  static let batchPages = 512

  /// Calls `body` with the addresses of each batch of pages and what the kernel said of them: a node, or -errno.
  static func forEachBatch(of range: AddressRange, process: Int32, _ body: ([UInt], [Int32]) -> Void) {
    let pageBytes: UInt = 4096
    var address = range.start & ~(pageBytes - 1)
    while address < range.end {
      let count = min(batchPages, Int((range.end - address + pageBytes - 1) / pageBytes))
      let addresses = (0..<count).map { address + UInt($0) * pageBytes }
      body(addresses, locate(addresses, process: process))
      address += UInt(count) * pageBytes
    }
  }

  /// The node of each page, or -errno.
  static func locate(_ addresses: [UInt], process: Int32) -> [Int32] {
    // A call that fails as a whole leaves them so.
    var results = [Int32](repeating: -ENOENT, count: addresses.count)
    _ = unsafe bellows_move_pages(process, addresses.count, addresses, nil, &results)
    return results
  }
}
