import Glibc
import Synchronization

/// A finished child process: how it ended and what it wrote.
struct Child: Sendable, CustomStringConvertible {
  enum Ending: Equatable, Sendable {
    case exited(Int32)
    case signalled(Int32)
    case timedOut
    case notStarted(Int32)
  }

  let command: [String]
  let ending: Ending
  let output: String
  let errors: String

  var errorLines: [Substring] { errors.split(separator: "\n") }

  /// Exit status 0 and silence on standard error.
  var isClean: Bool { ending == .exited(0) && errors.isEmpty }

  var description: String {
    let tail = { (text: String) in String(text.suffix(2000)) }
    let words = command.joined(separator: " ")
    return "\(words): \(ending)\n--- output\n\(tail(output))\n--- errors\n\(tail(errors))"
  }
}

extension Child {
  /// Runs a command to its end, or kills its process group when the time is up.
  ///
  /// The child gets a clean environment: what the test names, and a search path. It is started with
  /// posix_spawn, so that what it is preloaded with never comes near the process that runs the tests.
  static func run(_ command: [String], environment: [String: String] = [:], limit: Int = 120) -> Child {
    let (output, errors) = Pipe.starting.withLock { _ in (Pipe(), Pipe()) }
    defer {
      output.closeAll()
      errors.closeAll()
    }
    func ended(_ ending: Ending, _ out: [UInt8] = [], _ err: [UInt8] = []) -> Child {
      Child(
        command: command, ending: ending, output: String(decoding: out, as: UTF8.self),
        errors: String(decoding: err, as: UTF8.self))
    }

    var process: pid_t = 0
    let result = Pipe.starting.withLock { _ in
      spawn(command, environment, output.writing, errors.writing, &process)
    }
    guard result == 0 else { return ended(.notStarted(result)) }
    output.closeWriting()
    errors.closeWriting()

    let deadline = monotonicSeconds() + Double(limit)
    let streams = drain([output.reading, errors.reading], until: deadline)
    var status: Int32 = 0
    var timedOut = false
    while unsafe waitpid(process, &status, WNOHANG) == 0 {
      if !timedOut, monotonicSeconds() >= deadline {
        timedOut = true
        kill(-process, SIGKILL)
      }
      usleep(2000)
    }
    kill(-process, SIGKILL)  // what the child may have left behind in its group
    if timedOut { return ended(.timedOut, streams[0], streams[1]) }
    let signal = status & 0x7f
    return ended(signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal), streams[0], streams[1])
  }

  private static func spawn(
    _ command: [String], _ environment: [String: String], _ output: Int32, _ errors: Int32,
    _ process: inout pid_t
  ) -> Int32 {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)

    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    // The thread that runs the test may have signals blocked: a child would inherit that.
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
    unsafe posix_spawnattr_setpgroup(&attributes, 0)

    var complete = environment
    complete["PATH"] = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    let arguments = unsafe command.map { unsafe strdup($0) } + [nil]
    let variables = unsafe complete.map { unsafe strdup("\($0.key)=\($0.value)") } + [nil]
    defer { unsafe (arguments + variables).forEach { unsafe free($0) } }
    return unsafe posix_spawnp(&process, command[0], &actions, &attributes, arguments, variables)
  }

  /// Reads all streams together, so that neither can block the child.
  private static func drain(_ files: [Int32], until deadline: Double) -> [[UInt8]] {
    var texts = files.map { _ in [UInt8]() }
    var polled = files.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    while polled.contains(where: { $0.fd >= 0 }) {
      let left = deadline - monotonicSeconds()
      guard left > 0, unsafe poll(&polled, nfds_t(polled.count), Int32(left * 1000) + 1) > 0 else { break }
      for index in polled.indices where polled[index].fd >= 0 && polled[index].revents != 0 {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = unsafe read(polled[index].fd, &bytes, bytes.count)
        if count > 0 { texts[index] += bytes[..<count] } else { polled[index].fd = -1 }
      }
    }
    return texts
  }

  private static func monotonicSeconds() -> Double {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
  }
}

/// Both ends of a pipe, closed on exec, so that children started at the same time do not inherit them.
private final class Pipe {
  /// Held while a pipe is made and while a child starts: there is no pipe2 here to do both in one.
  static let starting = Mutex(())

  let reading: Int32
  private(set) var writing: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    precondition(unsafe pipe(&ends) == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    reading = ends[0]
    writing = ends[1]
  }

  func closeWriting() {
    if writing >= 0 { close(writing) }
    writing = -1
  }

  func closeAll() {
    closeWriting()
    close(reading)
  }
}
