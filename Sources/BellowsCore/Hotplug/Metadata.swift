// Memory for the engine's own records: section records, directories, thread heaps. A bump allocator over
// chunks that it maps; nothing is freed singly (what comes and goes, as thread heaps do, is kept on lists by
// its user). The kernel zeroes it, and only what is touched is resident.

package struct Metadata: BitwiseCopyable {
  private var next: UInt
  private var end: UInt
  /// Bytes mapped in all chunks.
  package private(set) var mappedBytes: UInt

  /// 1 MiB of address space: section records of the process heap take 12 KiB each, thread heaps less than 2 KiB.
  private static var chunkBytes: UInt { 1 &<< 20 }

  package init() {
    next = 0
    end = 0
    mappedBytes = 0
  }

  /// `bytes` zero bytes at a multiple of 64, or nil where the system has none.
  package mutating func allocate(_ bytes: UInt, platform: Platform) -> UInt? {
    let size = bytes.rounded(upTo: 64)
    if size > end &- next {
      // A small system (a tight RLIMIT_AS) may still have room for what is asked.
      var chunk = max(Self.chunkBytes, size.rounded(upTo: Page.bytes))
      var start = platform.address(.map, 0, chunk)
      if start == nil {
        chunk = size.rounded(upTo: Page.bytes)
        start = platform.address(.map, 0, chunk)
      }
      guard let start else { return nil }
      mappedBytes = mappedBytes &+ chunk
      if chunk &- size < end &- next {
        // Large requests have a chunk of their own; the current one goes on serving.
        return start
      }
      next = start
      end = start &+ chunk
    }
    defer { next = next &+ size }
    return next
  }
}
