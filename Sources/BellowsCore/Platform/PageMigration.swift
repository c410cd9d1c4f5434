// Pages change their node and keep their address, batch by batch.
//
//   ask where the pages are ─► those on a source node ─► move ─► ask again ─► moved, or left behind and why
//
// The second question is what counts: kernels differ in what they write down for pages that they did not come to (6.1 leaves
// the word as it was), and a page may have been written anew meanwhile. A tail page takes its whole huge page along, so more may
// move than was asked. Bounded: one batch is at most 512 pages, about 10 ms where each page is copied. No lock: the kernel
// holds up a thread that touches a page just then. Cost: 0.35 us a page that is elsewhere, a copy and 1 to 2 us one that moves.

/// What became of pages that were to leave their node, in pages of 4 KiB.
package struct PageMigration: BitwiseCopyable, Sendable {
  /// Pages that were looked at and are resident.
  package var resident: UInt = 0
  /// Of them, found on a source node.
  package var found: UInt = 0
  /// Of them, gone from it.
  package var moved: UInt = 0
  /// In use by the kernel at that moment, or pinned by it for a device: EBUSY.
  package var busy: UInt = 0
  /// Mapped by other processes too: EACCES.
  package var shared: UInt = 0
  /// The target has no memory left: ENOMEM.
  package var refused: UInt = 0
  /// Another reason.
  package var other: UInt = 0
  /// The first address that was left behind; 0: none.
  package var firstLeft: UInt = 0

  package init() {}

  package var left: UInt { busy &+ shared &+ refused &+ other }

  package static var batchPages: UInt { 512 }

  package static func += (sum: inout Self, part: Self) {
    sum.resident = sum.resident &+ part.resident
    sum.found = sum.found &+ part.found
    sum.moved = sum.moved &+ part.moved
    sum.busy = sum.busy &+ part.busy
    sum.shared = sum.shared &+ part.shared
    sum.refused = sum.refused &+ part.refused
    sum.other = sum.other &+ part.other
    if sum.firstLeft == 0 { sum.firstLeft = part.firstLeft }
  }
}

extension Platform {
  /// Moves the pages of `address..<address + pages * 4 KiB`, at most `batchPages`, that are on a node of `sources` to
  /// the node `target`; nil only asks and counts.
  ///
  /// Nil where the kernel refuses the call as a whole (no such process or node, no permission, a system call filter).
  package func migrate(_ address: UInt, pages: UInt, from sources: UInt64, to target: UInt32?)
    -> PageMigration?
  {
    var addresses = InlineArray<512, UInt>(repeating: 0)
    var results = InlineArray<512, Int32>(repeating: 0)
    var outcome = PageMigration()
    let count = Int(truncatingIfNeeded: min(pages, PageMigration.batchPages))
    for index in 0..<count { addresses[index] = address &+ UInt(truncatingIfNeeded: index) &<< Page.shift }
    guard unsafe place(count, &addresses, nil, &results) else { return nil }
    var found = 0
    for index in 0..<count where results[index] >= 0 {
      outcome.resident &+= 1
      guard Self.has(sources, results[index]) else { continue }
      addresses[found] = addresses[index]
      found &+= 1
    }
    outcome.found = UInt(truncatingIfNeeded: found)
    guard let target, found > 0 else { return outcome }

    var nodes = InlineArray<512, Int32>(repeating: Int32(truncatingIfNeeded: target))
    var reasons = InlineArray<512, Int32>(repeating: -Self.busy)
    guard unsafe place(found, &addresses, &nodes, &reasons), unsafe place(found, &addresses, nil, &results)
    else {
      return nil
    }
    for index in 0..<found {
      guard Self.has(sources, results[index]) else {
        outcome.moved &+= 1
        continue
      }
      if outcome.firstLeft == 0 { outcome.firstLeft = addresses[index] }
      switch 0 &- reasons[index] {
      case Self.busy, 11: outcome.busy &+= 1  // EAGAIN: tried and given up
      case 13, 1: outcome.shared &+= 1  // EACCES, EPERM
      case 12: outcome.refused &+= 1  // ENOMEM
      default: outcome.other &+= 1
      }
    }
    return outcome
  }

  // EBUSY; the numbers of errno are the same on all that Bellows runs on.
  private static var busy: Int32 { 16 }

  private static func has(_ nodes: UInt64, _ node: Int32) -> Bool {
    node >= 0 && node < 64 && nodes &>> UInt64(truncatingIfNeeded: node) & 1 != 0
  }

  private func place(
    _ count: Int, _ addresses: inout InlineArray<512, UInt>,
    _ nodes: UnsafeMutablePointer<InlineArray<512, Int32>>?,
    _ results: inout InlineArray<512, Int32>
  ) -> Bool {
    unsafe withUnsafeMutablePointer(to: &addresses) { addresses in
      unsafe withUnsafeMutablePointer(to: &results) { results in
        attempt(
          .place, UInt(bitPattern: count), UInt(bitPattern: addresses), UInt(bitPattern: nodes),
          UInt(bitPattern: results))
      }
    }
  }
}
