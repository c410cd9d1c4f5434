// Which pageblocks of Bellows' sections are resident and which are out of circulation, over time: the same records that
// `bellows ls` reads, and for residence what the kernel says.

import Bellows

/// The pageblocks of a heap at some moments.
struct StressHeat {
  /// A pageblock at one moment.
  struct Cell: Equatable {
    /// The resident part, from 0 to 1.
    var resident: Double
    /// Whether it is out of circulation.
    var isCaged: Bool
  }

  private var reader: HeapReader?
  /// The moments, in seconds.
  private(set) var moments: [Double] = []
  /// For each section by its address, its pageblocks moment by moment; empty where it was not there.
  private(set) var sections: [UInt: [[Cell]]] = [:]

  /// The sections in the order in which they came; of those that came together the highest first, as the kernel places
  /// mappings downwards.
  var byAge: [UInt] {
    sections.keys.sorted { (birth($0), ~$0) < (birth($1), ~$1) }
  }

  private func birth(_ address: UInt) -> Int { sections[address]?.firstIndex { !$0.isEmpty } ?? 0 }

  /// Looks at a process; nothing is added where its records cannot be read at this moment.
  mutating func add(process: Int32, seconds: Double) {
    // Where the records are does not change while the process lives.
    reader = reader ?? (try? HeapReader(TargetProcess(id: process, name: "bellows-workload")))
    guard let snapshot = try? reader?.snapshot(HeapReader.Details.residence) else { return }
    add(snapshot, seconds: seconds)
  }

  /// Adds a moment.
  mutating func add(_ snapshot: HeapSnapshot, seconds: Double) {
    let pages = Double(max(1, snapshot.pageblockBytes / 4096))
    for section in snapshot.sections {
      // A section that has just come was not there before.
      var history = sections[section.base] ?? moments.map { _ in [] }
      history.append(
        section.pageblocks.map { block in
          Cell(resident: Double(block.resident ?? 0) / pages, isCaged: block.isCaged)
        })
      sections[section.base] = history
    }
    moments.append(seconds)
    for (address, history) in sections where history.count < moments.count {
      sections[address] = history + [[]]
    }
  }
}
