// One run of a scenario under one allocator, watched from outside. Every tick of the clock reads two files of /proc and
// the shared page. Reading smaps_rollup makes the kernel walk the page tables while mappings cannot change, so the cost
// of each reading is measured and reported.

import Bellows
import CWorkload
import Glibc
import Histogram
import SystemPackage

/// What one run was like.
struct StressRun {
  /// What was seen at one tick.
  struct Sample: Equatable {
    /// Seconds since the start of the scenario.
    var seconds: Double
    /// Resident memory, in bytes, as the kernel counts it.
    var rss: Int
    /// The part without a file.
    var anonymous: Int
    /// The part of it in huge pages.
    var huge: Int
    /// What is swapped out.
    var swap: Int
    /// Bytes that the program has asked for and not given back.
    var live: Int
    /// Operations so far.
    var operations: Int
    /// Page faults since the base was taken.
    var faults: Int
    /// Processor time since the base was taken, in seconds.
    var cpu: Double
    /// Bellows' own counters.
    var bellows: BellowsCounters?
  }

  /// Something that the scenario marked.
  struct Event: Equatable {
    /// Seconds since the start of the scenario.
    let seconds: Double
    /// What happened.
    let label: String
  }

  /// Processor time, faults and peak of the whole run.
  struct Totals: Equatable {
    var userSeconds = 0.0
    var systemSeconds = 0.0
    var minorFaults = 0
    var majorFaults = 0
    /// The kernel's high-water mark.
    var peakBytes = 0
  }

  /// The cost of watching.
  struct Cost: Equatable {
    /// Processor time that all samples took, in seconds.
    var total = 0.0
    /// Seconds of the clock that the longest one took.
    var most = 0.0
  }

  let allocator: StressAllocator
  var samples: [Sample] = []
  var events: [Event] = []
  var totals = Totals()
  var cost = Cost()
  /// Resident memory before the first block was allocated, in bytes: the program itself.
  var base = 0
  /// The part of it without a file, in bytes.
  var anonymousBase = 0
  /// Of it, what the program mapped for its books.
  var own = 0
  var counts = WorkloadPage.Counts()
  var children = 0
  var lost = 0
  var latency = Histogram<UInt64>(highestTrackableValue: 2)
  var longest = 0
  var clockCost = 0
  var heat: StressHeat?
  /// Whether the allocator lacks what the scenario needs; then the scenario was run without it.
  var isMissing = false
  /// Whether something of the system's stood in for what it lacks.
  var isReplaced = false
  /// What went wrong; nil where the run came to its end.
  var failure: String?

  /// The length of the scenario as it was run, in seconds.
  var seconds: Double { samples.last?.seconds ?? 0 }
  /// Operations per second.
  var rate: Double { seconds > 0 ? Double(counts.operations) / seconds : 0 }
  /// The highest resident memory that was seen, in bytes: the kernel's mark, or a sample where that lags behind.
  var peak: Int { max(totals.peakBytes, samples.map(\.rss).max() ?? 0) }

  /// Returns a latency in nanoseconds below which so many of a hundred operations stay.
  func percentile(_ percent: Double) -> Double {
    latency.totalCount == 0 ? .nan : Double(min(latency.valueAtPercentile(percent), UInt64(longest)))
  }
}

/// Runs the workload program and watches it.
struct StressRunner {
  let scenario: StressScenario
  let settings: StressSettings
  let program: String
  let trace: String?
  let environment: [String: String]
  /// Called now and then, with the seconds and the resident bytes.
  var progress: (Double, Int) -> Void = { _, _ in }

  /// Runs the scenario once.
  func run(_ allocator: StressAllocator) throws(Errno) -> StressRun {
    var run = StressRun(allocator: allocator)
    let page = try WorkloadPage()
    var variables = environment
    variables["LD_PRELOAD"] = allocator.library
    let command = [program] + settings.words(for: scenario, page: 3, trace: trace)
    var child = try Watched(command, environment: variables, page: page.file)
    defer { child.end() }

    guard child.wait(for: WL_READY, on: page, seconds: 60) else {
      run.failure = child.failure(page) ?? "it was not ready to start after a minute"
      return run
    }
    guard let base = child.resident, let counters = child.counters else {
      run.failure = child.failure(page) ?? "its figures in /proc could not be read"
      return run
    }
    run.base = base.residentBytes
    run.anonymousBase = base.anonymousBytes
    run.own = page.ownBytes
    run.clockCost = page.clockCost
    let watchesHeat = allocator.name == "bellows"
    var heat = StressHeat()
    page.advance(to: WL_GO)
    while page.start == 0, child.isRunning { usleep(200) }

    let start = page.start
    let interval = UInt64(settings.intervalMilliseconds) * 1_000_000
    var tick = start
    // A scenario that is four times too slow does not come to an end.
    let deadline = start + UInt64((settings.seconds * 4 + 60) * 1e9)
    while true {
      let (begin, used) = (Self.now, Self.used)
      let isOver = page.state.rawValue >= WL_FINISHED.rawValue
      if let sample = child.sample(page, since: start, base: counters) {
        run.samples.append(sample)
        progress(sample.seconds, sample.rss)
        // Half of the samples is enough for a picture.
        if watchesHeat, run.samples.count % 2 == 1 {
          heat.add(process: child.process, seconds: sample.seconds)
        }
      }
      run.cost.total += Double(Self.used - used) / 1e9
      run.cost.most = max(run.cost.most, Double(Self.now - begin) / 1e9)
      if isOver || !child.isRunning { break }
      if Self.now > deadline {
        run.failure = "it had not finished after \(Int(settings.seconds * 4 + 60)) seconds"
        break
      }
      // Absolute times: a late sample does not make the next one late.
      repeat { tick += interval } while tick <= Self.now
      var time = timespec(tv_sec: Int(tick / 1_000_000_000), tv_nsec: Int(tick % 1_000_000_000))
      while unsafe clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
    }
    run.events = page.events
    run.counts = page.counts
    (run.isMissing, run.isReplaced) = (page.isMissing, page.isReplaced)
    (run.children, run.lost) = (page.children, page.lost)
    (run.latency, run.longest) = (page.latency, page.longest)
    run.heat = watchesHeat ? heat : nil
    run.totals.peakBytes =
      ProcessStatus(reading: SystemFiles(), process: "\(child.process)")?.peakResidentBytes ?? 0
    if run.failure == nil, page.state == WL_FINISHED { page.advance(to: WL_RELEASED) }
    child.finish(&run, page)
    if run.failure == nil, run.counts.damaged > 0 {
      run.failure = "\(run.counts.damaged) blocks had changed contents"
    }
    return run
  }

  /// CLOCK_MONOTONIC in nanoseconds.
  static var now: UInt64 { time(CLOCK_MONOTONIC) }
  /// The processor time of this thread in nanoseconds.
  private static var used: UInt64 { time(CLOCK_THREAD_CPUTIME_ID) }

  private static func time(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
