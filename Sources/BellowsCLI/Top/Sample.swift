// One look at a process: its heap, what the kernel holds of it, and what it did since it started.

import Bellows
import CShims
import Glibc

/// The figures of a process at one moment.
struct Sample {
  /// When it was taken, and what the wall clock said.
  var instant: ContinuousClock.Instant
  var seconds: Double
  var heap: HeapSnapshot
  /// What lives there by size; nil where that was not looked at.
  var census: Census.Figures?
  var limits: HeapLimits
  /// The kernel's figures in bytes; nil where it does not say.
  var resident: Int?
  var anonymous: Int?
  var swapped: Int?
  /// Since the process started.
  var faults: Int
  var processorSeconds: Double

}

extension Sample {
  /// Looks at a process.
  init(of reader: HeapReader, withCensus: Bool = false) throws(TargetError) {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    var heap = try reader.snapshot()
    let census = withCensus ? try reader.census(&heap) : nil
    let memory = ResidentMemory(reading: Residence.files, process: "\(reader.target.id)")
    // After the name in parentheses: state, then numbers; minor faults are the 8th, ticks of user and system 12 and 13.
    let line = Residence.files.line("proc/\(reader.target.id)/stat") ?? ""
    let words = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
    func number(_ place: Int) -> Int { place < words.count ? Int(words[place]) ?? 0 : 0 }
    let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
    self.init(
      instant: .now, seconds: Double(now.tv_sec) + Double(now.tv_nsec / 1_000_000) / 1000, heap: heap,
      census: census, limits: try reader.limits(), resident: memory?.residentBytes,
      anonymous: memory?.anonymousBytes, swapped: memory?.swapBytes, faults: number(8) + number(10),
      processorSeconds: Double(number(12) + number(13)) / ticks)
  }

  var onlineBytes: Int { heap.bytes("online") }
  var offlineBytes: Int { heap.bytes("offline") }
  var goingBytes: Int { heap.bytes("going-offline") + heap.bytes("going-online") }
  var usedBytes: Int { heap.hugeBytes + heap.sum { $0.usedBytes } }
  /// Free and not yet returned.
  var dirtyBytes: Int { heap.sum { $0.dirtyBytes } }
  var cagedBytes: Int { heap.sum { $0.cagedBytes } }
  var threadHeaps: Int { heap.heaps.count { $0.thread != 0 } }
}

extension HeapReader {
  /// Counts what lives in the heap by size.
  func census(_ snapshot: inout HeapSnapshot) throws(TargetError) -> Census.Figures {
    let residence = try Residence(of: target.id)
    defer { residence.close() }
    return try census(residence).fill(&snapshot)
  }
}

/// Two looks, for what happened between them.
struct Interval {
  let earlier: Sample?
  let now: Sample

  /// How much a sum grew in a second; nil where there is only one look.
  func rate(_ figure: (Sample) -> Double) -> Double? {
    guard let earlier else { return nil }
    let seconds = (now.instant - earlier.instant) / .seconds(1)
    return seconds > 0 ? (figure(now) - figure(earlier)) / seconds : nil
  }

  func rate(_ figure: (Sample) -> Int) -> Int? {
    rate { Double(figure($0)) }.map { Int($0.rounded()) }
  }

  /// The columns of `bellows stat`.
  static let columns: [Column<Interval>] = [
    Column(name: "TIME", help: "seconds since 1970", isRight: false) { .text(Self.time($0.now.seconds)) },
    Column(name: "RSS", help: "what the kernel holds of the process") {
      $0.now.resident.map { .bytes($0) } ?? .none
    },
    Column(name: "ONLINE", help: "address space of sections in use") { .bytes($0.now.onlineBytes) },
    Column(name: "OFFLINE", help: "address space of sections that went") { .bytes($0.now.offlineBytes) },
    Column(name: "USED", help: "pages that are allocated, huge blocks included") { .bytes($0.now.usedBytes) },
    Column(name: "FREE", help: "free and not yet returned") { .bytes($0.now.dirtyBytes) },
    Column(name: "CAGED", help: "free and out of circulation") { .bytes($0.now.cagedBytes) },
    Column(name: "HUGE", help: "blocks that are mappings of their own") { .bytes($0.now.heap.hugeBytes) },
    Column(name: "THREADS", help: "thread heaps") { .count($0.now.threadHeaps) },
    Column(name: "RETURNED/S", help: "given back to the system, a second") { row in
      row.rate { $0.heap.returnedBytes }.map { .bytes($0) } ?? .none
    },
    Column(name: "FAULTS/S", help: "page faults, a second") { row in
      row.rate { $0.faults }.map { .count($0) } ?? .none
    },
    Column(name: "CPU%", help: "of one processor") { row in
      row.rate { $0.processorSeconds }.map { .count(Int(($0 * 100).rounded())) } ?? .none
    },
  ]

  private static func time(_ seconds: Double) -> String {
    let thousandths = Int((seconds * 1000).rounded())
    let rest = String(thousandths % 1000)
    return "\(thousandths / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
  }

  /// What programs read of it.
  func object(_ process: TargetProcess) -> JSONObject {
    let names = [
      "TIME": "time", "RETURNED/S": "returned_per_second", "FAULTS/S": "faults_per_second",
      "CPU%": "cpu_percent",
    ]
    let head: [(String, Cell)] = [
      ("schema", .count(1)), ("process", .count(Int(process.id))), ("name", .text(process.name)),
      ("consistency", .text(now.heap.consistency.rawValue)),
      ("anonymous", now.anonymous.map { .bytes($0) } ?? .none),
      ("swap", now.swapped.map { .bytes($0) } ?? .none), ("returned", .bytes(now.heap.returnedBytes)),
      ("held", .bytes(now.limits.heldBytes)),
      ("soft_limit", now.limits.softBytes == 0 ? .none : .bytes(now.limits.softBytes)),
      ("hard_limit", now.limits.hardBytes == 0 ? .none : .bytes(now.limits.hardBytes)),
    ]
    return JSONObject(
      head
        + Self.columns.map { column in
          (names[column.name] ?? column.key, column.name == "TIME" ? .number(now.seconds) : column.cell(self))
        })
  }
}
