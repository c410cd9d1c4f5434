// A row of `bellows ls`: a section, or several of one kind that lie one behind the other. The columns are a table; what
// can be printed, chosen and merged follows from it.

/// Sections that are listed as one.
struct SectionRow: Equatable {
  var sections: [SectionSnapshot]

  var first: UInt { sections.first?.base ?? 0 }
  var last: UInt { (sections.last?.end ?? 1) - 1 }
  var bytes: Int { sections.reduce(0) { $0 + $1.bytes } }
  func sum(_ field: (SectionSnapshot) -> Int) -> Int { sections.reduce(0) { $0 + field($1) } }
  func sum(_ field: (SectionSnapshot) -> Int?) -> Cell? {
    let values = sections.compactMap(field)
    return values.isEmpty ? nil : .bytes(values.reduce(0, +))
  }

  /// The memory blocks: `3`, `0-2`, or `0,2-4`.
  var blocks: String {
    var ranges: [ClosedRange<Int>] = []
    for block in sections.map(\.block).sorted() {
      if let last = ranges.last, last.upperBound >= block - 1 {
        ranges[ranges.count - 1] = last.lowerBound...max(block, last.upperBound)
      } else {
        ranges.append(block...block)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }

  /// All columns, in the order of `--output-all`.
  static let columns: [Column<SectionRow>] = [
    Column(name: "RANGE", help: "first and last address", isRight: false) { row in
      func hex(_ address: UInt) -> String {
        let digits = String(address, radix: 16)
        return "0x" + String(repeating: "0", count: max(0, 16 - digits.count)) + digits
      }
      return .text("\(hex(row.first))-\(hex(row.last))")
    },
    Column(name: "SIZE", help: "address space") { .bytes($0.bytes) },
    Column(name: "STATE", help: "online, offline, going-online, going-offline") {
      .text($0.sections.first?.state ?? "")
    },
    Column(name: "REMOVABLE", help: "whether nothing lives there") {
      $0.sections.first?.isRemovable.map { .flag($0) } ?? .none
    },
    Column(name: "BLOCK", help: "numbers of the memory blocks") { .text($0.blocks) },
    Column(name: "NODE", help: "NUMA node of most of its pages; - where none is resident") {
      $0.sections.first?.node.map { .count($0) } ?? .unknown
    },
    Column(name: "ZONE", help: "normal or movable; - where it is in none") {
      $0.sections.first?.zone.map { .text($0) } ?? .unknown
    },
    Column(name: "USED", help: "pages that are allocated") { .bytes($0.sum { $0.usedBytes }) },
    Column(name: "RESIDENT", help: "what the kernel holds of it") { $0.sum { $0.residentBytes } ?? .none },
    Column(name: "MEMMAP", help: "page descriptors in it") { .bytes($0.sum { $0.memmapBytes }) },
    Column(name: "CAGED", help: "free and out of circulation") { .bytes($0.sum { $0.cagedBytes }) },
    Column(name: "BLOCKERS", help: "runs and shards that live there") { row in
      let counts = row.sections.compactMap(\.blockers)
      return counts.isEmpty ? .none : .count(counts.reduce(0, +))
    },
    Column(name: "NODES", help: "resident bytes by NUMA node, 0:24M,1:8M", isRight: false) { row in
      var sums: [Int: Int] = [:]
      for share in row.sections.flatMap({ $0.nodes ?? [] }) { sums[share.node, default: 0] += share.bytes }
      return sums.isEmpty ? .unknown : .amounts(sums)
    },
  ]

  /// The columns that are listed if none are chosen.
  static let usual = ["RANGE", "SIZE", "STATE", "REMOVABLE", "BLOCK"]

  /// The same for a process of which sections that are online are offline in part: how much of them that is.
  static func usual(for snapshot: HeapSnapshot) -> [String] {
    snapshot.partlyOfflineBytes > 0 ? usual + ["CAGED"] : usual
  }

  /// Lists a snapshot: each memory block, or equal neighbours as one. Sections of one memory block are one row, where
  /// one row can say it of all of them.
  static func rows(of snapshot: HeapSnapshot, merging: Bool) -> [SectionRow] {
    var rows: [SectionRow] = []
    for section in snapshot.sections {
      if let last = rows.last?.sections.last, merging || last.block == section.block, last.isLike(section),
        last.end == section.base
      {
        rows[rows.count - 1].sections.append(section)
      } else {
        rows.append(SectionRow(sections: [section]))
      }
    }
    return rows
  }
}

extension SectionSnapshot {
  /// Whether two sections differ in nothing that one row could not say of both.
  fileprivate func isLike(_ other: SectionSnapshot) -> Bool {
    state == other.state && isRemovable == other.isRemovable && zone == other.zone && node == other.node
      && memmapBytes == other.memmapBytes
  }
}

/// The columns that a user asks for: a list, or `+` and a list of further ones.
struct ColumnChoice<Row> {
  let columns: [Column<Row>]

  /// The name that is not a column's.
  struct Unknown: Error, Equatable { let name: String }

  init(_ words: String?, of all: [Column<Row>], usual: [String]) throws(Unknown) {
    var names = words == nil || words?.first == "+" ? usual : []
    let given = (words ?? "").drop { $0 == "+" }.split(separator: ",").map { $0.uppercased() }
    names += given.filter { !names.contains($0) }
    var columns: [Column<Row>] = []
    for name in names {
      guard let column = all.first(where: { $0.name == name }) else { throw Unknown(name: name) }
      columns.append(column)
    }
    self.columns = columns
  }
}
