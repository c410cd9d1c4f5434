import ArgumentParser
import Bellows
import BellowsPlot
import Glibc
import SystemPackage

/// `bellows stress`: runs a scenario under several allocators and shows what they do with memory.
struct StressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stress",
    abstract: "Run a scenario under several allocators; watch RSS from outside.",
    discussion: """
      Each allocator gets a process of its own that does the same: the workload program, with the allocator preloaded. \
      Resident memory, page faults and processor time are the kernel's figures. Prints a table; --html and --svg draw \
      memory over time, latencies, and the sections of Bellows.

      Examples:
        bellows stress --list
        bellows stress spike
        bellows stress sparse --allocator jemalloc --html sparse.html
        bellows stress server --threads 8 --seconds 30 --live 1G
        bellows stress spike --allocator ./libmine.so --verify
        bellows stress spike --assert 'rss - base < 64MiB @ +2s'
        bellows stress replay --trace service.trace

      A bound compares figures of every sample: `rss - base < 1.3 * live @ +2s`. After @ stands from when on it has to \
      hold: start, end, 2s, 50%, an event, an event +2s, or +2s, which counts from the scenario's turn (--list); \
      `FROM..TO` ends it. --list has the figures.

      Exit status:
        0   the scenario was run, and the bounds of --assert held
        1   a run failed: a crash, changed contents, no such library
        6   a bound of --assert did not hold
      """)

  @Argument(
    help: ArgumentHelp("What to do; --list shows the scenarios.", valueName: "scenario"),
    completion: .list(StressScenario.all.map(\.name)))
  var scenario: String?

  @Flag(help: "List the scenarios with what they hold good allocators to, and the figures of bounds.")
  var list = false

  @Option(
    help: ArgumentHelp(
      "bellows, glibc, jemalloc, mimalloc, tcmalloc, a library's path, or NAME=PATH. May be repeated; the first is what the others are compared with. (default: bellows, glibc)",
      valueName: "allocator"), completion: .list(["bellows", "glibc", "jemalloc", "mimalloc", "tcmalloc"]))
  var allocator: [String] = []

  @Option(help: "How long the scenario takes under each allocator, in seconds.")
  var seconds = 10.0

  @Option(help: "How many threads allocate. (default: the scenario's)")
  var threads: Int?

  @Option(help: "Where random numbers begin: one seed, one sequence of sizes.")
  var seed: UInt64 = 1

  @Option(
    help: ArgumentHelp(
      "How many bytes live at the highest point. (default: the scenario's)", valueName: "size"))
  var live: ByteCount?

  @Option(
    help: ArgumentHelp(
      "The sizes of blocks, for example 16B..4K. (default: the scenario's)", valueName: "from..to"))
  var sizes: SizeRange?

  @Option(
    help: ArgumentHelp(
      "How many of a hundred blocks survive, where some do. (default: the scenario's)", valueName: "percent"))
  var survivors: Int?

  @Flag(help: "Write and check all bytes of every block, not only its ends and one word a page.")
  var verify = false

  @Option(help: ArgumentHelp("What has to hold; may be repeated.", valueName: "bound"))
  var assert: [String] = []

  @Option(help: ArgumentHelp("The recording to replay.", valueName: "file"), completion: .file())
  var trace: String?

  @Option(help: ArgumentHelp("The time between two samples.", valueName: "ms"))
  var interval = 50

  @Option(
    help: ArgumentHelp(
      "Write all figures and samples as JSON, with --list the scenarios; - is stdout.", valueName: "file"),
    completion: .file())
  var json: String?

  @Option(
    help: ArgumentHelp("Write one page with charts, tables and data.", valueName: "file"), completion: .file()
  )
  var html: String?

  @Option(help: ArgumentHelp("Write the charts as one drawing.", valueName: "file"), completion: .file())
  var svg: String?

  @OptionGroup var library: LibraryOption

  @Option(help: ArgumentHelp("When to use colour: auto, always, never.", valueName: "when"))
  var color: ColorChoice = .auto

  func validate() throws {
    if list { return }
    guard let scenario else { throw ValidationError("Which scenario? `bellows stress --list` shows them.") }
    guard let found = StressScenario.named(scenario) else {
      throw ValidationError(
        "There is no scenario '\(scenario)'. There are: \(StressScenario.all.map(\.name).joined(separator: ", "))."
      )
    }
    func must(_ holds: Bool, _ message: String) throws { if !holds { throw ValidationError(message) } }
    try must(seconds >= 0.1 && seconds <= 86400, "--seconds takes 0.1 to 86400.")
    try must(
      (threads ?? found.fewestThreads) >= found.fewestThreads && (threads ?? 1) <= 60,
      "--threads takes \(found.fewestThreads) to 60 for \(scenario).")
    try must((live?.bytes ?? 1 << 20) >= 1 << 16, "--live takes at least 64K.")
    try must((0...100).contains(survivors ?? 0), "--survivors takes 0 to 100.")
    try must((1...10000).contains(interval), "--interval takes 1 to 10000 milliseconds.")
    try must(
      (found.need == .trace) == (trace != nil),
      found.need == .trace
        ? "replay needs --trace FILE, which `bellows record` writes."
        : "--trace goes with the scenario replay.")
    for text in assert {
      do throws(Bound.Mistake) { _ = try Bound(parsing: text) } catch {
        throw ValidationError("--assert: \(error.shown(in: text))")
      }
    }
  }

  func run() throws {
    let environment = Launch.environment
    let style = Style(color, environment: environment, isTerminal: isatty(STDOUT_FILENO) == 1)
    guard !list, let scenario = scenario.flatMap(StressScenario.named) else {
      guard let json else { return print(StressListing.text(style)) }
      do throws(StressFailure) {
        return try StressFile.write(try StressListing.json() + "\n", to: json)
      } catch {
        StandardError.error(error.message)
        throw ExitCode(StressReport.Status.failed.rawValue)
      }
    }
    let report: StressReport
    do throws(StressFailure) {
      report = try measure(scenario, environment)
    } catch {
      StandardError.error(error.message)
      throw ExitCode(StressReport.Status.failed.rawValue)
    }
    try write(report, style)
    for judgement in report.judgements where judgement.isAsked {
      if case .failure(let reason) = judgement.result {
        StandardError.error("\(judgement.allocator): \(reason.message).")
      }
    }
    if report.status != .held { throw ExitCode(report.status.rawValue) }
  }

  /// What the options and the scenario come to.
  func settings(for scenario: StressScenario) -> StressSettings {
    let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return StressSettings(
      seconds: seconds,
      threads: threads ?? scenario.threads ?? max(scenario.fewestThreads, min(4, max(2, processors))),
      seed: seed, liveBytes: live?.bytes ?? scenario.live,
      leastBytes: sizes?.least ?? scenario.sizes.lowerBound,
      mostBytes: sizes?.most ?? scenario.sizes.upperBound, survivorPercent: survivors ?? scenario.survivors,
      verify: verify, intervalMilliseconds: interval)
  }

  private func measure(_ scenario: StressScenario, _ environment: [String: String]) throws(StressFailure)
    -> StressReport
  {
    let names = allocator.isEmpty ? ["bellows", "glibc"] : allocator
    var allocators: [StressAllocator] = []
    for name in names {
      do throws(StressAllocator.Failure) {
        allocators.append(try StressAllocator.find(name, library: library, environment: environment))
      } catch { throw StressFailure(message: error.message) }
    }
    let program = try Companion.workload.find(environment)
    var settings = settings(for: scenario)
    var prepared: PreparedTrace?
    if let trace {
      let plan = try PreparedTrace(reading: trace)
      settings.threads = plan.lanes
      prepared = plan
    }
    defer { prepared?.remove() }
    var runs: [StressRun] = []
    for allocator in allocators {
      let progress = StressProgress(
        scenario: scenario.name, allocator: allocator.name, seconds: settings.seconds)
      let runner = StressRunner(
        scenario: scenario, settings: settings, program: program, trace: prepared?.path,
        environment: environment,
        progress: progress.show)
      do throws(Errno) {
        let run = try runner.run(allocator)
        progress.end()
        if let failure = run.failure {
          StandardError.error("\(scenario.name) under \(allocator.name): \(failure).")
        }
        runs.append(run)
      } catch { throw StressFailure(message: "\(program) could not be run: \(error).") }
    }
    let asked = assert.compactMap { try? Bound(parsing: $0) }
    var report = StressReport(
      scenario: scenario, settings: settings, command: CommandLine.arguments.shellWords, runs: runs,
      asked: asked)
    report.origin = prepared?.origin ?? ""
    return report
  }

  private func write(_ report: StressReport, _ style: Style) throws {
    do {
      let json = try JSONText.of(StressJSON(report), pretty: false)
      if let file = self.json { try StressFile.write(json + "\n", to: file) }
      let figure = report.figure(data: json)
      if let svg { try StressFile.write(figure.svg, to: svg) }
      if let html {
        let page = Page(
          figure: figure, tables: [report.table, report.boundTable].filter { !$0.rows.isEmpty },
          remarks: report.remarks)
        try StressFile.write(page.html, to: html)
      }
    } catch let error as StressFailure {
      StandardError.error(error.message)
      throw ExitCode(StressReport.Status.failed.rawValue)
    }
    // The data alone, where stdout is for the data.
    if json != "-" { print(StressText.text(report, style)) }
  }
}

/// Why `stress` or `record` could not do its work.
struct StressFailure: Error, Equatable {
  /// What is wrong and what to do about it.
  let message: String
}
