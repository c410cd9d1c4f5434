import ArgumentParser
import Bellows
import FoundationEssentials
import Glibc

/// `bellows ls`: lists the sections of a live process, or the processes.
struct LsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List the memory of a live process, section by section.",
    usage: "bellows ls [<options>] [<process>]",
    discussion: """
      Looks at a process that runs on Bellows, from outside: the process takes no part in it, may be idle, busy or \
      stopped, and is not slowed down. Equal neighbours are listed as one. Without a process it lists all processes of \
      yours that run on Bellows.

      The kernel decides who may look: the user of the process, and root; where kernel.yama.ptrace_scope is 1, only \
      its parents and root.

      Examples:
        bellows ls                          All processes on Bellows.
        bellows ls redis-server
        bellows ls -a -o +USED,RESIDENT 4711
        bellows ls -o RANGE,STATE,NODE,NODES 4711
        bellows ls -J 4711 | jq '.memory[] | select(.removable)'

      Columns of sections:
      \(LsCommand.help(SectionRow.columns))
      Columns of processes:
      \(LsCommand.help(ProcessRow.columns))
      CAGED is listed without being asked for where a section that is online is offline in part.
      BLOCKERS are counted while the process goes on, so they are exact only where it stands still.

      Exit status:
        0   done
        1   failed, as the message says
        4   the process does not run on Bellows
      """)

  private static func help<Row>(_ columns: [Column<Row>]) -> String {
    columns.map { "  \($0.name)\(String(repeating: " ", count: 11 - $0.name.count))\($0.help)\n" }.joined()
  }

  /// When totals are printed.
  enum SummaryChoice: String, CaseIterable {
    case always, never, only
  }

  @Argument(
    help: ArgumentHelp("Number or name of a process.", valueName: "process"),
    completion: .custom { _, _, _ in ProcessCompletion.words })
  var process: String?

  @Flag(name: .shortAndLong, help: "List each memory block; do not merge equal neighbours.")
  var all = false

  @Flag(name: .shortAndLong, help: "Print sizes in bytes.")
  var bytes = false

  @Flag(name: [.customShort("J"), .long], help: "Print one JSON object, sizes in bytes.")
  var json = false

  @Flag(name: [.customShort("P"), .long], help: "Print NAME=\"value\" pairs, for shells.")
  var pairs = false

  @Flag(name: .shortAndLong, help: "Print values with one blank between them, not aligned.")
  var raw = false

  @Flag(name: .shortAndLong, help: "Print no headings.")
  var noheadings = false

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "List these columns; with + before the list, these and the usual ones.", valueName: "list"))
  var output: String?

  @Flag(help: "List all columns.")
  var outputAll = false

  // Not of the enum's type: the parser would take a word that it does not know for the flag alone.
  @Option(
    name: .customLong("summary"), defaultAsFlag: "only",
    help: ArgumentHelp("Print totals: always, never, or nothing else (only).", valueName: "when"),
    completion: .list(SummaryChoice.allCases.map(\.rawValue)))
  var summaryWord: String? = nil

  private var summary: SummaryChoice? { summaryWord.flatMap { SummaryChoice(rawValue: $0) } }

  @Option(help: ArgumentHelp("List a recorded snapshot.", valueName: "file", visibility: .hidden))
  var snapshot: String?

  @Flag(help: ArgumentHelp("Print a snapshot to record.", visibility: .hidden))
  var record = false

  private var form: TableForm { json ? .json : pairs ? .pairs : raw ? .raw : .text }

  func validate() throws {
    if [json, pairs, raw].filter({ $0 }).count > 1 {
      throw ValidationError("--json, --pairs and --raw exclude each other.")
    }
    if let summaryWord, summary == nil {
      throw ValidationError("--summary takes always, never or only, not '\(summaryWord)'.")
    }
    if output != nil && outputAll { throw ValidationError("--output and --output-all exclude each other.") }
    if process == nil, snapshot == nil {
      _ = try columns(of: ProcessRow.columns, usual: ProcessRow.usual)
    } else {
      _ = try columns(of: SectionRow.columns, usual: SectionRow.usual)
    }
  }

  private func columns<Row>(of all: [Column<Row>], usual: [String]) throws -> [Column<Row>] {
    if outputAll { return all }
    do throws(ColumnChoice<Row>.Unknown) {
      return try ColumnChoice(output, of: all, usual: usual).columns
    } catch {
      throw ValidationError(
        "There is no column \(error.name). Columns: \(all.map(\.name).joined(separator: ", ")).")
    }
  }

  func run() throws {
    try Report.errors {
      if let snapshot {
        let data = try Data(contentsOf: URL(filePath: snapshot))
        try list([JSONDecoder().decode(HeapSnapshot.self, from: data)])
      } else if let process {
        try list(try TargetProcess.find(process).map { try HeapReader($0).snapshot(details) })
      } else {
        try listProcesses()
      }
    }
  }

  private var details: HeapReader.Details {
    let chosen = (try? columns(of: SectionRow.columns, usual: SectionRow.usual).map(\.name)) ?? []
    var details = HeapReader.Details.residence
    if record || chosen.contains("BLOCKERS") { details.insert(.blockers) }
    if record || chosen.contains("NODE") || chosen.contains("NODES") { details.insert(.nodes) }
    return details
  }

  private func list(_ snapshots: [HeapSnapshot]) throws {
    if record {
      for snapshot in snapshots { print(try JSONText.of(snapshot, pretty: false)) }
      return
    }
    let isTerminal = isatty(STDOUT_FILENO) == 1
    for (place, snapshot) in snapshots.enumerated() {
      let chosen = try columns(of: SectionRow.columns, usual: SectionRow.usual(for: snapshot))
      if snapshot.consistency != .whole { StandardError.warning(snapshot.consistency.warning(snapshot)) }
      let table = Table(
        columns: chosen, rows: SectionRow.rows(of: snapshot, merging: !all), inBytes: bytes,
        hasHeadings: !noheadings)
      if json {
        let listing = SectionListing(snapshot: snapshot, table: table, summary: summary)
        print(try JSONText.of(listing, pretty: isTerminal))
        continue
      }
      if snapshots.count > 1 { print("\(place > 0 ? "\n" : "")\(snapshot.name) (\(snapshot.process)):") }
      if summary != .only { table.lines(form).forEach { print($0) } }
      // As lsmem: programs that read pairs or columns get no totals unless they ask.
      if summary == .never || summary == nil && form != .text { continue }
      if summary != .only { print("") }
      ListingSummary(snapshot: snapshot).lines(inBytes: bytes).forEach { print($0) }
    }
  }

  private func listProcesses() throws {
    guard ProcView.isThere else { throw TargetError.noProc }
    let rows = TargetProcess.onBellows().map { ProcessRow($0) }
    let table = Table(
      columns: try columns(of: ProcessRow.columns, usual: ProcessRow.usual), rows: rows, inBytes: bytes,
      hasHeadings: !noheadings)
    if json {
      print(
        try JSONText.of(
          ProcessListing(processes: table.objects), pretty: isatty(STDOUT_FILENO) == 1))
    } else {
      table.lines(form).forEach { print($0) }
    }
  }
}

/// The object that `bellows ls --json PROCESS` prints.
private struct SectionListing: Encodable {
  let schema = 1
  let process: Int32
  let name: String
  let version: String
  let consistency: HeapSnapshot.Consistency
  let memory: [JSONObject]?
  let summary: JSONObject?

  init(snapshot: HeapSnapshot, table: Table<SectionRow>, summary choice: LsCommand.SummaryChoice?) {
    process = snapshot.process
    name = snapshot.name
    version = snapshot.version
    consistency = snapshot.consistency
    memory = choice == .only ? nil : table.objects
    summary = choice == .never ? nil : ListingSummary(snapshot: snapshot).object
  }
}

/// The object that `bellows ls --json` prints.
private struct ProcessListing: Encodable {
  let schema = 1
  let processes: [JSONObject]
}

extension HeapSnapshot.Consistency {
  fileprivate func warning(_ snapshot: HeapSnapshot) -> String {
    switch self {
    case .whole: ""
    case .bySection:
      "process \(snapshot.process) is busy: each section is of one moment, but not all of the same."
    case .midChange:
      """
      process \(snapshot.process) is stopped in the middle of a change: the figures of one pageblock may be off by it.
      """
    }
  }
}
