// The way to the control thread of a process: the page that it shares (bellows_control.h), opened through the
// descriptors of that thread, where the kernel checks who asks.
//
// What stands in the page is the process' word, and the process may be anybody's: sizes are checked before they are
// used, and an answer is taken only for the request that it is for.

import Bellows
import BellowsCore
import CShims
import CTool
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
  let page: UInt
  private let descriptor: Int32
  /// The number that system calls know the process by.
  private let number: Int32

  private init(process: TargetProcess, number: Int32, descriptor: Int32, page: UInt) {
    self.process = process
    self.number = number
    self.descriptor = descriptor
    self.page = page
  }

  /// The threads of a process that have the name of the one that holds the page: none where it takes no commands.
  private static func threads(of process: Int32, _ files: SystemFiles = SystemFiles()) -> [String] {
    files.names(in: "proc/\(process)/task")
      .filter { files.line("proc/\(process)/task/\($0)/comm") == BELLOWS_CONTROL_NAME }
  }

  /// Whether a process takes commands.
  static func isOffered(by process: Int32) -> Bool { !threads(of: process).isEmpty }

  /// Opens the channel to a process. One that has just started, or was forked, may not be ready yet: it is waited for.
  static func open(_ process: TargetProcess) throws(TargetError) -> ControlChannel {
    guard ProcView.isThere else { return try openWithoutProc(process) }
    // Who runs on another version, or not on Bellows at all, is told so first.
    _ = try TargetHeader(of: process.id)
    let number = try ProcView.callNumber(of: process.id)
    let end = ContinuousClock.now + .seconds(10)
    while true {
      let threads = Self.threads(of: process.id)
      if threads.isEmpty { throw .noControl(process.id) }
      for thread in threads {
        guard let channel = try Self.opened(process, number, thread) else { continue }
        if channel.isReady(ProcessNumbers(of: "\(process.id)")?.own ?? process.id) { return channel }
        channel.wake()
      }
      if process.isStopped || ContinuousClock.now > end { throw .noControl(process.id) }
      usleep(2000)
    }
  }

  /// The channel, or nil: its page is not there yet.
  private static func opened(
    _ process: TargetProcess, _ number: Int32, _ thread: String
  ) throws(TargetError) -> ControlChannel? {
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
    return ControlChannel(process: process, number: number, descriptor: descriptor, page: page)
  }

  /// The same where no /proc is: the descriptor is taken from the thread itself.
  private static func openWithoutProc(_ process: TargetProcess) throws(TargetError) -> ControlChannel {
    let end = ContinuousClock.now + .seconds(2)
    while true {
      var page: UInt = 0
      let descriptor = unsafe bellows_channel_take(process.id, &page)
      if descriptor >= 0 {
        let channel = ControlChannel(
          process: process, number: process.id, descriptor: descriptor, page: page)
        // Its own namespace's number is not known here, only that the page says one.
        if channel.isReady(nil) {
          _ = try TargetHeader(of: process.id, at: channel.header)
          return channel
        }
        channel.wake()
      }
      switch Errno(rawValue: -descriptor) {
      case .noSuchProcess: throw .noProcess("\(process.id)")
      case .notPermitted: throw .notPermitted(process.id, reason: TargetMemory.refusal(process.id))
      case .noFunction:
        throw .failed(
          process.id, what: "cannot be asked: that takes /proc, which is not mounted here, or Linux 6.9")
      default: break
      }
      if ContinuousClock.now > end { throw .noControl(process.id) }
      usleep(10_000)
    }
  }

  /// Whether the head of the page is as the process writes it. `number`: the process' own.
  private func isReady(_ number: Int32?) -> Bool {
    let shared = Ref<bellows_control>(page)
    return bellows_load_acquire(page) == UInt(BELLOWS_CONTROL_MAGIC)
      && shared.it.layout == UInt32(BELLOWS_CONTROL_LAYOUT)
      && (number == nil || shared.it.process == UInt32(bitPattern: number ?? 0))
  }

  /// Where the process says that its header is; whoever reads there checks what it finds.
  var header: UInt { UInt(Ref<bellows_control>(page).it.header) }

  /// Makes the process look at its page, and write anew what is its own.
  func wake() { bellows_futex_wake_shared(bellows_control_state(page)) }

  deinit { bellows_channel_close(descriptor, page) }

  private static func link(_ path: String) -> String {
    var bytes = [CChar](repeating: 0, count: 256)
    let count = unsafe readlink(path, &bytes, 255)
    guard count > 0 else { return "" }
    return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func copyAnswer() -> Answer {
    let shared = Ref<bellows_control>(page)
    let report = shared.it.report
    let count = min(Int(report.blocker_count), 48)
    return Answer(
      error: shared.it.error,
      results: (0..<8).map { result($0) },
      report: OfflineFigures(
        taken: Self.bytes(report.taken), left: Self.bytes(report.left),
        returned: Self.bytes(report.returned), sections: Int(report.sections),
        partial: Int(report.partial), pageblocks: Int(report.pageblocks), passes: Int(report.passes),
        pieces: (0..<19).map { Int(bellows_control_pieces(page, $0)) },
        blockers: (0..<count).map { OfflineBlocker(bellows_control_blocker(page, Int32($0))) }),
      drain: DrainFigures(shared.it.drain))
  }

  /// A figure that the process gives while the work goes on.
  func result(_ place: Int32) -> Int { Self.bytes(Int(clamping: bellows_control_result(page, place))) }

  /// A number of bytes that some process gave: no sum of such numbers overflows.
  static func bytes(_ number: Int) -> Int { min(max(number, 0), 1 << 48) }

  /// Gets the channel for this tool alone.
  func lock(until end: ContinuousClock.Instant) throws(TargetError) {
    while bellows_channel_lock(descriptor) == 0 {
      try expectTime(until: end, "somebody else is steering it")
      usleep(10_000)
    }
  }

  func expectTime(until end: ContinuousClock.Instant, _ reason: String) throws(TargetError) {
    if kill(number, 0) != 0, errno == ESRCH { throw .ended(process.id) }
    guard ContinuousClock.now > end else { return }
    throw .noAnswer(process.id, reason: process.isStopped ? "it is stopped" : reason)
  }
}
