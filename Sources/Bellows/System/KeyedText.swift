// `Key:   value kB`, the format of /proc/meminfo, of a node's meminfo, of /proc/PID/status and of smaps_rollup. The
// order and number of keys differ from kernel to kernel, so everything is looked up by name and may be absent.

/// The fields of a text with one `Key: value` a line.
package struct KeyedText: Hashable, Sendable {
  /// The values by key, without blanks around them.
  package let fields: [String: String]

  /// Parses lines of `Key: value`.
  ///
  /// What stands before the key is dropped (a node's meminfo writes `Node 0 MemTotal:`).
  package init(parsing text: String) {
    var fields: [String: String] = [:]
    for line in text.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":"), let key = line[..<colon].split(separator: " ").last else {
        continue
      }
      fields[String(key)] = line[line.index(after: colon)...].trimmed
    }
    self.fields = fields
  }

  /// Returns a field in bytes (the kernel's `kB` are 1024 bytes), or nil where it is absent or no amount.
  package func bytes(_ key: String) -> Int? {
    guard let words = fields[key]?.split(separator: " "), let first = words.first, let amount = Int(first)
    else {
      return nil
    }
    guard words.count > 1 else { return amount }
    guard words[1] == "kB" else { return nil }
    let (bytes, overflow) = amount.multipliedReportingOverflow(by: 1024)
    return overflow ? nil : bytes
  }

  /// Returns a field that is a plain number, or nil.
  package func integer(_ key: String) -> Int? {
    fields[key].flatMap { Int($0) }
  }
}
