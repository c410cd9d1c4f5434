// /proc/meminfo: the memory of the whole machine. In a container these are still the machine's figures; what the
// container may use is in CgroupMemory.

/// What the machine has of memory, swap and commit.
package struct MemoryInfo: Hashable, Sendable, Encodable {
  /// Usable memory, in bytes.
  package let totalBytes: Int
  /// What could be had without swapping, in bytes.
  package let availableBytes: Int
  /// Swap space, in bytes; 0 where there is none.
  package let swapTotalBytes: Int
  /// Swap space that is free, in bytes.
  package let swapFreeBytes: Int
  /// What may be committed under overcommit mode 2, in bytes.
  package let commitLimitBytes: Int
  /// What is committed, in bytes.
  package let committedBytes: Int

  /// Parses the text of /proc/meminfo; nil where it has no `MemTotal`.
  package init?(parsing text: String) {
    let fields = KeyedText(parsing: text)
    guard let total = fields.bytes("MemTotal") else { return nil }
    totalBytes = total
    availableBytes = fields.bytes("MemAvailable") ?? fields.bytes("MemFree") ?? 0
    swapTotalBytes = fields.bytes("SwapTotal") ?? 0
    swapFreeBytes = fields.bytes("SwapFree") ?? 0
    commitLimitBytes = fields.bytes("CommitLimit") ?? 0
    committedBytes = fields.bytes("Committed_AS") ?? 0
  }

  /// Reads /proc/meminfo.
  package init?(reading files: SystemFiles) {
    guard let text = try? files.text("proc/meminfo") else { return nil }
    self.init(parsing: text)
  }
}
