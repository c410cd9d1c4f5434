// /proc/PID/numa_maps: one line a mapping, with the policy and the resident pages by node. Exact at the moment when a mapping
// is walked. It has only the starts of mappings, so it is read together with /proc/PID/maps.

/// The mappings of a process with their policies and their pages by node.
package struct NumaMaps: Sendable {
  /// One mapping.
  package struct Mapping: Hashable, Sendable {
    /// The first address.
    package var start: UInt
    /// The policy in the kernel's words: `default`, `bind:1`, `prefer (many):0-2`.
    package var policy: String
    /// The file, or nil for anonymous memory.
    package var file: String?
    /// `heap` or `stack`, or nil.
    package var role: String?
    /// Bytes of each page in `placement`: 4096, or a hugetlb page's.
    package var pageBytes: Int
    /// Resident pages by node, shared ones and those of files included.
    package var pages: [NodeNumber: Int]
  }

  package var mappings: [Mapping]

  /// Parses the text of numa_maps. Lines that are none are left out.
  package init(parsing text: String) {
    mappings = text.split(separator: "\n").compactMap { line in
      let words = Self.words(line)
      guard words.count >= 2, let start = UInt(words[0], radix: 16) else { return nil }
      var mapping = Mapping(start: start, policy: String(words[1]), pageBytes: 4096, pages: [:])
      for word in words.dropFirst(2) {
        let parts = word.split(separator: "=", maxSplits: 1)
        switch (parts.first, parts.count) {
        case ("heap", 1), ("stack", 1): mapping.role = String(word)
        case ("file", 2): mapping.file = String(parts[1])
        case ("kernelpagesize_kB", 2): mapping.pageBytes = (Int(parts[1]) ?? 4) * 1024
        case (let key?, 2) where key.hasPrefix("N"):
          if let node = Int(key.dropFirst()), let count = Int(parts[1]) {
            mapping.pages[NodeNumber(rawValue: node)] = count
          }
        default: break
        }
      }
      return mapping
    }
  }

  /// Reads a process's; `process` is a process id or `self`. Nil where there is none or the kernel forbids it.
  package init?(reading files: SystemFiles, process: String = "self") {
    guard let text = try? files.text("proc/\(process)/numa_maps") else { return nil }
    self.init(parsing: text)
  }

  /// Splits at blanks, but `prefer (many):1` is one word.
  private static func words(_ line: Substring) -> [Substring] {
    guard let many = line.firstRange(of: " (many)") else { return line.split(separator: " ") }
    let after = line[many.upperBound...]
    let rest = after.prefix { $0 != " " }
    guard let first = line.split(separator: " ", maxSplits: 1).first, first.endIndex < many.lowerBound else {
      return []
    }
    let policy = line[line.index(after: first.endIndex)..<rest.endIndex]
    return [first, policy] + line[rest.endIndex...].split(separator: " ")
  }

  /// Bytes by node of the mappings that a filter lets through.
  package func bytes(where isCounted: (Mapping) -> Bool = { _ in true }) -> [NodeNumber: Int] {
    var sum: [NodeNumber: Int] = [:]
    for mapping in mappings where isCounted(mapping) {
      for (node, count) in mapping.pages { sum[node, default: 0] += count * mapping.pageBytes }
    }
    return sum
  }
}
