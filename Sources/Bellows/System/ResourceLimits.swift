// /proc/PID/limits. Read from there rather than by getrlimit, so that it works for other processes too.

/// The resource limits of a process that bear on memory.
package struct ResourceLimits: Hashable, Sendable, Encodable {
  /// One limit, in bytes; nil stands for unlimited.
  package struct Limit: Hashable, Sendable, Encodable {
    /// What holds now.
    package let softBytes: Int?
    /// What the process may raise it to.
    package let hardBytes: Int?
  }

  /// RLIMIT_AS: address space, reserved or not.
  package let addressSpace: Limit
  /// RLIMIT_DATA: private writable memory.
  package let data: Limit
  /// RLIMIT_MEMLOCK: locked memory.
  package let lockedMemory: Limit
  /// RLIMIT_STACK: the main thread's stack, and the default of others.
  package let stack: Limit

  /// Parses the text of /proc/PID/limits; nil where one of the four is missing.
  package init?(parsing text: String) {
    func limit(_ name: String) -> Limit? {
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name) }) else { return nil }
      let values = line.dropFirst(name.count).split(separator: " ")
      guard values.count >= 2 else { return nil }
      return Limit(softBytes: Int(values[0]), hardBytes: Int(values[1]))
    }
    guard let addressSpace = limit("Max address space"), let data = limit("Max data size"),
      let lockedMemory = limit("Max locked memory"), let stack = limit("Max stack size")
    else { return nil }
    self.addressSpace = addressSpace
    self.data = data
    self.lockedMemory = lockedMemory
    self.stack = stack
  }

  /// Reads the limits of a process; `process` is a process id or `self`.
  package init?(reading files: SystemFiles, process: String = "self") {
    guard let text = try? files.text("proc/\(process)/limits") else { return nil }
    self.init(parsing: text)
  }
}
