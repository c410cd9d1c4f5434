// Memory for the engine's own records: section records, directories, thread heaps. A bump allocator over
// chunks that it maps; nothing is freed singly (what comes and goes, as thread heaps do, is kept on lists by
// its user). The kernel zeroes it, and only what is touched is resident.
//
//   newest ─────────────────┐
//              │ a record │ link │ records ... │ ──► │ a record │ link │ records ... │
//
// The link follows the record that a chunk was mapped for: the process heap's first one is its directory, 64 KiB, of which
// only the last bytes are used, where mappings lie. So they, the link and what comes next share a page.

package struct Metadata: BitwiseCopyable {
  private var next: UInt
  private var end: UInt
  /// Bytes mapped in all chunks.
  package private(set) var mappedBytes: UInt
  /// The `Link` of the first of the chunks.
  package private(set) var newest: UInt
  /// Nodes that chunks are to come from, as bits; 0: wherever they are touched.
  package var nodes: UInt64

  /// A chunk: the next one's link, and where it lies.
  package struct Link: BitwiseCopyable {
    package var next: UInt
    package var start: UInt
    package var bytes: UInt
  }

  private static var linkBytes: UInt { 64 }
  /// What is left free in front of the first record, so that its last bytes share a page with what follows.
  private static var leadBytes: UInt { 512 }
  /// 1 MiB of address space: section records of the process heap take 50 KiB each, thread heaps 2 KiB.
  private static var chunkBytes: UInt { 1 &<< 20 }

  package init() {
    next = 0
    end = 0
    mappedBytes = 0
    newest = 0
    nodes = 0
  }

  /// `bytes` zero bytes at a multiple of 64, or nil where the system has none.
  package mutating func allocate(_ bytes: UInt, platform: Platform) -> UInt? {
    let size = bytes.rounded(upTo: 64)
    if size > end &- next {
      // A small system (a tight RLIMIT_AS) may still have room for what is asked.
      let taken = Self.leadBytes &+ size &+ Self.linkBytes
      let least = taken.rounded(upTo: Page.bytes)
      var chunk = max(Self.chunkBytes, least)
      var start = platform.address(.map, 0, chunk)
      if start == nil {
        chunk = least
        start = platform.address(.map, 0, chunk)
      }
      guard let start else { return nil }
      mappedBytes = mappedBytes &+ chunk
      if nodes != 0 { platform.prefer(among: nodes, start, chunk) }
      let record = start &+ Self.leadBytes
      Ref<Link>(record &+ size).it = Link(next: newest, start: start, bytes: chunk)
      newest = record &+ size
      // After a large request the current chunk may have more room than the new one.
      if chunk &- taken > end &- next {
        next = start &+ taken
        end = start &+ chunk
      }
      return record
    }
    defer { next = next &+ size }
    return next
  }
}
