// On which nodes the pages of a process' sections are, as the kernel says: move_pages without a target, which moves and
// touches nothing. What is not resident lies nowhere, so an empty section has no node.

import Bellows

extension SectionSnapshot {
  /// What lies on one node, in bytes.
  struct NodeShare: Codable, Equatable {
    var node: Int
    var bytes: Int
  }

  /// Enters on which nodes its pages are, descriptors in it left out: they may have a node of their own.
  ///
  /// - Complexity: O(committed pages), 172 ns each.
  mutating func locate(in process: Int32) {
    guard !pageblocks.isEmpty else { return }
    let committed = committedBlocks * (bytes / pageblocks.count) - memmapBytes
    guard committed > 0 else { return }
    let placement = PagePlacement(
      of: AddressRange(start: base + UInt(memmapBytes), byteCount: .bytes(committed)), process: process)
    let shares = placement.nodes.map {
      NodeShare(node: $0.rawValue, bytes: (placement.pages[$0] ?? 0) * 4096)
    }
    let most = shares.map(\.bytes).max()
    node = shares.first { $0.bytes == most }?.node
    nodes = shares.isEmpty ? nil : shares
  }
}
