// Transparent huge pages: /sys/kernel/mm/transparent_hugepage. Files there list all words and bracket the one that
// holds: `always [madvise] never`. Since Linux 6.8 every smaller size has a directory and a word of its own (mTHP).

/// How the kernel hands out transparent huge pages.
package struct HugePageSettings: Hashable, Sendable, Encodable {
  /// When huge pages are used.
  package enum Mode: String, Sendable, Encodable {
    /// Wherever they fit.
    case always
    /// Where a program asked by madvise.
    case madvise
    /// Nowhere.
    case never
    /// As the setting for all sizes says.
    case inherit
  }

  /// One size of huge page.
  package struct Size: Hashable, Sendable, Encodable {
    /// The size, in bytes.
    package let pageBytes: Int
    /// Its own mode.
    package let mode: Mode
  }

  /// The setting for all sizes.
  package let mode: Mode
  /// The kernel's word for how hard it tries at a fault, for example `madvise`.
  package let defrag: String?
  /// The size that one page-table entry of the middle level maps, in bytes.
  package let hugePageBytes: Int?
  /// The sizes with a setting of their own, smallest first; empty before Linux 6.8.
  package let sizes: [Size]

  /// Reads the settings; nil where the kernel has no transparent huge pages.
  package init?(reading files: SystemFiles) {
    let folder = "sys/kernel/mm/transparent_hugepage"
    guard let mode = files.line("\(folder)/enabled").flatMap(Self.chosenWord).flatMap(Mode.init) else {
      return nil
    }
    self.mode = mode
    defrag = files.line("\(folder)/defrag").flatMap(Self.chosenWord)
    hugePageBytes = files.integer("\(folder)/hpage_pmd_size")
    sizes = files.names(in: folder)
      .compactMap { name in
        guard name.hasPrefix("hugepages-"), name.hasSuffix("kB"),
          let kibibytes = Int(name.dropFirst("hugepages-".count).dropLast(2)),
          let mode = files.line("\(folder)/\(name)/enabled").flatMap(Self.chosenWord).flatMap(Mode.init)
        else { return nil }
        return Size(pageBytes: kibibytes * 1024, mode: mode)
      }
      .sorted { $0.pageBytes < $1.pageBytes }
  }

  /// Returns the word in brackets.
  static func chosenWord(in line: String) -> String? {
    guard let open = line.firstIndex(of: "["), let close = line[open...].firstIndex(of: "]") else {
      return nil
    }
    return String(line[line.index(after: open)..<close])
  }
}
