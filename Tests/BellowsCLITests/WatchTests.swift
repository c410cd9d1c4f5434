import Bellows
import Foundation
import Glibc
import SystemPackage
import Testing

@testable import BellowsCLI

/// `bellows stat` and `bellows top`.
@Suite struct WatchTests {
  private func sample(seconds: Double = 1000) throws -> Sample {
    let data = try Data(
      contentsOf: URL(fileURLWithPath: Fixtures.tests.appending("Fixtures/snapshots/mixed.json").string))
    let heap = try JSONDecoder().decode(HeapSnapshot.self, from: data)
    var census = Census.Figures()
    census.classes[7] = .init(bytes: 128, shards: 3, spanBytes: 49_152, blocks: 200)
    census.runs = 4
    census.runBytes = 5 << 20
    return Sample(
      instant: .now + .seconds(seconds), seconds: seconds, heap: heap, census: census,
      limits: HeapLimits(softBytes: 64 << 20, hardBytes: 0, heldBytes: 1 << 20), resident: 220 << 20,
      anonymous: 200 << 20, swapped: 0, faults: Int(seconds) * 10, processorSeconds: seconds / 4)
  }

  private let process = TargetProcess(id: 4711, name: "redis-server")

  /// BELLOWS_GOLDEN=write makes the file anew.
  @Test(arguments: [(true, 100), (false, 60)]) func screen(isUnicode: Bool, columns: Int) throws {
    let interval = Interval(earlier: try sample(seconds: 998), now: try sample())
    let screen = TopScreen(
      process: process, interval: interval, style: Style(isColored: false), isUnicode: isUnicode,
      columns: columns)
    var lines = screen.head
    for panel in TopScreen.Panel.allCases { lines += screen.lines(of: panel) }
    let text = (lines + [screen.legend]).joined(separator: "\n") + "\n"
    let path = Fixtures.tests.appending("Golden/top-\(columns).txt").string
    if ProcessInfo.processInfo.environment["BELLOWS_GOLDEN"] == "write" {
      try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    #expect(isUnicode || text.utf8.count == text.count, "ASCII alone")
  }

  /// Colour adds marks and nothing else, and each line ends without one.
  @Test func colourAddsMarksOnly() throws {
    let interval = Interval(earlier: nil, now: try sample())
    func lines(_ isColored: Bool) -> [String] {
      TopScreen(process: process, interval: interval, style: Style(isColored: isColored)).lines(of: .sections)
    }
    let marked = lines(true)
    let plain = marked.map { $0.replacing(/\u{1b}\[[0-9;]*m/, with: "") }
    #expect(plain == lines(false) && marked != plain)
    #expect(TopViewer.cut(marked[1], 20).replacing(/\u{1b}\[[0-9;]*m/, with: "").count == 20)
  }

  @Test func ratesAreThoseSinceTheLookBefore() throws {
    let interval = Interval(earlier: try sample(seconds: 998), now: try sample())
    #expect(abs((interval.rate { $0.faults } ?? 0) - 10) <= 1)
    #expect(abs((interval.rate { $0.processorSeconds } ?? 0) - 0.25) < 0.01)
    #expect(Interval(earlier: nil, now: try sample()).rate { $0.faults } == nil)
  }

  @Test func linesOfALiveProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("busy", "1")
    let text = try Bench.bellows("stat", target.name, "--interval", "0.1", "--count", "3")
    #expect(text.status == 0 && text.output.split(separator: "\n").count == 4, "\(text)")
    let json = try Bench.bellows("stat", target.name, "--interval", "0.1", "--count", "3", "--json")
    struct Line: Decodable {
      let schema: Int
      let process: Int32
      let rss: Int
      let online: Int
      let used: Int
      let faultsPerSecond: Int?
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let lines = try json.output.split(separator: "\n").map {
      try decoder.decode(Line.self, from: Data($0.utf8))
    }
    #expect(lines.count == 3 && lines[0].faultsPerSecond == nil && lines[2].faultsPerSecond != nil)
    let process = target.child.processID
    #expect(lines.allSatisfy { $0.schema == 1 && $0.process == process && $0.rss > 0 && $0.used > 0 })
  }

  /// Until the process ends, which is no error.
  @Test func linesEndWithTheProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    let stat = try Child(
      [Bench.tool, "stat", target.name, "--interval", "0.05"], environment: Bench.environment())
    _ = try stat.waitForOutput(containing: "RSS")
    usleep(200_000)
    target.send(SIGKILL)
    let result = try stat.wait()
    #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
  }

  @Test func onceForScripts() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    let result = try Bench.bellows("top", "--once", target.name)
    #expect(result.status == 0 && !result.output.contains("\u{1b}"), "\(result)")
    for words in ["SECTION", "BLOCK  BLOCKS", "THREAD", "1K", "memmap"] {
      #expect(result.output.contains(words), "\(words) in \(result.output)")
    }
    // Live, it wants a terminal.
    let live = try Bench.bellows("top", target.name)
    #expect(live.status == 1 && live.errors.contains("--once"), "\(live)")
  }

  /// However it ends, the screen is the one before, the cursor is on, and keys are echoed.
  @Test(arguments: ["q", "TERM", "HUP", "INT", "QUIT", "SEGV", "end"]) func terminalIsGivenBack(way: String)
    throws
  {
    guard Bench.isComplete else { return }
    guard FileManager.default.fileExists(atPath: "/usr/bin/script") else {
      return skip("script of util-linux")
    }
    let target = try Target("idle")
    let folder = try TemporaryFolder()
    let inner = """
      stty -a >\(folder.path)/before
      \(Bench.tool) top -i 0.1 \(target.name) & echo $! >\(folder.path)/pid; fg >/dev/null; stty -a >\(folder.path)/after
      echo; echo back
      """
    try folder.write(inner, to: "inner")
    // Keys come from a pipe that stays open until the display has gone.
    let path = "\(folder.path)/keys"
    try #require(unsafe mkfifo(path, 0o600) == 0)
    let keys = try FileDescriptor.open(FilePath(path), .readWrite, options: .closeOnExec)
    defer { try? keys.close() }
    let outer = "script -qec 'bash -mi \(folder.path)/inner' /dev/null <\(path)"
    let shell = try Child(["bash", "-c", outer], environment: Bench.environment(["TERM": "xterm"]))
    let shown = try shell.waitForOutput(containing: "bellows top: target")
    #expect(shown.contains("\u{1b}[?1049h"))
    let number = SystemFiles(root: .init(folder.path)).integer("pid") ?? 0
    let signals = ["TERM": SIGTERM, "HUP": SIGHUP, "INT": SIGINT, "QUIT": SIGQUIT, "SEGV": SIGSEGV]
    if way == "end" {
      target.send(SIGKILL)
    } else if way == "q" {
      try keys.writeAll("q".utf8)
    } else if let signal = signals[way], number > 1 {
      kill(pid_t(number), signal)
    }
    let result = try shell.wait()
    let end = try #require(
      result.output.range(of: "\u{1b}[?25h\u{1b}[?1049l", options: .backwards), "\(result)")
    #expect(!result.output[end.upperBound...].contains("\u{1b}[H"), "drawn after that")
    #expect(result.output[end.upperBound...].contains("back"), "\(result)")
    let files = SystemFiles(root: .init(folder.path))
    #expect(try files.text("before") == files.text("after"))
  }
}
