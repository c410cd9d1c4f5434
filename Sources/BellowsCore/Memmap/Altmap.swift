// The carving of a memmap out of the memory that it describes (Linux: struct vmem_altmap).
//
//   base                                             offset
//   ├── reserve ──┼───────────── free ───────────────┼──── what the page allocator gets ────┤
//                 ├─ alloc + align so far ─┼─ left ──┤
//
// A bump cursor with a balance: pages are handed out upwards, and what comes back only lowers the balance. It is
// bounded: a request that does not fit is refused, so a memmap can never take pages that are the allocator's.
// When the section goes, the balance has to be zero: whatever was carved out has come back here and nowhere else.

/// In pages of the arena: page 0 is where its reservation starts.
package struct Altmap: BitwiseCopyable, Equatable, Sendable {
  /// The first page of what is described.
  package var base: UInt
  /// Pages at the front that are the owner's.
  package var reserve: UInt
  /// Pages that are set aside for descriptors.
  package var free: UInt
  /// Pages that were skipped to align a request.
  package var align: UInt
  /// Pages that are handed out.
  package var alloc: UInt

  package init(base: UInt = 0, reserve: UInt = 0, free: UInt = 0) {
    self.base = base
    self.reserve = reserve
    self.free = free
    align = 0
    alloc = 0
  }

  /// `pages` pages, aligned to the largest power of two that divides their number; nil where they do not fit.
  package mutating func allocate(_ pages: UInt) -> UInt? {
    guard pages > 0 else { return nil }
    let cursor = base &+ reserve &+ alloc &+ align
    let unit = pages & (0 &- pages)
    let pad = cursor.rounded(upTo: unit) &- cursor
    let (needed, overflow) = pages.addingReportingOverflow(pad)
    guard !overflow, alloc &+ align <= free, needed <= free &- alloc &- align else { return nil }
    alloc = alloc &+ pages
    align = align &+ pad
    return cursor &+ pad
  }

  /// Takes `pages` pages back. False, and nothing changed, where so many were never handed out.
  package mutating func release(_ pages: UInt) -> Bool {
    guard pages <= alloc else { return false }
    alloc = alloc &- pages
    return true
  }

  /// Pages in front of the first one that the page allocator gets.
  package var offset: UInt { reserve &+ free }
  package var isBalanced: Bool { alloc == 0 }
}
