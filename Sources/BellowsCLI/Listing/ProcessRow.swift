// A row of `bellows ls` without a process: a process that runs on Bellows.

import Bellows

/// A process in a list.
struct ProcessRow {
  let process: TargetProcess
  /// What could be read of its heap, or why not.
  let heap: Result<HeapSnapshot, TargetError>
  let resident: Int?

  init(_ process: TargetProcess) {
    self.process = process
    do throws(TargetError) { heap = .success(try HeapReader(process).snapshot()) } catch {
      heap = .failure(error)
    }
    resident = ResidentMemory(reading: SystemFiles(), process: "\(process.id)")?.residentBytes
  }

  private var snapshot: HeapSnapshot? { try? heap.get() }

  /// One or two words on how it stands with its heap.
  private var note: String {
    switch heap {
    case .success: "ok"
    case .failure(.otherVersion(_, let version, _)): "version \(version)"
    case .failure(.notPermitted): "not permitted"
    case .failure(.noHeap): "no heap"
    case .failure(.changing): "busy"
    case .failure: "unreadable"
    }
  }

  private static func sum(
    _ field: @escaping @Sendable (SectionSnapshot) -> Int?
  ) -> @Sendable (ProcessRow) -> Cell {
    { row in row.snapshot.map { .bytes($0.sections.compactMap(field).reduce(0, +)) } ?? .none }
  }

  static let columns: [Column<ProcessRow>] = [
    Column(name: "PROCESS", help: "number") { .count(Int($0.process.id)) },
    Column(name: "NAME", help: "name", isRight: false) { .text($0.process.name) },
    Column(name: "SECTIONS", help: "number of sections") { row in
      row.snapshot.map { .count($0.sections.count) } ?? .none
    },
    Column(name: "SIZE", help: "address space of its sections", cell: sum { $0.bytes }),
    Column(name: "USED", help: "pages that are allocated, huge blocks included") { row in
      row.snapshot.map { .bytes($0.hugeBytes + $0.sum { $0.usedBytes }) } ?? .none
    },
    Column(name: "RESIDENT", help: "what the kernel holds of its sections", cell: sum { $0.residentBytes }),
    Column(name: "RSS", help: "what the kernel holds of the process") { row in
      row.resident.map { .bytes($0) } ?? .none
    },
    Column(name: "CONTROL", help: "whether it takes commands") {
      .flag(ControlChannel.isOffered(by: $0.process.id))
    },
    Column(name: "HEAP", help: "ok, or why it cannot be read", isRight: false) { .text($0.note) },
  ]

  static let usual = columns.map(\.name)
}
