import Bellows
import Foundation
import Glibc
import Testing

@testable import BellowsCLI

/// `bellows run --control`, `trim` and `limit` on live processes under the library.
@Suite struct SteerTests {
  private struct Report: Decodable {
    let schema: Int
    let status: String
    let returned: Int?
    let freeResident: Int?
    let soft: Int?
    let hard: Int?
    let held: Int?
  }

  private func report(_ result: Child.Result, _ location: SourceLocation = #_sourceLocation) throws -> Report
  {
    #expect(result.status == 0, "\(result)", sourceLocation: location)
    return try reading.decode(Report.self, from: Data(result.output.utf8))
  }

  private var reading: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }

  private func threads(_ target: Target) -> [String] {
    SystemFiles().names(in: "proc/\(target.name)/task")
      .compactMap { SystemFiles().line("proc/\(target.name)/task/\($0)/comm") }
  }

  /// One thread, asleep; what it freed stays until somebody asks.
  @Test func trimOfAnIdleSingleThreadedProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "100", run: ["--control", "--purge-delay", "600000"])
    #expect(threads(target).sorted() == ["bellows-control", "bellows-worker", "target"])
    let before = target.resident
    #expect(before > 100 << 20)
    let kept = try report(try Bench.bellows("trim", "--json", "--keep", "40M", target.name))
    #expect((kept.returned ?? 0) > 55 << 20 && target.resident < before - 55 << 20)
    // By pageblocks: the last one goes as a whole.
    #expect((30 << 20...40 << 20).contains(kept.freeResident ?? 0))
    let all = try report(try Bench.bellows("trim", "--json", target.name))
    #expect(all.freeResident == 0 && target.resident < 4 << 20)
    let none = try report(try Bench.bellows("trim", "--json", target.name))
    #expect(none.returned == 0)
  }

  /// What the program sees of it: no descriptor, and no processor time while nobody asks.
  @Test func controlIsOutOfTheWay() throws {
    guard Bench.isComplete else { return }
    let plain = try Target("idle")
    let target = try Target("idle", run: ["--control", "--purge-delay", "600000"])
    func files(_ target: Target) -> [String] { SystemFiles().names(in: "proc/\(target.name)/fd") }
    #expect(files(target) == files(plain))
    let task = try #require(
      SystemFiles().names(in: "proc/\(target.name)/task").first {
        SystemFiles().line("proc/\(target.name)/task/\($0)/comm") == "bellows-worker"
      })
    func status(_ key: String) throws -> String? {
      KeyedText(parsing: try SystemFiles().text("proc/\(target.name)/task/\(task)/status")).fields[key]
    }
    let switches = try status("voluntary_ctxt_switches")
    #expect(try status("SigBlk") == "fffffffe7ffbfeff")
    usleep(300_000)
    #expect(try status("voluntary_ctxt_switches") == switches)
  }

  @Test func offByDefault() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    #expect(threads(target) == ["target"])
    for command in [["trim", target.name], ["limit", target.name, "1G"]] {
      let result = try Child([Bench.tool] + command, environment: Bench.environment()).wait()
      #expect(result.status == 1 && result.errors.contains("takes no commands"), "\(result)")
    }
    // To look needs no consent.
    #expect(try Bench.bellows("limit", target.name).output.contains("soft limit none"))
  }

  @Test func noHeapThere() throws {
    guard Bench.isComplete else { return }
    let plain = try Child(["sleep", "60"], environment: Bench.environment(["BELLOWS_CONTROL": "1"]))
    defer {
      kill(plain.processID, SIGKILL)
      _ = try? plain.wait()
    }
    #expect(try Bench.bellows("trim", "\(plain.processID)").status == 4)
    #expect(try Bench.bellows("trim", "no-such-process").status == 1)
  }

  /// A stopped process answers nobody, and finds no old request when it goes on.
  @Test func noAnswerInTime() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "50", run: ["--control", "--purge-delay", "600000"])
    target.send(SIGSTOP)
    let before = target.resident
    let result = try Bench.bellows("trim", "--timeout", "0.3", target.name)
    #expect(result.status == 5 && result.errors.contains("it is stopped"), "\(result)")
    target.send(SIGCONT)
    usleep(300_000)
    #expect(target.resident == before, "a request that was withdrawn was served")
    #expect(try Bench.bellows("trim", target.name).status == 0)
    #expect(target.resident < before / 4)
  }

  @Test func otherUsersAreRefused() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "20", run: ["--control", "--purge-delay", "600000"])
    let before = target.resident
    guard let result = try Bench.bellowsAsNobody("trim", target.name) else { return }
    #expect(result.status == 1 && result.errors.contains("belongs to root"), "\(result)")
    #expect(target.resident == before)
  }

  /// Who knows the descriptor cannot open it either: not by the link of /proc, whatever the mode of the file.
  @Test func theKernelChecksWhoOpensThePage() throws {
    guard Bench.isComplete, geteuid() == 0 else { return }
    let target = try Target("idle", run: ["--control"])
    let find = "ls -l /proc/\(target.name)/task/*/fd/* 2>/dev/null | grep -c bellows-control"
    let root = try Child(["sh", "-c", find], environment: Bench.environment()).wait()
    #expect(root.output == "1\n")
    let user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c"]
    let task = try #require(
      SystemFiles().names(in: "proc/\(target.name)/task").first {
        SystemFiles().line("proc/\(target.name)/task/\($0)/comm") == "bellows-control"
      })
    let steal = "for n in $(seq 0 30); do cat /proc/\(target.name)/task/\(task)/fd/$n && echo mine; done"
    let nobody = try Child(user + [steal], environment: Bench.environment()).wait()
    #expect(!nobody.output.contains("mine"), "\(nobody)")
  }

  /// The child has its own page, and what is asked of it is done there.
  @Test func childOfAForkIsATargetOfItsOwn() throws {
    guard Bench.isComplete else { return }
    let target = try Target("fork", run: ["--control", "--purge-delay", "600000"])
    let child = try #require(target.forked)
    let parent = try report(try Bench.bellows("limit", "--json", target.name, "1G"))
    let other = try report(try Bench.bellows("limit", "--json", "\(child)", "2G"))
    #expect(parent.soft == 1 << 30 && other.soft == 2 << 30)
    #expect(try report(try Bench.bellows("limit", "--json", target.name)).soft == 1 << 30)
    #expect((other.held ?? 0) > (parent.held ?? 0) + 90 << 20)
  }

  @Test func severalToolsTakeTurns() async throws {
    guard Bench.isComplete else { return }
    let target = try Target("busy", "2", run: ["--control"])
    let name = target.name
    let statuses = try await withThrowingTaskGroup(of: Int32.self) { group in
      for _ in 0..<4 {
        group.addTask { try (0..<5).map { _ in try Bench.bellows("trim", name).status }.max() ?? 9 }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(statuses == [0, 0, 0, 0])
  }

  @Test func limitsOfALiveProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("spare", "60", run: ["--control", "--purge-delay", "600000"])
    let before = try report(try Bench.bellows("limit", "--json", target.name))
    #expect(before.soft == nil && before.hard == nil && (before.held ?? 0) > 60 << 20)
    // What is free above it goes at once.
    let after = try report(try Bench.bellows("limit", "--json", target.name, "16M", "--hard", "1G"))
    #expect(after.soft == 16 << 20 && after.hard == 1 << 30 && (after.held ?? 0) < 16 << 20)
    #expect(target.resident < 16 << 20)
    let soft = try report(try Bench.bellows("limit", "--json", target.name, "none"))
    #expect(soft.soft == nil && soft.hard == 1 << 30)
    let wrong = try Bench.bellows("limit", target.name, "2G")
    #expect(wrong.status == 1 && wrong.errors.contains("Invalid argument"), "\(wrong)")
    #expect(try Bench.bellows("limit", target.name, "2G", "--hard", "1G").status == 64)
  }

  @Test(arguments: [
    ("10M:20M", "got 2", "kind=hard"), (":20M", "got 2", "kind=hard"), ("10M", "got 60", "kind=soft"),
  ])
  func limitFromTheStart(limit: String, output: String, event: String) throws {
    guard Bench.isComplete else { return }
    let folder = try TemporaryFolder()
    let target = try Target("limit", "60", run: ["--limit", limit, "--log", "\(folder.path)/log"])
    // The test program itself takes a little.
    #expect(target.output.hasPrefix(output) || target.output.hasPrefix("got 19"), "\(target.output)")
    // A thread of its own writes it.
    let expected = "bellows[\(target.name)]: limit \(event)"
    var log = ""
    for _ in 0..<200 where !log.contains(expected) {
      usleep(10_000)
      log = try SystemFiles(root: .init(folder.path)).text("log")
    }
    #expect(log.contains(expected), "\(log)")
  }

  @Test func eventsAsJSON() throws {
    guard Bench.isComplete else { return }
    struct Event: Decodable {
      let time: Double
      let process: Int32
      let event: String
      let kind: String?
      let returned: Int?
    }
    let folder = try TemporaryFolder()
    let target = try Target(
      "spare", "30", run: ["--control", "--purge-delay", "600000", "--log", "\(folder.path)/log,json"])
    _ = try Bench.bellows("trim", target.name)
    _ = try Bench.bellows("limit", target.name, "1K")
    // A thread of its own writes it.
    usleep(200_000)
    let log = try SystemFiles(root: .init(folder.path)).text("log")
    let events = try log.split(separator: "\n").map {
      try JSONDecoder().decode(Event.self, from: Data($0.utf8))
    }
    let process = target.child.processID
    let now = Date().timeIntervalSince1970
    #expect(events.allSatisfy { $0.process == process && abs($0.time - now) < 100 })
    #expect(events.contains { $0.event == "purge" && ($0.returned ?? 0) > 25 << 20 }, "\(log)")
    #expect(events.contains { $0.event == "limit" && $0.kind == "soft" }, "\(log)")
  }

  /// A page that lies is not believed, and a process that is not ours cannot make root wait for ever.
  @Test func optionsAreChecked() throws {
    #expect(try Bench.bellows("trim", "--keep", "a lot", "1").status == 64)
    #expect(try Bench.bellows("trim", "--timeout", "-1", "1").status == 64)
    #expect(try Bench.bellows("run", "--limit", "2G:1G", "--", "true").status == 125)
    #expect(try Bench.bellows("run", "--limit", "x", "--", "true").status == 125)
  }
}
