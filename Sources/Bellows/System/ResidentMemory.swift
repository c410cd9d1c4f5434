// /proc/PID/smaps_rollup: what a process really holds. Exact, and dearer than status (the kernel walks the page
// tables: 0.2 to 0.8 ms for a thousand mappings).

/// The resident memory of a process and its parts, in bytes.
package struct ResidentMemory: Hashable, Sendable, Encodable {
  /// All resident memory.
  package let residentBytes: Int
  /// Resident memory with shared pages counted in proportion.
  package let proportionalBytes: Int
  /// Memory that has no file behind it: heaps and stacks.
  package let anonymousBytes: Int
  /// The part of it in transparent huge pages.
  package let anonymousHugeBytes: Int
  /// Freed with MADV_FREE and not yet taken back by the kernel; still counted as resident.
  package let lazyFreeBytes: Int
  /// What is swapped out.
  package let swapBytes: Int
  /// What is locked.
  package let lockedBytes: Int

  /// Parses the text of smaps_rollup; nil where it has no `Rss`.
  package init?(parsing text: String) {
    let fields = KeyedText(parsing: text)
    guard let resident = fields.bytes("Rss") else { return nil }
    residentBytes = resident
    proportionalBytes = fields.bytes("Pss") ?? 0
    anonymousBytes = fields.bytes("Anonymous") ?? 0
    anonymousHugeBytes = fields.bytes("AnonHugePages") ?? 0
    lazyFreeBytes = fields.bytes("LazyFree") ?? 0
    swapBytes = fields.bytes("Swap") ?? 0
    lockedBytes = fields.bytes("Locked") ?? 0
  }

  /// Reads the figures of a process; `process` is a process id or `self`.
  package init?(reading files: SystemFiles, process: String = "self") {
    guard let text = try? files.text("proc/\(process)/smaps_rollup") else { return nil }
    self.init(parsing: text)
  }
}
