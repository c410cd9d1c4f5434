// Memory for the engine's own records: section records, directories, thread heaps. A bump allocator over
// chunks that it maps; nothing is freed singly (what comes and goes, as thread heaps do, is kept on lists by
// its user). The kernel zeroes it, and only what is touched is resident.
//
//   newest ──► │ next, bytes │ records ... │ ──► │ next, bytes │ records ... │

package struct Metadata: BitwiseCopyable {
  private var next: UInt
  private var end: UInt
  /// Bytes mapped in all chunks.
  package private(set) var mappedBytes: UInt
  /// The first of the chunks; each starts with a `Link`.
  package private(set) var newest: UInt
  /// Nodes that chunks are to come from, as bits; 0: wherever they are touched.
  package var nodes: UInt64

  /// What the first 64 bytes of a chunk say.
  package struct Link: BitwiseCopyable {
    package var next: UInt
    package var bytes: UInt
  }

  /// What lies before the first record: the link, and room for the sake of the one that follows. That is the process heap's
  /// directory, 16 KiB, of which only the last bytes are used, where mappings lie: they share a page with what comes next.
  private static var linkBytes: UInt { 192 }
  /// 1 MiB of address space: section records of the process heap take 14 KiB each, thread heaps 2 KiB.
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
      let least = (size &+ Self.linkBytes).rounded(upTo: Page.bytes)
      var chunk = max(Self.chunkBytes, least)
      var start = platform.address(.map, 0, chunk)
      if start == nil {
        chunk = least
        start = platform.address(.map, 0, chunk)
      }
      guard let start else { return nil }
      mappedBytes = mappedBytes &+ chunk
      if nodes != 0 { platform.prefer(among: nodes, start, chunk) }
      Ref<Link>(start).it = Link(next: newest, bytes: chunk)
      newest = start
      if chunk &- size &- Self.linkBytes < end &- next {
        // Large requests have a chunk of their own; the current one goes on serving.
        return start &+ Self.linkBytes
      }
      next = start &+ Self.linkBytes
      end = start &+ chunk
    }
    defer { next = next &+ size }
    return next
  }
}
