import Bellows
import CShims
import Foundation
import Glibc
import Testing

@testable import BellowsCLI

/// Steering where it is not easy: from another PID namespace, without /proc, by tools that die, of a page that anybody
/// scribbles on.
@Suite struct ControlTests {
  private func states(_ target: Target) throws -> String {
    try Bench.bellows("ls", "-n", "-r", "-o", "STATE,CAGED", "--summary=never", target.name).output.trimmed
  }

  private func wait(seconds: Int = 30, until isThere: () throws -> Bool) throws -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end {
      if try isThere() { return true }
      usleep(10_000)
    }
    return false
  }

  // MARK: Tools that end

  /// The section is back and the next tool served at once, although the request was for ten minutes.
  @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGKILL], [["--stay"], ["--keep-partial"], []])
  func aToolThatEndsWithdrawsItsRequest(signal: Int32, policy: [String]) throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    let tool = try Child(
      [Bench.tool, "ch", target.name, "--offline", "128M", "--deadline", "600"] + policy,
      environment: Bench.environment())
    #expect(try wait { try states(target).hasPrefix("going-offline") })
    kill(tool.processID, signal)
    let result = try tool.wait()
    #expect(result.isSignal && result.status == signal, "\(result)")
    if signal != SIGKILL { #expect(result.errors.contains("is withdrawn"), "\(result)") }
    let trim = try Bench.bellows("trim", target.name, "--timeout", "5")
    #expect(trim.status == 0, "\(trim)")
    #expect(try states(target) == "online 0B")
  }

  /// What a stopped process finds when it goes on is nobody's any more.
  @Test func theRequestOfADeadToolIsNotDoneLater() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    target.send(SIGSTOP)
    let tool = try Child(
      [Bench.tool, "limit", target.name, "1G", "--timeout", "600"], environment: Bench.environment())
    usleep(500_000)
    kill(tool.processID, SIGKILL)
    _ = try tool.wait()
    target.send(SIGCONT)
    #expect(try Bench.bellows("trim", target.name).status == 0)
    #expect(try Bench.bellows("limit", target.name).output.contains("soft limit none"))
  }

  // MARK: Other namespaces

  /// Runs `work` with a process that is number 1 of a PID namespace of its own, and its number here.
  private func inNamespace(_ options: [String], _ work: (Child, String) throws -> Void) throws {
    let target = [
      "--library", Bench.library, "--control", "--purge-delay", "600000", "--", "\(Bench.programs)/target",
    ]
    let child = try Child(
      ["unshare"] + options + ["--kill-child", Bench.tool, "run"] + target + ["idle"],
      environment: Bench.environment())
    defer {
      kill(child.processID, SIGKILL)
      _ = try? child.wait()
    }
    let output = try child.waitForOutput(containing: "ready\n")
    guard output.contains("ready\n") else { return skip("namespaces (unshare -pfm, as root)") }
    var inner = "\(child.processID)"
    while let next = SystemFiles().line("proc/\(inner)/task/\(inner)/children")?.split(separator: " ").first {
      inner = String(next)
    }
    try work(child, inner)
  }

  @Test(arguments: [
    ["-pfm", "--mount-proc"], ["-pf"], ["-pfm", "--mount-proc", "unshare", "-pfm", "--mount-proc"],
  ])
  func steersIntoAnotherNamespace(options: [String]) throws {
    guard Bench.isComplete, geteuid() == 0 else { return skip("root") }
    try inNamespace(options) { _, number in
      for command in [["trim"], ["limit", "1G"], ["ls"], ["top", "--once"]] {
        let words = [Bench.tool, command[0], number] + command.dropFirst()
        let result = try Child(words, environment: Bench.environment()).wait()
        #expect(result.status == 0, "\(command) \(result)")
      }
      let part = try Bench.bellows(
        "ch", number, "--offline", "128M", "--keep-partial", "--deadline", "0.1")
      #expect(part.status == 3, "\(part)")
      #expect(try Bench.bellows("ch", number, "--online", "128M").status == 0)
      let top = try Bench.bellows("top", "--once", number)
      #expect(top.output.contains("\(number)  target"), "\(top)")
    }
  }

  @Test func steersFromInsideOfANamespace() throws {
    guard Bench.isComplete, geteuid() == 0 else { return skip("root") }
    try inNamespace(["-pfm", "--mount-proc"]) { _, number in
      let enter = ["nsenter", "-t", number, "-p", "-m", Bench.tool]
      for command in [["trim", "1"], ["limit", "1", "1G"], ["ls", "1"]] {
        let result = try Child(enter + command, environment: Bench.environment()).wait()
        #expect(result.status == 0, "\(command) \(result)")
      }
      // By the numbers of a /proc that is an outer namespace's, and not those of one that does not show the tool.
      let outer = ["nsenter", "-t", number, "-p", Bench.tool, "trim", number]
      #expect(try Child(outer, environment: Bench.environment()).wait().status == 0)
      let other = try Child(
        ["nsenter", "-t", number, "-m", Bench.tool, "trim", "1"], environment: Bench.environment()
      ).wait()
      #expect(other.status == 1 && other.errors.contains("another PID namespace"), "\(other)")
    }
  }

  @Test func numbersOfANamespaceAreRead() throws {
    let folder = try TemporaryFolder()
    try folder.write("Name:\tx\nPid:\t700\nNSpid:\t700\t12\t3\n", to: "proc/700/status")
    try folder.write("Name:\tx\nPid:\t701\nNSpid:\t701\t13\t4\n", to: "proc/700/task/701/status")
    try folder.write("Name:\told\nPid:\t9\n", to: "proc/9/status")
    let files = SystemFiles(root: .init(folder.path))
    #expect(ProcessNumbers(of: "700", files)?.all == [700, 12, 3])
    #expect(ProcessNumbers(of: "700", files)?.own == 3)
    #expect(ProcessNumbers(of: "9", files)?.own == 9)
    #expect(ProcessNumbers(of: "8", files) == nil)
    #expect(ThreadNames(of: 700, files).number(of: 4) == 701)
    #expect(ThreadNames(of: 700, files).number(of: 5) == 5)
    #expect(ProcView(reading: files) == .foreign)
    try folder.write("Name:\tx\nNSpid:\t700\t12\t3\n", to: "proc/self/status")
    #expect(ProcView(reading: files) == .own(depth: 2))
    #expect(ProcView(reading: SystemFiles(root: .init("/nonexistent"))) == .none)
  }

  /// Runs the tool in a mount namespace without /proc.
  private func withoutProc(_ arguments: String...) throws -> Child.Result? {
    guard geteuid() == 0 else {
      skip("root")
      return nil
    }
    let script = "umount -l /proc && exec \"$@\""
    let result = try Child(
      ["unshare", "-m", "sh", "-c", script, "sh", Bench.tool] + arguments, environment: Bench.environment()
    ).wait()
    if result.errors.contains("unshare failed") {
      skip("mount namespaces")
      return nil
    }
    return result
  }

  @Test func runsWithoutProc() throws {
    guard Bench.isComplete,
      let run = try withoutProc("run", "--library", Bench.library, "--", "/bin/echo", "one", "", "two words")
    else { return }
    #expect(run.status == 0 && run.output == "one  two words\n" && run.errors.isEmpty, "\(run)")
    let status = try withoutProc("run", "--library", Bench.library, "--", "sh", "-c", "exit 7")
    #expect(status?.status == 7)
    #expect(try withoutProc("run", "--library", Bench.library, "--", "no-such-command")?.status == 127)
    // The library beside the tool is found, too.
    let search = try withoutProc("run", "--", "true")
    #expect(search?.errors.contains("/proc") == false, "\(String(describing: search))")
    #expect(try withoutProc("--version")?.output == "\(BellowsVersion.current)\n")
  }

  @Test func steersWithoutProc() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    guard let trim = try withoutProc("trim", target.name) else { return }
    if trim.errors.contains("Linux 6.9") { return skip("Linux 6.9, which gives a thread's descriptors") }
    #expect(trim.status == 0, "\(trim)")
    let limit = try withoutProc("limit", target.name, "1G")
    #expect(limit?.status == 0 && limit?.output.contains("soft limit 1 GiB") == true)
    #expect(try Bench.bellows("limit", target.name).output.contains("soft limit 1 GiB"))
    #expect(try withoutProc("limit", target.name)?.output.contains("soft limit 1 GiB") == true)
    let part = try withoutProc("ch", target.name, "--offline", "128M", "--keep-partial", "--deadline", "0.1")
    #expect(part?.status == 3, "\(String(describing: part))")
    #expect(try withoutProc("ch", target.name, "--online", "128M")?.status == 0)
    for command in [["ls"], ["ls", target.name], ["trim", "target"]] {
      let words = ["sh", "-c", "umount -l /proc && exec \"$@\"", "sh", Bench.tool] + command
      let result = try Child(["unshare", "-m"] + words, environment: Bench.environment()).wait()
      #expect(result.status == 1 && result.errors.contains("no /proc is mounted here"), "\(result)")
    }
  }

  // MARK: A page that anybody scribbles on

  /// A user's own client, which writes anything anywhere in the page, and is gone when the tool comes.
  @Test func aScribblerDoesNotKeepTheToolOut() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    let page = try #require(Self.page(of: target))
    defer { close(page) }
    let seed = UInt64.random(in: 0...(.max))
    print("aScribblerDoesNotKeepTheToolOut, seed \(seed)")
    var random = Seeded(state: seed)
    let stateOffset = try #require(MemoryLayout<bellows_control>.offset(of: \.state))
    func write(_ bytes: [UInt8], at offset: Int) {
      _ = unsafe bytes.withUnsafeBytes { unsafe pwrite(page, $0.baseAddress, $0.count, off_t(offset)) }
    }
    func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
    for round in 0..<24 {
      switch round % 6 {
      case 0: write(noise(8192), at: 0)
      case 1: write(noise(64), at: 0)
      case 2: write([UInt8](repeating: round % 4 < 2 ? 0 : 255, count: 8192), at: 0)
      default:
        // A phase for ever: requested, taken, done.
        var word = UInt32.random(in: 0...(.max), using: &random) & ~3 | UInt32(round % 3 + 1)
        write(unsafe withUnsafeBytes(of: &word) { unsafe Array($0) }, at: stateOffset)
      }
      let start = ContinuousClock.now
      let trim = try Bench.bellows("trim", target.name)
      #expect(trim.status == 0, "seed \(seed), round \(round): \(trim)")
      #expect(ContinuousClock.now - start < .seconds(5), "seed \(seed), round \(round)")
    }
    #expect(try states(target) == "online 0B")
  }

  /// The tool's own copy of what stands there says nothing that it would believe.
  @Test func numbersThatLieAreBounded() {
    var record = bellows_blocker()
    record.kind = .max
    record.count = .min
    record.bytes = .max
    let blocker = OfflineBlocker(record)
    #expect(blocker.kind == "unknown" && blocker.count == 0 && blocker.bytes == 1 << 48)
    var figures = OfflineFigures()
    figures.taken = ControlChannel.bytes(.max)
    figures.blockers = [blocker]
    var sum = figures
    for _ in 0..<20 { sum = sum + figures }
    #expect(sum.taken == 21 << 48 && sum.blockers[0].bytes == 21 << 48)
  }

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }

  private static func page(of target: Target) -> Int32? {
    let tasks = "proc/\(target.name)/task"
    for task in SystemFiles().names(in: tasks)
    where SystemFiles().line("\(tasks)/\(task)/comm") == "bellows-control" {
      for number in SystemFiles().names(in: "\(tasks)/\(task)/fd") {
        let file = unsafe open("/\(tasks)/\(task)/fd/\(number)", O_RDWR)
        if file >= 0 { return file }
      }
    }
    return nil
  }

  // MARK: Back online

  private struct Change: Decodable {
    let status: String
    let changed: Int
    let wanted: Int
  }

  /// What was kept out in part is counted as it comes, to the byte.
  @Test func onlineUndoesAPart() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    func change(_ options: String..., status: Int32) throws -> Change {
      let words = [Bench.tool, "ch", "--json", target.name] + options
      let result = try Child(words, environment: Bench.environment()).wait()
      #expect(result.status == status, "\(result)")
      return try JSONDecoder().decode(Change.self, from: Data(result.output.utf8))
    }
    for (amount, status) in [("128M", Int32(0)), ("1M", 0), ("129M", 3), ("4G", 3)] {
      let part = try change(
        "--offline", "48M", "--keep-partial", "--deadline", "0.1", status: 3)
      let list = try Bench.bellows("ls", "-b", target.name).output
      #expect(list.contains("CAGED") && list.contains("\(part.changed)"), "\(list)")
      #expect(try Bench.bellows("ls", "-J", target.name).output.contains("\"caged\":\(part.changed)"))
      let back = try change("--online", amount, status: status)
      #expect(back.changed == part.changed && back.status == (status == 0 ? "done" : "partly"))
      let after = try Bench.bellows("ls", target.name).output
      #expect(!after.contains("CAGED") && after.contains("online"), "\(after)")
    }
    _ = try change("--offline", "48M", "--keep-partial", "--deadline", "0.1", status: 3)
    let words = try Bench.bellows("ch", target.name, "--online", "4G")
    #expect(words.status == 3 && words.output.contains(" of 4 GiB online: no more is offline"), "\(words)")
    #expect(try change("--online", "128M", status: 1).changed == 0)
  }
}
