// Becoming a command, and running one to look at it.

import CShims
import CTool
import Glibc
import SystemPackage

/// The tool's own process, and children of it.
enum Launch {
  /// How a child ended.
  enum Ending: Equatable {
    /// By itself, with a status.
    case exited(Int32)
    /// By a signal.
    case signalled(Int32)
    /// Not at all: it was killed at the deadline.
    case hung
  }

  /// What became of a child.
  struct Outcome {
    /// How it ended.
    let ending: Ending
    /// What it wrote to stdout.
    let output: String
    /// What it wrote to stderr.
    let errors: String
  }

  /// The arguments that the tool was started with. Not CommandLine's, which are read from /proc/self/cmdline, and none where
  /// there is no /proc.
  static var arguments: [String] {
    (0..<bellows_argument_count()).map { unsafe String(cString: bellows_argument($0)) }
  }

  /// The folder of the tool's own binary: as the kernel knows it, or by the path that it was executed by.
  static var ownFolder: String {
    let link = "/proc/self/exe"
    let kernels = resolved(link)
    guard kernels == link, let path = unsafe bellows_executed_path() else {
      return FilePath(kernels).removingLastComponent().string
    }
    return unsafe FilePath(resolved(String(cString: path))).removingLastComponent().string
  }

  /// Returns a path without symbolic links.
  static func resolved(_ path: String) -> String {
    guard let real = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(real) }
    return unsafe String(cString: real)
  }

  /// The environment of this process.
  static var environment: [String: String] {
    var values: [String: String] = [:]
    var next = unsafe environ
    while let entry = unsafe next.pointee {
      let text = unsafe String(cString: entry)
      if let equals = text.firstIndex(of: "=") {
        values[String(text[..<equals])] = String(text[text.index(after: equals)...])
      }
      unsafe next += 1
    }
    return values
  }

  /// Replaces this process by a command; returns only where that fails.
  static func become(_ command: [String], environment: Environment) -> Errno {
    // Only what changes is set, so that variables that are no valid text pass through untouched.
    let inherited = Self.environment
    for (name, value) in environment.values where inherited[name] != value {
      unsafe setenv(name, value, 1)
    }
    return unsafe withArguments(command) { arguments in
      _ = unsafe execvp(command[0], arguments)
      return Errno(rawValue: errno)
    }
  }

  /// Runs a command with this environment and waits for it, for at most `seconds`.
  static func run(_ command: [String], environment: Environment, seconds: Int) throws(Errno) -> Outcome {
    // Into files of memory, not pipes: nothing has to be read while the child runs.
    let output = try scratchFile()
    defer { close(output) }
    let errors = try scratchFile()
    defer { close(errors) }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)

    var child: pid_t = 0
    let code = unsafe withArguments(command) { arguments in
      unsafe withArguments(environment.values.map { "\($0)=\($1)" }) { variables in
        unsafe posix_spawnp(&child, command[0], &actions, nil, arguments, variables)
      }
    }
    guard code == 0 else { throw Errno(rawValue: code) }
    let ending = wait(for: child, seconds: seconds)
    return Outcome(ending: ending, output: text(of: output), errors: text(of: errors))
  }

  /// Starts a command and returns its process id; `file` becomes its descriptor `number`, its output goes to stderr.
  static func start(
    _ command: [String], environment: [String: String], passing file: Int32, as number: Int32
  ) throws(Errno) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, 2, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, file, number)
    var child: pid_t = 0
    let code = unsafe withArguments(command) { arguments in
      unsafe withArguments(environment.map { "\($0)=\($1)" }) { variables in
        unsafe posix_spawn(&child, command[0], &actions, nil, arguments, variables)
      }
    }
    guard code == 0 else { throw Errno(rawValue: code) }
    return child
  }

  private static func wait(for child: pid_t, seconds: Int) -> Ending {
    let deadline = ContinuousClock.now + .seconds(seconds)
    var status: Int32 = 0
    while unsafe waitpid(child, &status, WNOHANG) == 0 {
      guard ContinuousClock.now < deadline else {
        kill(child, SIGKILL)
        unsafe waitpid(child, &status, 0)
        return .hung
      }
      usleep(2000)
    }
    let signal = status & 0x7f
    return signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal)
  }

  private static func scratchFile() throws(Errno) -> Int32 {
    let file = bellows_probe_scratch_file()
    guard file >= 0 else { throw Errno(rawValue: -file) }
    return file
  }

  private static func text(of file: Int32) -> String {
    lseek(file, 0, SEEK_SET)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16384)
    while true {
      let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk[..<count]
    }
  }

  /// Calls with the texts as a C array that ends with NULL.
  @unsafe private static func withArguments<R>(
    _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R
  ) -> R {
    let pointers = unsafe texts.map { unsafe strdup($0) } + [nil]
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe body(pointers)
  }
}
