// What `bellows top` shows, as lines of text: from two looks at a process, the size of the screen and what is chosen.
// No colour carries anything alone: each kind of pageblock has a sign of its own.

import Bellows

/// A screen of figures.
struct TopScreen {
  enum Panel: Int, CaseIterable {
    case sections, sizes, threads
  }

  let process: TargetProcess
  let interval: Interval
  let style: Style
  /// Whether the terminal shows signs beyond ASCII.
  var isUnicode = true
  var columns = 100

  // MARK: The head

  var head: [String] {
    let now = interval.now
    func size(_ bytes: Int?) -> String { bytes.map { Bytes.short($0) } ?? "?" }
    let limits = now.limits
    let limit =
      limits.softBytes == 0 && limits.hardBytes == 0
      ? "none"
      : "\(limits.softBytes == 0 ? "-" : size(limits.softBytes)):\(limits.hardBytes == 0 ? "-" : size(limits.hardBytes))"
    var lines = [
      style.mark("bellows top: \(process.name) (\(process.id)), Bellows \(now.heap.version)", .heading),
      "rss \(size(now.resident))  online \(size(now.onlineBytes))  offline \(size(now.offlineBytes))"
        + (now.goingBytes > 0 ? "  on its way \(size(now.goingBytes))" : "")
        + "  used \(size(now.usedBytes))  free \(size(now.dirtyBytes))  caged \(size(now.cagedBytes))"
        + "  huge \(size(now.heap.hugeBytes))  limit \(limit)",
    ]
    let rates = [
      interval.rate { $0.heap.returnedBytes }.map { "returned \(Bytes.short($0))/s" },
      interval.rate { $0.faults }.map { "faults \($0)/s" },
      interval.rate { $0.processorSeconds }.map { "cpu \(Int(($0 * 100).rounded()))%" },
    ].compactMap { $0 }
    lines.append(
      (rates + [
        "returned \(size(now.heap.returnedBytes)) in all",
        "\(now.threadHeaps) thread heap\(now.threadHeaps == 1 ? "" : "s")",
      ])
      .joined(separator: "  "))
    switch now.heap.consistency {
    case .whole: break
    case .bySection: lines.append("(busy: each section is of one moment, but not all of the same)")
    case .midChange: lines.append("(stopped in the middle of a change)")
    }
    return lines
  }

  // MARK: Panels

  func lines(of panel: Panel) -> [String] {
    switch panel {
    case .sections: sections
    case .sizes: sizes
    case .threads: threads
    }
  }

  /// A row a section, a sign a pageblock.
  private var sections: [String] {
    let heading = "SECTION          STATE           USED  RESIDENT  PAGEBLOCKS"
    return [style.mark(heading, .heading)]
      + interval.now.heap.sections.flatMap { section -> [String] in
        let used = Bytes.short(section.usedBytes)
        let resident = section.residentBytes.map { Bytes.short($0) } ?? "?"
        let start =
          Self.padded("0x" + String(section.base, radix: 16), 15) + "  " + Self.padded(section.state, 13)
          + "  "
          + Self.left(used, 5) + "  " + Self.left(resident, 8) + "  "
        let width = max(16, columns - start.count)
        let signs = section.pageblocks.indices.map { kind(section, $0) }
        return stride(from: 0, to: signs.count, by: width).map { from in
          (from == 0 ? start : String(repeating: " ", count: start.count))
            + colored(signs[from..<min(from + width, signs.count)])
        }
      }
  }

  /// What a pageblock is.
  private enum Kind: Equatable {
    case memmap, offline, caged, untouched, returned, freed
    /// In eighths.
    case used(Int)
  }

  private func kind(_ section: SectionSnapshot, _ index: Int) -> Kind {
    let block = section.pageblocks[index]
    let pages = max(1, section.bytes / 4096 / max(1, section.pageblocks.count))
    if section.state == "offline" { return .offline }
    if index < section.memmapBlocks { return .memmap }
    if block.isCaged, block.used == 0 { return .caged }
    if block.used > 0 { return .used(max(1, (block.used * 8 + pages - 1) / pages)) }
    if index >= section.committedBlocks { return .untouched }
    return block.dirty > 0 || (block.resident ?? 0) > 0 ? .freed : .returned
  }

  private func character(_ kind: Kind) -> Character {
    switch kind {
    case .memmap: return "m"
    case .offline: return "-"
    case .caged: return "x"
    case .untouched: return " "
    case .returned: return "."
    case .freed: return "~"
    case .used(let eighths):
      let bars: [Character] = isUnicode ? Array("▁▂▃▄▅▆▇█") : Array("12345678")
      return bars[min(max(eighths, 1), 8) - 1]
    }
  }

  private func emphasis(_ kind: Kind) -> Style.Emphasis? {
    switch kind {
    case .caged, .offline: .caution
    case .freed: .quiet
    case .used(let eighths): eighths >= 7 ? .bad : .good
    case .memmap, .untouched, .returned: nil
    }
  }

  /// Signs with one mark for each stretch of the same colour.
  private func colored(_ kinds: ArraySlice<Kind>) -> String {
    var line = ""
    var stretch = ""
    var current: Style.Emphasis?
    func flush() {
      line += current.map { style.mark(stretch, $0) } ?? stretch
      stretch = ""
    }
    for kind in kinds {
      let next = emphasis(kind)
      if next != current {
        flush()
        current = next
      }
      stretch.append(character(kind))
    }
    flush()
    return line
  }

  /// The pageblocks of a section, a sign each, in ASCII.
  func signs(of section: SectionSnapshot) -> String {
    let plain = TopScreen(process: process, interval: interval, style: style, isUnicode: false)
    return String(section.pageblocks.indices.map { plain.character(plain.kind(section, $0)) })
  }

  var legend: String {
    let bars = isUnicode ? "▁▂▃▄▅▆▇█" : "12345678"
    return "\(bars) used, in eighths  ~ freed, resident  . returned  x caged  - offline  m memmap"
  }

  /// A row a size class that something lives in.
  private var sizes: [String] {
    guard let census = interval.now.census else { return ["not looked at"] }
    let living = census.classes.filter { $0.shards > 0 }
    let columns: [Column<Census.ClassFigures>] = [
      Column(name: "BLOCK", help: "") { .bytes($0.bytes) },
      Column(name: "BLOCKS", help: "") { .count($0.blocks) },
      Column(name: "SHARDS", help: "") { .count($0.shards) },
      Column(name: "SPAN", help: "") { .bytes($0.spanBytes) },
      Column(name: "FILLED", help: "") {
        .text($0.spanBytes == 0 ? "" : "\($0.blocks * $0.bytes * 100 / $0.spanBytes)%")
      },
    ]
    let table = Table(columns: columns, rows: living).lines
    return [style.mark(table[0], .heading)] + table.dropFirst() + [
      "above 32 KiB: \(census.runs) blocks on \(Bytes.short(census.runBytes)); kept for reuse: "
        + "\(census.keptRuns) on \(Bytes.short(census.keptBytes)); huge: \(interval.now.heap.hugeBlocks)"
    ]
  }

  /// A row a thread heap.
  private var threads: [String] {
    let before = interval.earlier?.heap.heaps ?? []
    let seconds = interval.earlier.map { (interval.now.instant - $0.instant) / .seconds(1) } ?? 0
    let columns: [Column<ThreadHeapSnapshot>] = [
      Column(name: "THREAD", help: "") { $0.thread == 0 ? .text("-") : .count($0.thread) },
      Column(name: "NAME", help: "", isRight: false) { .text($0.name) },
      Column(name: "SLOW CALLS", help: "") { .count($0.slowCalls) },
      Column(name: "A SECOND", help: "") { heap in
        guard seconds > 0, heap.thread != 0, let old = before.first(where: { $0.thread == heap.thread })
        else {
          return .none
        }
        return .count(Int((Double(max(0, heap.slowCalls - old.slowCalls)) / seconds).rounded()))
      },
      Column(name: "KEPT", help: "") { .bytes($0.keptBytes) },
    ]
    let table = Table(columns: columns, rows: interval.now.heap.heaps).lines
    return [style.mark(table[0], .heading)] + table.dropFirst()
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func left(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
