// The object that `bellows stress --json` writes. Columns, not rows: a thousand samples stay small. Units are in the
// names. The article Stress describes each field.

import Bellows
import FoundationEssentials
import Glibc

/// A report as JSON.
struct StressJSON: Encodable {
  /// Raised when a field changes its meaning or goes away; new fields do not raise it.
  let schema = 1
  let version = BellowsVersion.current
  let command: String
  let scenario: String
  let settings: StressSettings
  let system: System
  let runs: [Run]

  /// Where it was run.
  struct System: Encodable {
    let kernel: String?
    let machine: String
    let cpus: Int
    let memoryBytes: Int?
    let hugePages: String?
  }

  /// One run.
  struct Run: Encodable {
    let allocator: String
    let library: String?
    let failure: String?
    let verdict: String
    let substitute: String?
    let bounds: [Judged]
    let seconds: Double
    let baseBytes: Int
    let ownBytes: Int
    let peakBytes: Int
    let operations: Int
    let operationsPerSecond: Double
    let refused: Int
    let damaged: Int
    let children: Int
    let lost: Int
    let userSeconds: Double
    let systemSeconds: Double
    let minorFaults: Int
    let majorFaults: Int
    let latencyNanoseconds: Latency
    let sampling: Sampling
    let events: [Event]
    let samples: Samples
  }

  /// A bound and its verdict.
  struct Judged: Encodable {
    let bound: String
    let held: Bool?
    let problem: String?
    let seconds: Double?
    let left: Double?
    let right: Double?
  }

  /// Percentiles of the timed operations.
  struct Latency: Encodable {
    let timed: UInt64
    let clock: Int
    let p50: Double?
    let p90: Double?
    let p99: Double?
    let p999: Double?
    let p9999: Double?
    let longest: Int
  }

  /// What watching cost.
  struct Sampling: Encodable {
    let count: Int
    let intervalMilliseconds: Int
    let meanSeconds: Double
    let longestSeconds: Double
  }

  /// What the scenario marked.
  struct Event: Encodable {
    let seconds: Double
    let label: String
  }

  /// One array for each figure, all of the same length.
  struct Samples: Encodable {
    let seconds: [Double]
    let rssBytes: [Int]
    let anonymousBytes: [Int]
    let hugeBytes: [Int]
    let swapBytes: [Int]
    let liveBytes: [Int]
    let operations: [Int]
    let faults: [Int]
    let cpuSeconds: [Double]
    let bellowsHeldBytes: [Int?]?
    let bellowsAllocatedBytes: [Int?]?
    let bellowsFreeBytes: [Int?]?
  }

  /// Makes the object of a report.
  init(_ report: StressReport) {
    command = report.command
    scenario = report.scenario.name
    settings = report.settings
    let files = SystemFiles()
    system = System(
      kernel: KernelVersion(reading: SystemFiles())?.release, machine: ELFImage.Target.own.machineName,
      cpus: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))), memoryBytes: MemoryInfo(reading: files)?.totalBytes,
      hugePages: HugePageSettings(reading: files)?.mode.rawValue)
    runs = report.runs.map { run in Run(run, report) }
  }
}

extension StressJSON.Run {
  init(_ run: StressRun, _ report: StressReport) {
    func rounded(_ value: Double) -> Double { (value * 1e6).rounded() / 1e6 }
    func percentile(_ percent: Double) -> Double? {
      let value = run.percentile(percent)
      return value.isFinite ? value : nil
    }
    allocator = run.allocator.name
    library = run.allocator.library
    failure = run.failure
    verdict = report.word(for: run).0
    substitute = run.isReplaced ? report.scenario.substitute : nil
    bounds = report.judgements.filter { $0.allocator == run.allocator.name }.map { judgement in
      switch judgement.result {
      case .success(let verdict):
        StressJSON.Judged(
          bound: verdict.bound, held: verdict.held, problem: nil, seconds: rounded(verdict.seconds),
          left: verdict.left.isFinite ? verdict.left : nil,
          right: verdict.right.isFinite ? verdict.right : nil)
      case .failure(let reason):
        StressJSON.Judged(bound: "", held: nil, problem: reason.message, seconds: nil, left: nil, right: nil)
      }
    }
    seconds = rounded(run.seconds)
    (baseBytes, ownBytes, peakBytes) = (run.base, run.own, run.peak)
    (operations, refused, damaged) = (run.counts.operations, run.counts.refused, run.counts.damaged)
    operationsPerSecond = run.rate.rounded()
    (children, lost) = (run.children, run.lost)
    (userSeconds, systemSeconds) = (run.totals.userSeconds, run.totals.systemSeconds)
    (minorFaults, majorFaults) = (run.totals.minorFaults, run.totals.majorFaults)
    latencyNanoseconds = .init(
      timed: run.latency.totalCount, clock: run.clockCost, p50: percentile(50), p90: percentile(90),
      p99: percentile(99), p999: percentile(99.9), p9999: percentile(99.99), longest: run.longest)
    sampling = .init(
      count: run.samples.count, intervalMilliseconds: report.settings.intervalMilliseconds,
      meanSeconds: run.samples.isEmpty ? 0 : rounded(run.cost.total / Double(run.samples.count)),
      longestSeconds: rounded(run.cost.most))
    events = run.events.map { .init(seconds: rounded($0.seconds), label: $0.label) }
    let own = run.samples.contains { $0.bellows != nil }
    samples = .init(
      seconds: run.samples.map { rounded($0.seconds) }, rssBytes: run.samples.map(\.rss),
      anonymousBytes: run.samples.map(\.anonymous), hugeBytes: run.samples.map(\.huge),
      swapBytes: run.samples.map(\.swap), liveBytes: run.samples.map(\.live),
      operations: run.samples.map(\.operations), faults: run.samples.map(\.faults),
      cpuSeconds: run.samples.map { rounded($0.cpu) },
      bellowsHeldBytes: own ? run.samples.map { $0.bellows?.held } : nil,
      bellowsAllocatedBytes: own ? run.samples.map { $0.bellows?.allocated } : nil,
      bellowsFreeBytes: own ? run.samples.map { $0.bellows?.freeResident } : nil)
  }
}
