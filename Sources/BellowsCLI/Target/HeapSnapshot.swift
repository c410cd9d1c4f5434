// What a process' heap looked like at one moment, as plain values: what the listings, `stat` and `top` show, and what
// a file of `--snapshot` holds.

/// The heap of a process at one moment.
struct HeapSnapshot: Codable, Equatable {
  /// How the parts of a snapshot belong together.
  enum Consistency: String, Codable {
    /// All of one moment.
    case whole
    /// Each section of one moment, but not all of the same: the process was too busy.
    case bySection
    /// The process is stopped in the middle of a change, so that the figures of one pageblock may be off by it.
    case midChange
  }

  /// Raised when a field changes its meaning or goes away; new fields do not raise it.
  var schema = 1
  var process: Int32
  var name: String
  /// The version of its Bellows.
  var version: String
  var consistency: Consistency
  var sectionBytes: Int
  var pageblockBytes: Int
  /// By address.
  var sections: [SectionSnapshot]
  /// Blocks that are mappings of their own.
  var hugeBlocks: Int
  var hugeBytes: Int
  /// Returned to the system since the start.
  var returnedBytes: Int
  /// Thread heaps, in use first.
  var heaps: [ThreadHeapSnapshot]
}

/// A section at one moment.
struct SectionSnapshot: Codable, Equatable {
  var base: UInt
  var bytes: Int
  /// Its memory block, which may have other sections too.
  var block: Int
  /// One of the words of `SectionState`.
  var state: String
  var zone: String?
  /// The node that most of its resident pages are on; nil where none is resident, or that was not looked at.
  var node: Int?
  /// All nodes that it has pages on.
  var nodes: [NodeShare]?
  /// The address of its page descriptors.
  var memmap: UInt
  /// The end of the words of its runs, which lie in front of its record.
  var runWords: UInt?
  /// Pageblocks at the start that hold its page descriptors; 0 where these are elsewhere.
  var memmapBlocks: Int
  /// Pageblocks from the start that are accessible.
  var committedBlocks: Int
  var pageblocks: [PageblockSnapshot]
}

/// A pageblock at one moment, in pages.
struct PageblockSnapshot: Codable, Equatable {
  /// Pages that are allocated, or that hold page descriptors.
  var used: Int
  /// Free pages that may be resident.
  var dirty: Int
  /// Out of circulation: on its way offline, or there.
  var isCaged = false
  /// What the kernel holds of it; nil where that was not looked at.
  var resident: Int?
  /// What lives in it; nil where that was not looked at.
  var blockers: Int?
}

/// A thread heap at one moment.
struct ThreadHeapSnapshot: Codable, Equatable {
  /// The thread; 0 where it ended and the heap waits for the next one.
  var thread: Int
  var name: String
  /// Calls that were no hits, since the start.
  var slowCalls: Int
  /// Freed runs that it keeps for its next requests.
  var keptBytes: Int
}

extension HeapSnapshot {
  /// Bytes of the sections in a state, one of the words of `SectionState`.
  func bytes(_ state: String) -> Int { sum { $0.state == state ? $0.bytes : 0 } }
  /// What is out of circulation of sections that are online.
  var partlyOfflineBytes: Int { sum { $0.state == "online" ? $0.cagedBytes : 0 } }
  /// A figure of all sections.
  func sum(_ figure: (SectionSnapshot) -> Int) -> Int { sections.reduce(0) { $0 + figure($1) } }
  /// An amount rounded up to sections.
  func wholeSections(_ bytes: Int) -> Int {
    (min(bytes, 1 << 56) + sectionBytes - 1) / sectionBytes * sectionBytes
  }
}

extension SectionSnapshot {
  var end: UInt { base + UInt(bytes) }
  private func sum(_ field: (PageblockSnapshot) -> Int?) -> Int? {
    var total: Int?
    for block in pageblocks { if let value = field(block) { total = (total ?? 0) + value } }
    return total
  }
  /// Bytes of the page descriptors that lie in it.
  var memmapBytes: Int { pageblocks.isEmpty ? 0 : memmapBlocks * (bytes / pageblocks.count) }
  /// Bytes of pages that are allocated.
  var usedBytes: Int { pageblocks.dropFirst(memmapBlocks).reduce(0) { $0 + $1.used } * 4096 }
  var dirtyBytes: Int { (sum { $0.dirty } ?? 0) * 4096 }
  var residentBytes: Int? { sum { $0.resident }.map { $0 * 4096 } }
  /// Free memory that is out of circulation.
  var cagedBytes: Int {
    let pages = pageblocks.isEmpty ? 0 : bytes / 4096 / pageblocks.count
    return pageblocks.reduce(0) { $0 + ($1.isCaged ? pages - $1.used : 0) } * 4096
  }
  var blockers: Int? { sum { $0.blockers } }
  /// Whether nothing lives in it, so that it could go offline at once; nil where it is not online.
  var isRemovable: Bool? { state == "online" ? usedBytes == 0 : nil }
}
