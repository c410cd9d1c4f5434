// /proc/PID/maps, the parts that placement needs.

/// The mappings of a process.
package struct ProcessMappings: Sendable {
  /// One mapping.
  package struct Mapping: Hashable, Sendable {
    package var range: AddressRange
    /// As the kernel writes them: `rw-p`.
    package var permissions: String
    /// The file or the kernel's name for it (`[heap]`); empty for anonymous memory.
    package var name: String

    /// Whether the memory is the process's own: private, and not the kernel's.
    package var isPrivate: Bool { permissions.hasSuffix("p") && !name.hasPrefix("[v") }
    package var isAnonymous: Bool { name.isEmpty || name == "[heap]" || name.hasPrefix("[anon") }
  }

  package var mappings: [Mapping]

  /// Parses the text of maps.
  package init(parsing text: String) {
    mappings = text.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ", maxSplits: 5)
      let bounds = words.first?.split(separator: "-").compactMap { UInt($0, radix: 16) } ?? []
      // The page that some kernels show above all user addresses is nobody's.
      guard words.count >= 5, bounds.count == 2, bounds[0] < bounds[1], bounds[1] <= 1 << 56 else {
        return nil
      }
      return Mapping(
        range: AddressRange(start: bounds[0], byteCount: .bytes(Int(bounds[1] - bounds[0]))),
        permissions: String(words[1]), name: words.count == 6 ? words[5].trimmed : "")
    }
  }

  /// Reads a process's; nil where there is none.
  package init?(reading files: SystemFiles, process: String = "self") {
    guard let text = try? files.text("proc/\(process)/maps") else { return nil }
    self.init(parsing: text)
  }
}
