import Bellows
import Glibc
import SystemPackage

/// A program that a test runs.
///
/// Not Foundation's Process: that hands on the blocked signals of the thread it is called
/// on, so a child of a concurrent test may never see SIGTERM.
struct Child {
  let processID: pid_t
  private let folder: TemporaryFolder

  /// What became of it.
  struct Result {
    let status: Int32
    let isSignal: Bool
    let output: String
    let errors: String
    let processID: pid_t
  }

  /// Starts a program with nothing inherited but what is given: no signal mask, no descriptors above stderr.
  init(_ command: [String], environment: [String: String], input: String = "") throws {
    folder = try TemporaryFolder()
    for name in ["in", "out", "err"] { try folder.write(name == "in" ? input : "", to: name) }
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    var none = sigset_t()
    var all = sigset_t()
    unsafe sigemptyset(&none)
    unsafe sigfillset(&all)
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
      unsafe posix_spawn_file_actions_destroy(&actions)
      unsafe posix_spawnattr_destroy(&attributes)
    }
    for (number, name) in ["in", "out", "err"].enumerated() {
      let path = "\(folder.path)/\(name)"
      unsafe posix_spawn_file_actions_addopen(
        &actions, Int32(number), path, number == 0 ? O_RDONLY : O_WRONLY, 0)
    }
    // What other tests have open; closing what is not open is no error here.
    for number in Int32(3)..<256 { unsafe posix_spawn_file_actions_addclose(&actions, number) }
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let arguments = unsafe command.map { unsafe strdup($0) } + [nil]
    let variables = unsafe environment.map { unsafe strdup("\($0)=\($1)") } + [nil]
    defer { unsafe (arguments + variables).forEach { unsafe free($0) } }
    var child: pid_t = 0
    let code = unsafe posix_spawnp(&child, command[0], &actions, &attributes, arguments, variables)
    guard code == 0 else { throw Errno(rawValue: code) }
    processID = child
  }

  /// Waits until the program has written something, or is gone.
  func waitForOutput() throws {
    while try text("out").isEmpty, kill(processID, 0) == 0 { usleep(2000) }
  }

  /// Waits until the program has written some words, or is gone; answers all that it wrote.
  func waitForOutput(containing words: String) throws -> String {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      let isThere = kill(processID, 0) == 0
      let output = try text("out")
      if output.contains(words) || !isThere || ContinuousClock.now > deadline { return output }
      usleep(2000)
    }
  }

  /// Waits for the end; a program that hangs is killed after a minute, which no test expects.
  func wait() throws -> Result {
    let deadline = ContinuousClock.now + .seconds(60)
    var status: Int32 = 0
    while unsafe waitpid(processID, &status, WNOHANG) == 0 {
      if ContinuousClock.now > deadline { kill(processID, SIGKILL) }
      usleep(2000)
    }
    let signal = status & 0x7f
    return Result(
      status: signal == 0 ? status >> 8 & 0xff : signal, isSignal: signal != 0, output: try text("out"),
      errors: try text("err"), processID: processID)
  }

  private func text(_ name: String) throws -> String {
    try SystemFiles(root: FilePath(folder.path)).text(name)
  }
}
