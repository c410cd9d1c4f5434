import Chromium
import Foundation
import Testing

@testable import BellowsCLI

/// The built tool, its workload program and its recorder, run as children.
///
/// Short runs with few blocks: what is judged are bounds that differ by a factor, never a time.
@Suite(.serialized) struct StressTests {
  private static let build = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent()
  private static let package = Fixtures.tests.removingLastComponent().removingLastComponent().string

  private static let library: String? = {
    let named = ProcessInfo.processInfo.environment["BELLOWS_LIB"] ?? ""
    let path = named.isEmpty ? "\(package)/.build/release/libbellows-malloc.so" : named
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }()

  /// A library of the test programs.
  private static func faulty(_ name: String) -> String? {
    let path = "\(package)/.build/programs/\(name).so"
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  private func tool(_ arguments: [String]) throws -> Child.Result {
    var variables = ProcessInfo.processInfo.environment
    for name in variables.keys where name.hasPrefix("BELLOWS_") { variables[name] = nil }
    for name in ["LD_PRELOAD", "FORCE_COLOR", "CLICOLOR_FORCE"] { variables[name] = nil }
    variables["BELLOWS_LIB"] = Self.library
    return try Child([Self.build.appendingPathComponent("bellows").path] + arguments, environment: variables)
      .wait()
  }

  private func stress(
    _ scenario: String, _ allocators: [String], _ options: [String] = [], seconds: Double = 1
  )
    throws -> Child.Result
  {
    try tool(
      ["stress", scenario, "--seconds", "\(seconds)", "--live", "16M"]
        + allocators.flatMap { ["--allocator", $0] }
        + options)
  }

  private func json(_ result: Child.Result) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
  }

  private func run(_ object: [String: Any], _ index: Int = 0) throws -> [String: Any] {
    try #require((object["runs"] as? [[String: Any]])?[index])
  }

  @Test(arguments: StressScenario.all.map(\.name).filter { $0 != "replay" })
  func scenarioRunsAndItsFiguresAgree(scenario: String) throws {
    let result = try stress(scenario, ["glibc"], ["--verify", "--json", "-", "--seed", "7"])
    #expect(result.status == 0, "\(result.errors)")
    let object = try json(result)
    #expect(object["schema"] as? Int == 1 && object["scenario"] as? String == scenario)
    let run = try run(object)
    #expect(run["failure"] == nil && run["damaged"] as? Int == 0 && run["lost"] as? Int == 0)
    #expect(try #require(run["operations"] as? Int) > 1000)
    let samples = try #require(run["samples"] as? [String: [Double]])
    let lengths = Set(samples.values.map(\.count))
    #expect(lengths.count == 1 && lengths.first ?? 0 >= 3)
    let (rss, live) = (try #require(samples["rssBytes"]), try #require(samples["liveBytes"]))
    let base = try #require(run["baseBytes"] as? Double)
    #expect(try #require(run["peakBytes"] as? Double) >= rss.max() ?? 0)
    // What lives is written to, so it is resident; a sample's parts are read one after the other.
    for (resident, bytes) in zip(rss, live) { #expect(resident - base > bytes * 0.7 - 4e6) }
    #expect(live.max() ?? 0 > 1e6)
    #expect(
      zip(samples["operations"] ?? [], (samples["operations"] ?? []).dropFirst()).allSatisfy { $0 <= $1 })
    let latency = try #require(run["latencyNanoseconds"] as? [String: Double])
    #expect(
      latency["p50"] ?? .nan <= latency["p99"] ?? .nan && latency["p99"] ?? .nan <= latency["longest"] ?? .nan
    )
  }

  @Test func oneSeedIsOneSequence() throws {
    let peaks = try [1, 1, 2].map { seed -> Int in
      let run = try run(try json(try stress("spike", ["glibc"], ["--json", "-", "--seed", "\(seed)"])))
      return try #require(run["operations"] as? Int)
    }
    #expect(peaks[0] == peaks[1] && peaks[0] != peaks[2])
  }

  @Test func whatGivesBackHolds() throws {
    guard let library = Self.library else { return skip("libbellows-malloc.so") }
    let result = try stress(
      "spike", [library],
      ["--assert", "rss - base < 0.25 * max(live) @ +1s", "--assert", "max(rss - base) < 2 * max(live)"],
      seconds: 3)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains("held") && !result.output.contains("broken"))
  }

  @Test func whatHoardsBreaks() throws {
    guard let library = Self.faulty("hoarding") else { return skip("hoarding.so (make programs)") }
    let result = try stress(
      "spike", [library], ["--assert", "rss - base < 0.25 * max(live) @ +1s"], seconds: 3)
    #expect(result.status == 6 && result.output.contains("broken"), "\(result.output)\(result.errors)")
  }

  @Test func whatLeaksBreaks() throws {
    guard let library = Self.faulty("leaking"), let sound = Self.faulty("hoarding") else {
      return skip("leaking.so and hoarding.so (make programs)")
    }
    let bound = ["--assert", "rss - base < 4 * live @ 50%..end"]
    // It only uses memory again: in a server with constant live bytes that is no fault.
    #expect(try stress("server", [sound], bound, seconds: 2).status == 0)
    let result = try stress("server", [library], bound, seconds: 2)
    #expect(result.status == 6 && result.output.contains("broken"), "\(result.output)\(result.errors)")
  }

  @Test func whatDamagesFails() throws {
    guard let library = Self.faulty("damaging") else { return skip("damaging.so (make programs)") }
    let result = try stress("server", [library], seconds: 2)
    #expect(
      result.status == 1 && result.errors.contains("changed contents"), "\(result.output)\(result.errors)")
  }

  // The scenario's own bounds tell, and have no consequence.
  @Test func withoutAssertionsTheVerdictIsOnlyTold() throws {
    guard let library = Self.faulty("hoarding") else { return skip("hoarding.so (make programs)") }
    let result = try stress("spike", [library], seconds: 3)
    #expect(result.status == 0 && result.output.contains("broken"))
  }

  @Test(arguments: [
    (["nonsense"], 64, "no scenario 'nonsense'"), (["spike", "--assert", "rss <"], 64, "the text ends"),
    (["spike", "--allocator", "nosuch"], 1, "no allocator 'nosuch'"),
    (["spike", "--allocator", "/nosuch.so"], 1, "/nosuch.so"), (["replay"], 64, "--trace"),
    (["spike", "--trace", "x"], 64, "--trace"), (["replay", "--trace", "/nosuch"], 1, "/nosuch"),
    (["replay", "--trace", "/bin/sh"], 1, "not a recording"), (["spike", "--sizes", "4K..1"], 64, "sizes"),
    (["spike", "--html", "/nosuch/x.html", "--seconds", "0.2", "--allocator", "glibc"], 1, "/nosuch/x.html"),
    (
      ["spike", "--seconds", "0.2", "--allocator", "glibc", "--assert", "live > 0 @ nowhere"], 1,
      "no event 'nowhere'"
    ),
    (["handover", "--threads", "1"], 64, "--threads"), ([], 64, "Which scenario"),
  ])
  func mistakesAreNamed(arguments: [String], status: Int32, words: String) throws {
    let result = try tool(["stress"] + arguments)
    #expect(result.status == status && !result.isSignal, "\(result.output)\(result.errors)")
    #expect(result.errors.contains(words), "\(result.errors)")
  }

  @Test func scenariosAreListed() throws {
    let result = try tool(["stress", "--list"])
    #expect(result.status == 0)
    for scenario in StressScenario.all { #expect(result.output.contains(scenario.name)) }
  }

  @Test(arguments: [false, true]) func pageCanBeReadInABrowser(dark: Bool) throws {
    guard let browser = Browser.find() else { return skip("chromium") }
    let folder = try TemporaryFolder()
    let (page, drawing) = ("\(folder.path)/page.html", "\(folder.path)/drawing.svg")
    let allocators = Self.library == nil ? ["glibc"] : ["bellows", "glibc"]
    let result = try stress(
      Self.library == nil ? "spike" : "offline", allocators, ["--html", page, "--svg", drawing], seconds: 3)
    #expect(result.status == 0, "\(result.errors)")
    let html = try String(contentsOfFile: page, encoding: .utf8)
    let findings = try browser.findings(in: html, dark: dark)
    #expect(findings.overlaps.isEmpty, "texts that overlap: \(findings.overlaps)")
    #expect(findings.outside.isEmpty, "texts that are cut off: \(findings.outside)")
    #expect(findings.faint.isEmpty, "texts that are hard to read: \(findings.faint)")
    #expect(!findings.wide && findings.texts > 20)
    #expect(html.contains("bellows stress") && html.contains("\"schema\":1"))
    let svg = try String(contentsOfFile: drawing, encoding: .utf8)
    #expect(svg.hasPrefix("<svg") && svg.contains("<command>bellows stress") && svg.contains("<data>{"))
    try browser.keep(html, "stress", dark: dark)
    try browser.keep(svg, "stress", dark: dark)
  }

  @Test(arguments: [1, 4]) func recordingIsReplayed(sample: Int) throws {
    let folder = try TemporaryFolder()
    let trace = "\(folder.path)/workload.trace"
    let program = Self.build.appendingPathComponent("bellows-workload").path
    let recorded = try tool(
      [
        "record", "--output", trace, "--sample", "\(sample)", "--", program, "server", "seconds=0.1",
        "live=1000000", "threads=3",
      ])
    #expect(recorded.status == 0 && recorded.errors.isEmpty, "\(recorded.errors)")
    let file = try TraceFile(reading: trace)
    #expect(file.command == "bellows-workload" && file.sampled == sample && !file.isCutOff)
    // The program tells how many operations it did: malloc and free, and realloc, which is two events.
    let words = recorded.output.split(separator: " ")
    let operations = Int(try #require(words.firstIndex(of: "operations,").map { words[$0 - 1] })) ?? 0
    let share = Double(file.events.count) / Double(operations)
    #expect(sample == 1 ? (1..<1.1).contains(share) : (0.1..<0.6).contains(share), "\(share)")
    let plan = PreparedTrace(file)
    #expect(plan.unknown < 100)
    let result = try tool([
      "stress", "replay", "--trace", trace, "--allocator", "glibc", "--json", "-", "--seconds", "5",
    ])
    #expect(result.status == 0, "\(result.errors)")
    let run = try run(try json(result))
    #expect(run["operations"] as? Int == plan.steps.reduce(0) { $0 + $1.count })
    #expect(run["damaged"] as? Int == 0 && run["refused"] as? Int == 0)
  }

  /// The program of the test that is recorded, or nil, loudly.
  private var recorded: String? {
    let path = "\(Self.package)/.build/programs/recorded"
    if FileManager.default.fileExists(atPath: path) { return path }
    skip("recorded (make programs)")
    return nil
  }

  @Test func alignmentIsRecordedAndReplayed() throws {
    guard let recorded else { return }
    let folder = try TemporaryFolder()
    let trace = "\(folder.path)/aligned.trace"
    #expect(try tool(["record", "--output", trace, "--", recorded]).status == 0)
    let events = try TraceFile(reading: trace).events
    for (step, size) in [UInt64(70001), 70002, 70003].enumerated() {
      let shifts = events.filter { $0.size == size }.map(\.alignmentShift)
      #expect(shifts == Array(4...21), "\(step)")
    }
    #expect(events.filter { $0.size == 70004 }.map(\.alignmentShift) == [6])
    #expect(events.filter { $0.size == 70005 }.map(\.alignmentShift) == [12])
    #expect(events.filter { $0.size == 80001 }.map(\.kind) == [.allocate])
    // The workload program counts a block that does not lie where it should as damaged, which fails the run.
    for allocator in ["glibc", Self.library].compactMap({ $0 }) {
      let result = try tool([
        "stress", "replay", "--trace", trace, "--allocator", allocator, "--seconds", "1", "--json", "-",
      ])
      #expect(result.status == 0, "\(result.errors)")
      let run = try run(try json(result))
      #expect(run["damaged"] as? Int == 0 && run["refused"] as? Int == 0)
    }
  }

  @Test func childrenHaveRecordingsOfTheirOwn() throws {
    guard let recorded else { return }
    let folder = try TemporaryFolder()
    let trace = "\(folder.path)/family.trace"
    let result = try tool(["record", "--output", trace, "--", recorded, "children"])
    #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
    func number(_ word: String) throws -> String {
      let line = result.output.split(separator: "\n").first { $0.hasPrefix("\(word) ") }
      return try #require(line.map { String($0.dropFirst(word.count + 1)) })
    }
    func sizes(_ file: String) throws -> [UInt64] { try TraceFile(reading: file).events.map(\.size) }
    let parent = try sizes(trace)
    #expect(parent.contains(80001) && !parent.contains(90001))
    let child = try sizes("\(trace).\(try number("child"))")
    #expect(child.count { $0 == 90001 } == 10 && !child.contains(80001) && !child.contains(100_001))
    #expect(try sizes("\(trace).\(try number("grandchild"))").contains(100_001))
    let program = try TraceFile(reading: "\(trace).\(try number("program"))")
    #expect(program.events.contains { $0.size == 110_001 } && program.parent == Int32(result.processID))
    // Each can be replayed: what a child frees of its parent's is left out.
    let plan = PreparedTrace(try TraceFile(reading: "\(trace).\(try number("child"))"))
    #expect(plan.unknown >= 1 && plan.steps.reduce(0) { $0 + $1.count } >= 20)
    let alone = "\(folder.path)/alone.trace"
    #expect(
      try tool(["record", "--no-children", "--output", alone, "--", recorded, "children"]).status == 0)
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(files.filter { $0.hasPrefix("alone") } == ["alone.trace"])
  }

  @Test func balloonBreathesAndItsFiguresAgree() throws {
    guard let library = Self.library else { return skip("libbellows-malloc.so") }
    let result = try stress("balloon", [library, "glibc"], ["--verify", "--json", "-"], seconds: 3)
    #expect(result.status == 0, "\(result.errors)")
    let object = try json(result)
    let own = try run(object)
    #expect(own["verdict"] as? String == "held" && own["damaged"] as? Int == 0, "\(own["bounds"] ?? "")")
    let labels = (own["events"] as? [[String: Any]] ?? []).compactMap { $0["label"] as? String }
    func bytes(_ word: String) -> [Int] {
      labels.filter { $0.hasPrefix(word) }.compactMap { Int($0.split(separator: " ")[1]) }
    }
    // What goes in comes out again, but for what malloc took of it meanwhile.
    #expect(bytes("inflate,").count == 6 && bytes("inflate,").contains { $0 > 0 }, "\(labels)")
    #expect(bytes("deflate,").count == 6 && zip(bytes("inflate,"), bytes("deflate,")).allSatisfy { $0 >= $1 })
    let other = try run(object, 1)
    #expect(other["verdict"] as? String == "not offered")
  }

  /// Where an allocator has no limit the kernel's stands in, and the report says so.
  @Test func limitOfTheKernelStandsIn() throws {
    let result = try stress("limit", ["glibc"], ["--json", "-"], seconds: 2)
    let run = try run(try json(result))
    #expect(result.status == 0 && run["substitute"] as? String == "the kernel's RLIMIT_DATA")
    #expect(try #require(run["refused"] as? Int) > 0)
    let text = try stress("limit", ["glibc"], seconds: 1)
    #expect(text.output.contains("the kernel's RLIMIT_DATA stood in"), "\(text.output)")
  }

  @Test func recordLeavesTheCommandAsItIs() throws {
    let folder = try TemporaryFolder()
    let trace = "\(folder.path)/sh.trace"
    let result = try tool([
      "record", "--output", trace, "--", "sh", "-c", "ls / >/dev/null; exec ls /proc/self/fd",
    ])
    // Of a script that ends in exec the program counts, and no low descriptor is taken.
    #expect(
      result.status == 0 && result.output.split(separator: "\n").prefix(4) == ["0", "1", "2", "3"],
      "\(result.output)")
    #expect(try TraceFile(reading: trace).command == "ls")
    #expect(try tool(["record", "--output", trace, "--", "sh", "-c", "exit 7"]).status == 7)
    #expect(try tool(["record", "--", "/nosuch/command"]).status == 127)
    #expect(try tool(["record"]).status == 125)
  }
}
