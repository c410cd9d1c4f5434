// The child of a run: started with the shared page as descriptor 3, read through /proc, and reaped once.

import Bellows
import CWorkload
import Glibc
import SystemPackage

/// A process that is watched.
struct Watched {
  let process: Int32
  private var status: Int32?
  private var usage = rusage()
  private let files = SystemFiles()

  /// Starts a command; `page` becomes its descriptor 3, and what it says goes to stderr.
  init(_ command: [String], environment: [String: String], page: Int32) throws(Errno) {
    process = try Launch.start(command, environment: environment, passing: page, as: 3)
  }

  /// What the kernel says of its memory.
  var resident: ResidentMemory? { ResidentMemory(reading: files, process: "\(process)") }
  /// Its counters.
  var counters: ProcessCounters? { ProcessCounters(reading: files, process: process) }

  /// Whether it has not ended yet.
  var isRunning: Bool {
    mutating get {
      guard status == nil else { return false }
      var code: Int32 = 0
      if unsafe wait4(process, &code, WNOHANG, &usage) == process { status = code }
      return status == nil
    }
  }

  /// Waits until the program has come to a state; false where it ends before or does not get there in time.
  mutating func wait(for state: wl_progress, on page: borrowing WorkloadPage, seconds: Int) -> Bool {
    let deadline = StressRunner.now + UInt64(seconds) * 1_000_000_000
    while page.state.rawValue < state.rawValue {
      guard isRunning, StressRunner.now < deadline else { return false }
      usleep(500)
    }
    return page.state == state
  }

  /// Reads all figures of this moment; nil where the process is gone.
  func sample(_ page: borrowing WorkloadPage, since start: UInt64, base: ProcessCounters) -> StressRun.Sample?
  {
    var before = page.counts
    guard var memory = resident else { return nil }
    // What lives and what is resident are to be of one moment; this program may have waited for a processor between them.
    for _ in 0..<3 {
      let after = page.counts
      if abs(after.liveBytes - before.liveBytes) <= max(before.liveBytes / 32, 256 << 10) { break }
      before = after
      guard let again = resident else { return nil }
      memory = again
    }
    guard let now = counters else { return nil }
    let bellows = page.bellows
    return StressRun.Sample(
      seconds: Double(StressRunner.now - start) / 1e9, rss: memory.residentBytes,
      anonymous: memory.anonymousBytes,
      huge: memory.anonymousHugeBytes, swap: memory.swapBytes, live: before.liveBytes,
      operations: before.operations,
      faults: now.minorFaults + now.majorFaults - base.minorFaults - base.majorFaults,
      cpu: Double(now.userTicks + now.systemTicks - base.userTicks - base.systemTicks) / 100, bellows: bellows
    )
  }

  /// Waits for the end and takes the kernel's account.
  mutating func finish(_ run: inout StressRun, _ page: borrowing WorkloadPage) {
    let deadline = StressRunner.now + 10_000_000_000
    while isRunning, StressRunner.now < deadline, run.failure == nil { usleep(500) }
    if status == nil { end() }
    run.failure = run.failure ?? failure(page)
    run.totals.userSeconds = Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1e6
    run.totals.systemSeconds = Double(usage.ru_stime.tv_sec) + Double(usage.ru_stime.tv_usec) / 1e6
    run.totals.minorFaults = usage.ru_minflt
    run.totals.majorFaults = usage.ru_majflt
  }

  /// Ends it where it still runs.
  mutating func end() {
    guard status == nil else { return }
    kill(process, SIGKILL)
    var code: Int32 = 0
    while unsafe wait4(process, &code, 0, &usage) < 0, errno == EINTR {}
    status = code
  }

  /// What went wrong, or nil.
  func failure(_ page: borrowing WorkloadPage) -> String? {
    if page.state == WL_FAILED { return page.message }
    guard let status else { return nil }
    let signal = status & 0x7f
    if signal != 0 {
      return unsafe "it was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
    }
    let code = status >> 8 & 0xff
    return code == 0 ? nil : "it ended with status \(code)"
  }
}
