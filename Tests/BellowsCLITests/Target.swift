import Bellows
import Foundation
import Glibc
import Testing

/// The built tool, the library under test and a test program to look at.
enum Bench {
  private static let build = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent()
  static let tool = build.appendingPathComponent("bellows").path
  private static let package = Fixtures.tests.removingLastComponent().removingLastComponent()

  static let library = named("BELLOWS_LIB", or: ".build/release/libbellows-malloc.so")
  static let programs = named("BELLOWS_PROGRAMS", or: ".build/programs")

  private static func named(_ variable: String, or path: String) -> String {
    let value = ProcessInfo.processInfo.environment[variable] ?? ""
    return value.isEmpty ? package.appending(path).string : value
  }

  /// Whether there is what a test of live processes needs; says so, loudly, where there is not.
  static var isComplete: Bool {
    for file in [tool, library, "\(programs)/target"] where !FileManager.default.fileExists(atPath: file) {
      skip(file)
      return false
    }
    return true
  }

  /// An environment that nothing of Bellows or colour is in.
  static func environment(_ added: [String: String] = [:]) -> [String: String] {
    var variables = ProcessInfo.processInfo.environment
    for name in variables.keys where name.hasPrefix("BELLOWS_") { variables[name] = nil }
    for name in ["LD_PRELOAD", "FORCE_COLOR", "CLICOLOR_FORCE", "NO_COLOR"] { variables[name] = nil }
    return variables.merging(added) { $1 }
  }

  /// Runs the tool.
  static func bellows(_ arguments: String..., environment added: [String: String] = [:]) throws
    -> Child.Result
  {
    try Child([tool] + arguments, environment: environment(added)).wait()
  }

  /// Runs the tool as a user who may nothing; nil, loudly, where this is not root.
  static func bellowsAsNobody(_ arguments: String...) throws -> Child.Result? {
    guard geteuid() == 0 else {
      skip("root, to become nobody")
      return nil
    }
    let user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return try Child(user + [tool] + arguments, environment: environment()).wait()
  }
}

/// A test program under the library, running until the test is over.
final class Target {
  let child: Child
  /// What it said before it was ready.
  let output: String

  /// Starts `target` with arguments, directly under the library or by `bellows run` with options.
  init(
    _ arguments: String..., run options: [String]? = nil, library: String = Bench.library,
    program file: String = "\(Bench.programs)/target", environment: [String: String] = [:]
  ) throws {
    let program = [file] + arguments
    if let options {
      child = try Child(
        [Bench.tool, "run", "--library", library] + options + ["--"] + program,
        environment: Bench.environment(environment))
    } else {
      let variables = Bench.environment(environment).merging(["LD_PRELOAD": library]) { $1 }
      child = try Child(program, environment: variables)
    }
    output = try child.waitForOutput(containing: "ready\n")
    if options?.contains("--control") == true { waitForControl() }
  }

  var name: String { "\(child.processID)" }

  /// Waits until the threads of control have done what they do when they start, and sleep.
  private func waitForControl() {
    let deadline = ContinuousClock.now + .seconds(60)
    let files = SystemFiles()
    func sleeps(_ task: String) -> Bool {
      // Two looks at the same count of switches: it did not run between them.
      func look() -> String? {
        guard let text = try? files.text("proc/\(name)/task/\(task)/status") else { return nil }
        let fields = KeyedText(parsing: text).fields
        return fields["State"]?.hasPrefix("S") == true ? fields["voluntary_ctxt_switches"] : nil
      }
      guard let before = look() else { return false }
      usleep(20_000)
      return look() == before
    }
    while ContinuousClock.now < deadline {
      let tasks = files.names(in: "proc/\(name)/task")
      let own = tasks.filter { files.line("proc/\(name)/task/\($0)/comm")?.hasPrefix("bellows-") == true }
      if own.count == 2, own.allSatisfy(sleeps) { return }
      usleep(2000)
    }
  }

  func send(_ signal: Int32) { kill(child.processID, signal) }

  /// The number of the child that it forked.
  var forked: Int32? {
    output.split(separator: "\n").first { $0.hasPrefix("child ") }.flatMap { Int32($0.dropFirst(6)) }
  }

  /// Anonymous resident memory in bytes.
  var resident: Int {
    ResidentMemory(reading: SystemFiles(), process: name)?.anonymousBytes ?? 0
  }

  deinit {
    if let forked { kill(forked, SIGKILL) }
    kill(child.processID, SIGKILL)
    _ = try? child.wait()
  }
}
