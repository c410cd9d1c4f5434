// Bounds that a run has to hold: `rss - base < 1.3 * live @ +2s`. A comparison of two expressions, and when it has to
// hold. The parser names the place of a mistake; evaluation is over the samples of a run.
//
//   bound      = expression ( "<" | "<=" | ">" | ">=" ) expression [ "@" window ]
//   expression = term { ( "+" | "-" ) term }
//   term       = factor { ( "*" | "/" ) factor }
//   factor     = number | variable | function "(" expression ")" | "(" expression ")" | "-" factor
//   window     = moment [ ".." moment ]          without the second: to the end; `end` alone: the last sample
//   moment     = "start" | "end" | number "%" | number "s" | "+" number "s" | event [ "+" number "s" ]

/// Something that has to hold in a run.
struct Bound: Equatable, Sendable {
  /// How two sides are compared.
  enum Comparison: String, Sendable {
    case less = "<"
    case lessOrEqual = "<="
    case more = ">"
    case moreOrEqual = ">="

    func holds(_ left: Double, _ right: Double) -> Bool {
      switch self {
      case .less: left < right
      case .lessOrEqual: left <= right
      case .more: left > right
      case .moreOrEqual: left >= right
      }
    }
  }

  /// An arithmetic expression.
  indirect enum Expression: Equatable, Sendable {
    case number(Double)
    case variable(Variable)
    case function(Function, Expression)
    case negated(Expression)
    case sum(Expression, Expression)
    case difference(Expression, Expression)
    case product(Expression, Expression)
    case quotient(Expression, Expression)
  }

  /// A figure of a run; the first ones change from sample to sample.
  enum Variable: String, CaseIterable, Sendable {
    case rss, anon, huge, swap, live, time, cpu, faults, operations
    case base, peak, rate, p50, p99, p999, longest, refused, lost

    /// What it is.
    var meaning: String {
      switch self {
      case .rss: "resident memory, bytes"
      case .anon: "the part of it without a file"
      case .huge: "the part of it in huge pages"
      case .swap: "swapped out, bytes"
      case .live: "asked for and not given back, bytes"
      case .time: "seconds since the start"
      case .cpu: "processor time so far, seconds"
      case .faults: "page faults so far"
      case .operations: "operations so far"
      case .base: "resident before the first block, bytes"
      case .peak: "the kernel's high-water mark, bytes"
      case .rate: "operations per second of the run"
      case .p50: "median latency, seconds"
      case .p99: "99th percentile, seconds"
      case .p999: "99.9th percentile, seconds"
      case .longest: "the longest operation, seconds"
      case .refused: "times that malloc returned NULL"
      case .lost: "children that hung or died"
      }
    }
  }

  /// A figure over all samples of a run.
  enum Function: String, CaseIterable, Sendable {
    case max, min, mean, first, last
  }

  /// A moment of a run.
  enum Moment: Equatable, Sendable {
    case start
    case end
    /// A part of the whole length.
    case part(Double)
    /// Seconds since the start.
    case seconds(Double)
    /// Seconds after the scenario's turn.
    case afterTurn(Double)
    /// Seconds after the last event with this label.
    case event(String, Double)
  }

  /// What was written.
  let text: String
  let left: Expression
  let comparison: Comparison
  let right: Expression
  let from: Moment
  let to: Moment

  /// Why a text is no bound, with the place of the mistake.
  struct Mistake: Error, Equatable {
    /// What is wrong.
    let message: String
    /// How many characters come before it.
    let offset: Int

    /// The text with a mark below the mistake.
    func shown(in text: String) -> String {
      "\(message)\n  \(text)\n  \(String(repeating: " ", count: offset))^"
    }
  }

  /// Why a bound cannot be judged in a run.
  struct Unanswered: Error, Equatable {
    /// What is missing.
    let message: String
  }

  /// What came of a bound.
  struct Verdict: Equatable {
    /// What was written.
    let bound: String
    /// Whether it held in every sample of its window.
    let held: Bool
    /// The sample that was nearest to breaking it, or broke it most: seconds, and both sides.
    let seconds: Double
    let left: Double
    let right: Double
    /// The number of samples that were judged.
    let samples: Int
  }

  /// Judges a run.
  func verdict(_ run: StressRun, turn: String?) throws(Unanswered) -> Verdict {
    let (begin, end) = (try seconds(of: from, in: run, turn: turn), try seconds(of: to, in: run, turn: turn))
    var window = run.samples.filter { $0.seconds >= begin && $0.seconds <= end + 1e-9 }
    // The end is the last sample, whenever it came.
    if window.isEmpty, to == .end, from == .end, let last = run.samples.last { window = [last] }
    guard !window.isEmpty else {
      throw Unanswered(
        message:
          "'\(text)' has no sample to judge: none between \(Self.shown(begin)) s and \(Self.shown(end)) s "
          + "of a run of \(Self.shown(run.seconds)) s")
    }
    var worst: (sample: StressRun.Sample, left: Double, right: Double, margin: Double)?
    for sample in window {
      let (l, r) = (value(left, sample, run), value(right, sample, run))
      // How far the bound is from breaking, as a part of its size; not a number breaks it.
      let gap = comparison == .less || comparison == .lessOrEqual ? r - l : l - r
      let margin =
        comparison.holds(l, r)
        ? gap / max(abs(l), abs(r), 1e-12)
        : gap.isNaN ? -.infinity : min(gap / max(abs(l), abs(r), 1e-12), -1e-12)
      if margin < worst?.margin ?? .infinity { worst = (sample, l, r, margin) }
    }
    guard let worst else { throw Unanswered(message: "'\(text)' has no value") }
    return Verdict(
      bound: text, held: worst.margin >= 0 && comparison.holds(worst.left, worst.right),
      seconds: worst.sample.seconds, left: worst.left, right: worst.right, samples: window.count)
  }

  /// Returns what resident memory must not pass in each sample of the window; nil where the bound says something else.
  func limit(of run: StressRun, turn: String?) -> [(x: Double, y: Double)]? {
    let memory: Expression
    let whole: Bool
    switch left {
    case .function(.max, let inner): (memory, whole) = (inner, true)
    default: (memory, whole) = (left, false)
    }
    let resident = Expression.variable(.rss)
    let isAboveBase = memory == .difference(resident, .variable(.base))
    guard comparison == .less || comparison == .lessOrEqual, isAboveBase || memory == resident,
      let begin = whole ? 0 : try? seconds(of: from, in: run, turn: turn),
      let end = whole ? run.seconds : try? seconds(of: to, in: run, turn: turn)
    else { return nil }
    let base = isAboveBase ? Double(run.base) : 0
    return run.samples.filter { $0.seconds >= begin && $0.seconds <= end + 1e-9 }
      .map { ($0.seconds, value(right, $0, run) + base) }
  }

  private static func shown(_ seconds: Double) -> String { "\((seconds * 100).rounded() / 100)" }

  /// Returns when a moment was.
  private func seconds(of moment: Moment, in run: StressRun, turn: String?) throws(Unanswered) -> Double {
    switch moment {
    case .start: return 0
    case .end: return run.seconds
    case .part(let part): return run.seconds * part
    case .seconds(let seconds): return seconds
    case .afterTurn(let seconds):
      guard let turn else {
        throw Unanswered(
          message: "'\(text)': this scenario has no turn that '+\(Self.shown(seconds))s' could count from; "
            + "say an event, or a time as in '@ 2s'")
      }
      return try self.seconds(of: .event(turn, seconds), in: run, turn: turn)
    case .event(let label, let seconds):
      guard let event = run.events.last(where: { $0.label == label }) else {
        let labels = run.events.map(\.label)
        throw Unanswered(
          message:
            "'\(text)': there was no event '\(label)'; there were \(labels.isEmpty ? "none" : labels.joined(separator: ", "))"
        )
      }
      return event.seconds + seconds
    }
  }

  /// Returns the value of an expression at a sample.
  private func value(_ expression: Expression, _ sample: StressRun.Sample, _ run: StressRun) -> Double {
    func value(_ inner: Expression) -> Double { self.value(inner, sample, run) }
    switch expression {
    case .number(let number): return number
    case .variable(let variable): return run.value(of: variable, at: sample)
    case .negated(let inner): return -value(inner)
    case .sum(let a, let b): return value(a) + value(b)
    case .difference(let a, let b): return value(a) - value(b)
    case .product(let a, let b): return value(a) * value(b)
    case .quotient(let a, let b): return value(a) / value(b)
    case .function(let function, let inner):
      let values = run.samples.map { self.value(inner, $0, run) }
      switch function {
      case .max: return values.max() ?? .nan
      case .min: return values.min() ?? .nan
      case .mean: return values.reduce(0, +) / Double(values.count)
      case .first: return values.first ?? .nan
      case .last: return values.last ?? .nan
      }
    }
  }
}

extension StressRun {
  /// Returns a figure at a sample.
  func value(of variable: Bound.Variable, at sample: Sample) -> Double {
    switch variable {
    case .rss: Double(sample.rss)
    case .anon: Double(sample.anonymous)
    case .huge: Double(sample.huge)
    case .swap: Double(sample.swap)
    case .live: Double(sample.live)
    case .time: sample.seconds
    case .cpu: sample.cpu
    case .faults: Double(sample.faults)
    case .operations: Double(sample.operations)
    case .base: Double(base)
    case .peak: Double(peak)
    case .rate: rate
    case .p50: percentile(50) / 1e9
    case .p99: percentile(99) / 1e9
    case .p999: percentile(99.9) / 1e9
    case .longest: Double(longest) / 1e9
    case .refused: Double(counts.refused)
    case .lost: Double(lost)
    }
  }
}
