// How the kernel charges address space that is made writable: /proc/sys/vm/overcommit_memory.

/// The kernel's overcommit mode.
package enum Overcommit: Int, Sendable, Encodable {
  /// The kernel refuses only what is obviously too much.
  case heuristic = 0
  /// The kernel refuses nothing.
  case always = 1
  /// The kernel charges everything writable against the commit limit, and ignores MAP_NORESERVE.
  case never = 2

  /// Reads the mode.
  package init?(reading files: SystemFiles) {
    guard let mode = files.integer("proc/sys/vm/overcommit_memory") else { return nil }
    self.init(rawValue: mode)
  }
}
