// What came of all runs: the verdicts, the table, and the exit status.

import Bellows
import BellowsPlot
import Glibc

/// Runs of one scenario under several allocators.
struct StressReport {
  /// The exit statuses of `stress`.
  enum Status: Int32 {
    /// All bounds held.
    case held = 0
    /// A run failed, or a bound could not be judged.
    case failed = 1
    /// A bound that was asked for did not hold.
    case broken = 6
  }

  /// A bound and what came of it under one allocator.
  struct Judgement: Equatable {
    /// The allocator.
    let allocator: String
    /// Whether the bound was asked for; else it is the scenario's own and tells without a consequence.
    let isAsked: Bool
    /// What came of it, or why it could not be judged.
    let result: Result<Bound.Verdict, Bound.Unanswered>
  }

  let scenario: StressScenario
  let settings: StressSettings
  /// What was replayed, in words; empty for other scenarios.
  var origin = ""
  let command: String
  let runs: [StressRun]
  let judgements: [Judgement]

  /// Judges runs by the bounds that were asked for, or by the scenario's own.
  init(scenario: StressScenario, settings: StressSettings, command: String, runs: [StressRun], asked: [Bound])
  {
    (self.scenario, self.settings, self.command, self.runs) = (scenario, settings, command, runs)
    let own = scenario.bounds.compactMap { try? Bound(parsing: $0) }
    judgements = runs.filter { $0.failure == nil && !$0.isMissing }.flatMap { run in
      (asked.isEmpty ? own : asked).map { bound in
        let result: Result<Bound.Verdict, Bound.Unanswered>
        do throws(Bound.Unanswered) {
          result = .success(try bound.verdict(run, turn: scenario.turn))
        } catch { result = .failure(error) }
        return Judgement(allocator: run.allocator.name, isAsked: !asked.isEmpty, result: result)
      }
    }
  }

  /// The exit status.
  var status: Status {
    if runs.isEmpty || runs.contains(where: { $0.failure != nil }) { return .failed }
    var status = Status.held
    for judgement in judgements where judgement.isAsked {
      switch judgement.result {
      case .failure: return .failed
      case .success(let verdict): if !verdict.held { status = .broken }
      }
    }
    return status
  }

  /// What is told of an allocator in one word, and whether it is bad.
  func word(for run: StressRun) -> (String, isBad: Bool) {
    if run.failure != nil { return ("failed", true) }
    if run.isMissing { return ("not offered", false) }
    let mine = judgements.filter { $0.allocator == run.allocator.name }
    if mine.contains(where: { if case .failure = $0.result { true } else { false } }) {
      return ("not judged", true)
    }
    let held = mine.allSatisfy { if case .success(let verdict) = $0.result { verdict.held } else { false } }
    return held ? ("held", false) : ("broken", true)
  }

  /// The figures, one row for each allocator; ratios are to the first one.
  var table: Sheet {
    let first = runs.first
    func ratio(_ value: Double, _ of: (StressRun) -> Double) -> String {
      guard let first, runs.count > 1 else { return "" }
      let base = of(first)
      return base > 0 && value.isFinite ? " (\(Number.fixed(value / base, decimals: 2)))" : ""
    }
    func bytes(_ run: StressRun, _ of: (StressRun) -> Int) -> Sheet.Cell {
      .init(Unit.bytes.text(Double(of(run))) + ratio(Double(of(run))) { Double(of($0)) })
    }
    func time(_ run: StressRun, _ percent: Double) -> Sheet.Cell {
      .init(Unit.nanoseconds.text(run.percentile(percent)))
    }
    return Sheet(
      columns: [
        "allocator", "peak RSS", "RSS at end", "live at end", "CPU", "faults", "ops/s", "p50", "p99", "p99.9",
        "max", "bounds",
      ],
      rows: runs.map { run in
        let (word, isBad) = word(for: run)
        let name = Sheet.Cell(run.allocator.name, isFigure: false)
        guard !run.samples.isEmpty else {
          return [name] + (0..<10).map { _ in .init("–") } + [.init(word, isFigure: false, isBad: isBad)]
        }
        let cpu = run.totals.userSeconds + run.totals.systemSeconds
        return [
          name, bytes(run) { $0.peak }, bytes(run) { $0.samples.last?.rss ?? 0 },
          .init(Unit.bytes.text(Double(run.samples.last?.live ?? 0))),
          .init("\(Number.fixed(cpu, decimals: 2)) s"),
          .init(Unit.count.text(Double(run.totals.minorFaults + run.totals.majorFaults))),
          .init(Unit.count.text(run.rate) + ratio(run.rate) { $0.rate }), time(run, 50), time(run, 99),
          time(run, 99.9),
          .init(Unit.nanoseconds.text(Double(run.longest))), .init(word, isFigure: false, isBad: isBad),
        ]
      })
  }

  /// The bounds, one row for each allocator and bound.
  var boundTable: Sheet {
    Sheet(
      columns: ["allocator", "bound", "nearest", "is", "may be", "verdict"],
      rows: judgements.map { judgement in
        let name = Sheet.Cell(judgement.allocator, isFigure: false)
        switch judgement.result {
        case .failure(let reason):
          return [
            name, .init(reason.message, isFigure: false), .init(""), .init(""), .init(""),
            .init("not judged", isFigure: false, isBad: true),
          ]
        case .success(let verdict):
          let text = Self.unit(of: verdict.bound)
          return [
            name, .init(verdict.bound, isFigure: false),
            .init("\(Number.fixed(verdict.seconds, decimals: 2)) s"),
            .init(text(verdict.left)), .init(text(verdict.right)),
            .init(verdict.held ? "held" : "broken", isFigure: false, isBad: !verdict.held),
          ]
        }
      })
  }

  /// How the sides of a bound read: as bytes where memory is compared.
  private static func unit(of bound: String) -> (Double) -> String {
    guard let parsed = try? Bound(parsing: bound), parsed.left.isBytes else { return { Number.brief($0) } }
    return { Unit.bytes.text($0) }
  }

  /// Sentences on how it was measured.
  var remarks: [String] {
    var sentences = [
      "Resident memory is Rss of /proc/PID/smaps_rollup, read from outside every \(settings.intervalMilliseconds) ms; the peak is the kernel's own mark. "
        + "It includes the workload program itself (\(runs.map { "\($0.allocator.name) \(Unit.bytes.text(Double($0.base)))" }.joined(separator: ", "))), measured before the first block."
    ]
    let costs = runs.filter { !$0.samples.isEmpty }.map { run in
      "\(run.allocator.name) \(Unit.nanoseconds.text(run.cost.total / Double(run.samples.count) * 1e9)) each"
    }
    sentences.append(
      "Processor time of reading a sample: \(costs.joined(separator: ", ")). The kernel walks the page tables for that, and mappings of the program wait meanwhile."
    )
    let clock = runs.map(\.clockCost).max() ?? 0
    sentences.append(
      "One operation in eight is timed, the call alone; reading the clock takes \(clock) ns of each latency. The longest is the longest of those timed."
    )
    sentences += substitutes
    if let agreement { sentences.append(agreement) }
    sentences.append("One run each, one after the other; rates and latencies differ from run to run.")
    return sentences
  }

  /// Which allocators went without what the scenario is about, and what stood in for it.
  var substitutes: [String] {
    func names(_ runs: [StressRun]) -> String { runs.map(\.allocator.name).joined(separator: ", ") }
    let missing = runs.filter { $0.failure == nil && $0.isMissing }
    let replaced = runs.filter { $0.failure == nil && $0.isReplaced }
    var sentences: [String] = []
    if !missing.isEmpty {
      sentences.append(
        "\(names(missing)): no \(scenario.subject ?? "such function") there, so the load ran without it and is not judged."
      )
    }
    if !replaced.isEmpty {
      sentences.append(
        "\(names(replaced)): no \(scenario.subject ?? "such function") there; \(scenario.substitute ?? "the system's") stood in."
      )
    }
    return sentences
  }

  /// How Bellows' own counters compare with what the kernel says.
  var agreement: String? {
    guard let run = runs.first(where: { $0.samples.contains { $0.bellows != nil } }) else { return nil }
    // Where memory changes, the two are read at different moments: only samples that are like the one before count.
    let gaps = zip(run.samples, run.samples.dropFirst()).compactMap {
      before, sample -> (gap: Int, seconds: Double)? in
      guard let held = sample.bellows?.held, let past = before.bellows?.held,
        abs(held - past) < 1 << 20, abs(sample.anonymous - before.anonymous) < 1 << 20
      else { return nil }
      return (held - max(0, sample.anonymous - run.anonymousBase), sample.seconds)
    }
    guard let most = gaps.max(by: { abs($0.gap) < abs($1.gap) }) else { return nil }
    return
      "Where memory is steady, Bellows' own counters (pages in use, free pages, descriptors) and the kernel's anonymous "
      + "memory above the base differ by at most \(Unit.bytes.text(Double(abs(most.gap)))), at "
      + "\(Number.fixed(most.seconds, decimals: 2)) s: descriptors and pages in use that were not touched yet."
  }
}

extension Bound.Expression {
  /// Whether the value is an amount of memory.
  var isBytes: Bool {
    switch self {
    case .number: false
    case .variable(let variable): [.rss, .anon, .huge, .swap, .live, .base, .peak].contains(variable)
    case .function(_, let inner), .negated(let inner): inner.isBytes
    case .sum(let a, let b), .difference(let a, let b): a.isBytes || b.isBytes
    case .product(let a, let b): a.isBytes != b.isBytes
    case .quotient(let a, let b): a.isBytes && !b.isBytes
    }
  }
}
