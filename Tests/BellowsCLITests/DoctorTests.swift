import Bellows
import FoundationEssentials
import Testing

@testable import BellowsCLI

@Suite struct DiagnosisTests {
  /// Returns a report of a fine system, to be made worse by the test.
  private func report(_ tree: String = "nodes-1") -> SystemReport {
    var report = SystemReport(
      files: Fixtures.files(tree),
      library: LibraryReport(
        path: "/lib/x.so", problem: nil,
        trial: .init(program: "cat", ending: "exit 0", inUse: true, message: "")))
    report.kernel = KernelVersion(parsing: "6.12.1")
    report.pageBytes = 4096
    report.pressure = Pressure(parsing: "some avg10=0 avg60=0 avg300=0\nfull avg10=0 avg60=0 avg300=0")
    report.hugePages = HugePageSettings(reading: Fixtures.files("thp-madvise"))
    report.overcommit = .heuristic
    report.features = KernelFeature.allCases.map { .init(name: $0, works: true, errno: nil, error: nil) }
    return report
  }

  private func finding(_ id: String, _ report: SystemReport) throws -> Finding {
    try #require(Diagnosis(of: report).findings.first { $0.id == id })
  }

  private func limits(addressSpace: String = "unlimited", data: String = "unlimited") -> ResourceLimits? {
    ResourceLimits(
      parsing: """
        Max data size  \(data) unlimited bytes
        Max stack size  8388608 unlimited bytes
        Max locked memory  65536 65536 bytes
        Max address space  \(addressSpace) unlimited bytes
        """)
  }

  @Test func fineSystemHasNothingToSay() {
    let diagnosis = Diagnosis(of: report())
    #expect(diagnosis.works)
    #expect(diagnosis.findings.filter { $0.verdict != .ok } == [])
    #expect(diagnosis.findings.allSatisfy { $0.advice == nil })
    #expect(Set(diagnosis.findings.map(\.id)).count == diagnosis.findings.count)
  }

  @Test func otherPageSizeIsAnError() throws {
    var report = report()
    report.pageBytes = 65536
    #expect(try finding("page-size", report).verdict == .error)
    #expect(!Diagnosis(of: report).works)
  }

  @Test(arguments: [
    (LibraryReport.Trial(program: "p", ending: "exit 0", inUse: true, message: ""), Finding.Verdict.ok),
    (.init(program: "p", ending: "exit 0", inUse: true, message: "bellows: BELLOWS_X?\n"), .warning),
    (.init(program: "p", ending: "exit 0", inUse: false, message: "ld.so: ignored"), .error),
    (.init(program: "p", ending: "exit 0", inUse: false, message: ""), .error),
    (.init(program: "p", ending: "exit 127", inUse: false, message: "symbol lookup error"), .error),
    (.init(program: "p", ending: "signal 11", inUse: false, message: ""), .error),
    (.init(program: "p", ending: nil, inUse: false, message: "No such file"), .note),
  ])
  func trial(trial: LibraryReport.Trial, verdict: Finding.Verdict) throws {
    var report = report()
    report.library = LibraryReport(path: "/lib/x.so", problem: nil, trial: trial)
    let finding = try finding("library-loads", report)
    #expect(finding.verdict == verdict)
    #expect((finding.advice == nil) == (verdict == .ok))
    #expect(Diagnosis(of: report).works == (verdict != .error))
  }

  @Test func withoutLibrary() throws {
    var report = report()
    report.library = LibraryReport(path: nil, problem: "Build it.", trial: nil)
    #expect(try finding("library", report).advice == "Build it.")
    #expect(!Diagnosis(of: report).works)
  }

  @Test(arguments: [("thp-always", Finding.Verdict.note), ("thp-madvise", .ok), ("thp-never", .note)])
  func hugePages(tree: String, verdict: Finding.Verdict) throws {
    var report = report()
    report.hugePages = HugePageSettings(reading: Fixtures.files(tree))
    #expect(try finding("thp", report).verdict == verdict)
    report.hugePages = nil
    #expect(try finding("thp", report).verdict == .note)
  }

  @Test func nodesAreCounted() throws {
    var report = report()
    report.topology = NodeTopology(reading: Fixtures.files("nodes-8-offline-cpus"))
    #expect(try finding("numa", report).value == "8 nodes, 60 CPUs, 4 offline")
    report.topology = NodeTopology(reading: Fixtures.files("nodes-4-cpuless"))
    #expect(try finding("numa", report).value == "4 nodes, 6 CPUs; without CPUs: 3")
    report.topology = NodeTopology(reading: Fixtures.files("nodes-memoryless"))
    #expect(try finding("numa", report).value == "2 nodes, 16 CPUs; without memory: 1")
  }

  @Test(arguments: [(30000, Finding.Verdict.note), (1_000_001, .warning)])
  func strictOvercommit(committed: Int, verdict: Finding.Verdict) throws {
    var report = report()
    report.overcommit = .never
    report.memory = MemoryInfo(
      parsing: "MemTotal: 2000000 kB\nCommitLimit: 1000000 kB\nCommitted_AS: \(committed) kB")
    #expect(try finding("overcommit", report).verdict == verdict)
  }

  @Test(arguments: [("unlimited", Finding.Verdict.ok), ("1024000000", .note), ("104857600", .warning)])
  func addressSpace(bytes: String, verdict: Finding.Verdict) throws {
    var report = report()
    report.limits = limits(addressSpace: bytes)
    #expect(try finding("rlimit-as", report).verdict == verdict)
    #expect(try finding("rlimit-stack", report).verdict == .ok)
  }

  @Test func groupNearItsLimit() throws {
    var report = report()
    report.cgroup = CgroupMemory(reading: Fixtures.files("cgroup-v2"))
    #expect(try finding("cgroup", report).value == "v2, limit 512 MiB, 286.1 MiB used")
    report.cgroup = CgroupMemory(reading: Fixtures.files("cgroup-hybrid-memory-v2"))
    #expect(try finding("cgroup", report).verdict == .warning)
  }

  @Test func missingFeatures() throws {
    var report = report()
    report.features = KernelFeature.allCases.map {
      .init(name: $0, works: false, errno: 22, error: "Invalid argument")
    }
    #expect(try finding("membarrier", report).verdict == .warning)
    #expect(try finding("MADV_GUARD_INSTALL", report).verdict == .note)
    #expect(Diagnosis(of: report).works)
  }

  @Test(arguments: [nil, 0, 1, 2, 3]) func ptraceScope(scope: Int?) throws {
    var report = report()
    report.ptraceScope = scope
    #expect(try finding("ptrace-scope", report).verdict == ((scope ?? 0) == 0 ? .ok : .note))
  }
}

@Suite struct OutputTests {
  @Test(arguments: [
    (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2 << 20, "2 MiB"),
    (1_048_575, "1 MiB"), (25_232_420_864, "23.5 GiB"), (1 << 40, "1 TiB"), (Int.max, "8 EiB"),
  ])
  func bytes(amount: Int, text: String) { #expect(Bytes.text(amount) == text) }

  @Test func wrapping() {
    #expect(
      DoctorText.wrapped("one two three\n  four five six", width: 9) == [
        "one two", "three", "  four", "  five", "  six",
      ])
    #expect(DoctorText.wrapped("/a/path/longer/than/the/line", width: 9) == ["/a/path/longer/than/the/line"])
  }

  @Test(arguments: [
    (ColorChoice.auto, ["TERM": "xterm"], true, true), (.auto, ["TERM": "xterm"], false, false),
    (.auto, ["TERM": "dumb"], true, false), (.auto, [:], true, false),
    (.auto, ["TERM": "xterm", "NO_COLOR": "1"], true, false),
    (.auto, ["TERM": "xterm", "NO_COLOR": ""], true, true),
    (.auto, ["FORCE_COLOR": "1"], false, true), (.auto, ["FORCE_COLOR": "1", "NO_COLOR": "1"], false, false),
    (.auto, ["CLICOLOR_FORCE": "0"], false, false), (.always, ["NO_COLOR": "1"], false, true),
    (.never, ["FORCE_COLOR": "1", "TERM": "xterm"], true, false),
  ])
  func colour(choice: ColorChoice, environment: [String: String], isTerminal: Bool, isColored: Bool) {
    #expect(Style(choice, environment: environment, isTerminal: isTerminal).isColored == isColored)
  }

  @Test func marksDoNotChangeTheText() {
    #expect(Style(isColored: true).mark("ok", .good) == "\u{1b}[32mok\u{1b}[0m")
    #expect(Style(isColored: false).mark("ok", .good) == "ok")
  }
}
