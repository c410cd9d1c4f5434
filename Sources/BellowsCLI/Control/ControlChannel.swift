// The way to the control thread of a process: the page that it shares (bellows_control.h), opened through the
// descriptors of that thread, where the kernel checks who asks.
//
// What stands in the page is the process' word, and the process may be anybody's: sizes are checked before they are
// used, and an answer is taken only for the request that it is for.

import Bellows
import BellowsCore
import CShims
import Glibc
import SystemPackage

/// A channel to a process that takes commands.
struct ControlChannel: ~Copyable {
  /// What a process can be asked for.
  enum Command: UInt32 {
    case trim = 1
    case limit, offline, online, drain, home
  }

  /// What a process answered.
  struct Answer: Equatable {
    /// 0, or what went wrong there.
    let error: Int32
    let results: [Int]
    /// How taking sections offline ended.
    let report: OfflineFigures
    /// How emptying a node ended.
    let drain: DrainFigures
  }

  let process: TargetProcess
  private let descriptor: Int32
  private let page: UInt

  private init(process: TargetProcess, descriptor: Int32, page: UInt) {
    self.process = process
    self.descriptor = descriptor
    self.page = page
  }

  /// The number of the control thread of a process, or nil where it takes no commands.
  private static func thread(of process: Int32, _ files: SystemFiles = SystemFiles()) -> Int32? {
    files.names(in: "proc/\(process)/task")
      .first { files.line("proc/\(process)/task/\($0)/comm") == BELLOWS_CONTROL_NAME }.flatMap { Int32($0) }
  }

  /// Whether a process takes commands.
  static func isOffered(by process: Int32) -> Bool { thread(of: process) != nil }

  /// Opens the channel to a process. One that has just started, or was forked, may not be ready yet: it is waited for.
  static func open(_ process: TargetProcess) throws(TargetError) -> ControlChannel {
    // Who runs on another version, or not on Bellows at all, is told so first.
    _ = try TargetHeader(of: process.id)
    let end = ContinuousClock.now + .seconds(10)
    while true {
      guard let thread = Self.thread(of: process.id) else { throw .noControl(process.id) }
      if let channel = try Self.opened(process, thread) { return channel }
      if process.isStopped || ContinuousClock.now > end { throw .noControl(process.id) }
      usleep(2000)
    }
  }

  /// The channel, or nil: its page is not there yet.
  private static func opened(_ process: TargetProcess, _ thread: Int32) throws(TargetError) -> ControlChannel?
  {
    let folder = "/proc/\(process.id)/task/\(thread)/fd"
    let names = SystemFiles().names(in: String(folder.dropFirst()))
    var page: UInt = 0
    var descriptor: Int32 = -ENOENT
    for name in names where Self.link("\(folder)/\(name)").hasPrefix("/memfd:\(BELLOWS_CONTROL_NAME)") {
      descriptor = unsafe bellows_channel_open("\(folder)/\(name)", &page)
      if descriptor >= 0 { break }
    }
    let isClosed = unsafe names.isEmpty && access(folder, R_OK) != 0 && errno == EACCES
    if descriptor == -EACCES || descriptor == -EPERM || isClosed {
      throw .notPermitted(process.id, reason: TargetMemory.refusal(process.id))
    }
    guard descriptor >= 0 else { return nil }
    let channel = ControlChannel(process: process, descriptor: descriptor, page: page)
    guard bellows_load_acquire(page) == UInt(BELLOWS_CONTROL_MAGIC) else { return nil }
    try channel.check(thread)
    return channel
  }

  private func check(_ thread: Int32) throws(TargetError) {
    let shared = Ref<bellows_control>(page)
    guard shared.it.layout == UInt32(BELLOWS_CONTROL_LAYOUT), shared.it.process == UInt32(process.id)
    else { throw .noControl(process.id) }
    // A filter that came later does not know the thread's system calls, and may end the process for one.
    let status = (try? SystemFiles().text("proc/\(process.id)/task/\(thread)/status")) ?? ""
    if KeyedText(parsing: status).integer("Seccomp") ?? 0 != 0, shared.it.is_filtered == 0 {
      throw .failed(
        process.id,
        what: "has put a system call filter in force since it started; a command might end it")
    }
  }

  deinit { bellows_channel_close(descriptor, page) }

  private static func link(_ path: String) -> String {
    var bytes = [CChar](repeating: 0, count: 256)
    let count = unsafe readlink(path, &bytes, 255)
    guard count > 0 else { return "" }
    return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Asks, and waits for the answer for at most so many seconds.
  ///
  /// A request that is not answered in time is withdrawn, and dropped by the process where it comes to it later.
  func ask(
    _ command: Command, _ arguments: [UInt], seconds: Double,
    waiting: () -> Void = {}
  ) throws(TargetError) -> Answer {
    let end = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    try lock(until: end)
    let word = bellows_control_state(page)
    // A request of somebody who went away may still be under way.
    while bellows_load32(word) & 3 == UInt32(BELLOWS_TAKEN) {
      try expectTime(until: end, "it is busy with a request of somebody else")
      bellows_futex_wait_shared(word, bellows_load32(word), 50)
    }
    let shared = Ref<bellows_control>(page)
    let number = (bellows_load32(word) >> 2 &+ 1) & 0x3fff_ffff
    shared.it.command = command.rawValue
    shared.it.deadline = bellows_clock_milliseconds() + UInt64(seconds * 1000)
    bellows_store32(bellows_control_cancelled(page), 0)
    for place in 0..<8 {
      bellows_control_set_argument(page, Int32(place), place < arguments.count ? UInt64(arguments[place]) : 0)
    }
    let requested = number << 2 | UInt32(BELLOWS_REQUESTED)
    let done = number << 2 | UInt32(BELLOWS_DONE)
    bellows_store32(word, requested)
    bellows_futex_wake_shared(word)
    while true {
      let state = bellows_load32(word)
      if state == done { break }
      do throws(TargetError) {
        try expectTime(
          until: end, state == requested ? "it did not take the request" : "the work goes on there")
      } catch {
        bellows_store32(bellows_control_cancelled(page), 1)
        // Taken in this very moment: the answer is not far.
        let wasWaiting = bellows_compare_exchange32(word, requested, number << 2 | UInt32(BELLOWS_IDLE))
        if !wasWaiting { bellows_futex_wait_shared(word, number << 2 | UInt32(BELLOWS_TAKEN), 1000) }
        if bellows_load32(word) == done { break }
        throw error
      }
      bellows_futex_wait_shared(word, state, 50)
      waiting()
    }
    let answer = copyAnswer()
    bellows_store32(word, number << 2 | UInt32(BELLOWS_IDLE))
    return answer
  }

  private func copyAnswer() -> Answer {
    let shared = Ref<bellows_control>(page)
    let report = shared.it.report
    let count = min(Int(report.blocker_count), 48)
    return Answer(
      error: shared.it.error,
      results: (0..<8).map { Int(clamping: bellows_control_result(page, Int32($0))) },
      report: OfflineFigures(
        taken: Int(clamping: report.taken), left: Int(clamping: report.left),
        returned: Int(clamping: report.returned), sections: Int(report.sections),
        partial: Int(report.partial), pageblocks: Int(report.pageblocks), passes: Int(report.passes),
        pieces: (0..<19).map { Int(bellows_control_pieces(page, $0)) },
        blockers: (0..<count).map { OfflineBlocker(bellows_control_blocker(page, Int32($0))) }),
      drain: DrainFigures(shared.it.drain))
  }

  /// A figure that the process gives while the work goes on.
  func result(_ place: Int32) -> Int { Int(clamping: bellows_control_result(page, place)) }

  private func lock(until end: ContinuousClock.Instant) throws(TargetError) {
    while bellows_channel_lock(descriptor) == 0 {
      try expectTime(until: end, "somebody else is steering it")
      usleep(10_000)
    }
  }

  private func expectTime(until end: ContinuousClock.Instant, _ reason: String) throws(TargetError) {
    if kill(process.id, 0) != 0, errno == ESRCH { throw .ended(process.id) }
    guard ContinuousClock.now > end else { return }
    throw .noAnswer(process.id, reason: process.isStopped ? "it is stopped" : reason)
  }
}
