import Bellows
import Foundation
import Glibc
import Testing

@testable import BellowsCLI

/// A real service looked at and steered: Redis, idle, stopped, and under load.
@Suite struct RedisTests {
  /// A server on a socket of its own, gone with its owner.
  private final class Server {
    let child: Child
    let folder: TemporaryFolder
    var name: String { "\(child.processID)" }

    init?() throws {
      guard Bench.isComplete else { return nil }
      for program in ["redis-server", "redis-cli"]
      where Executable(named: program, searchPath: ProcessInfo.processInfo.environment["PATH"]) == nil {
        skip(program)
        return nil
      }
      folder = try TemporaryFolder()
      child = try Child(
        [
          Bench.tool, "run", "--library", Bench.library, "--control", "--log",
          "\(folder.path)/events,json", "--", "redis-server", "--port", "0", "--unixsocket",
          "\(folder.path)/socket", "--save", "", "--dir", folder.path,
        ], environment: Bench.environment())
      _ = try child.waitForOutput(containing: "\(folder.path)/socket")
    }

    /// Asks it with the client that comes with it.
    func ask(_ words: String...) throws -> String {
      let result = try Child(
        ["redis-cli", "-s", "\(folder.path)/socket"] + words, environment: Bench.environment()
      ).wait()
      #expect(result.status == 0, "\(result)")
      return result.output.trimmed
    }

    func fill(_ count: Int) throws {
      let script = "for i=1,\(count) do redis.call('set','k:'..i,string.rep('x',i%3000)) end return 1"
      _ = try ask("eval", script, "0")
    }

    /// Deletes nine of ten.
    func thin(_ count: Int) throws {
      let script = "for i=1,\(count) do if i%10>0 then redis.call('del','k:'..i) end end return 1"
      _ = try ask("eval", script, "0")
    }

    var events: [String] {
      ((try? String(contentsOfFile: "\(folder.path)/events", encoding: .utf8)) ?? "")
        .split(separator: "\n").map { String($0) }
    }

    deinit {
      kill(child.processID, SIGCONT)
      kill(child.processID, SIGKILL)
      _ = try? child.wait()
    }
  }

  private func object(_ result: Child.Result) throws -> [String: Any] {
    #expect(result.status == 0, "\(result)")
    return try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
  }

  @Test func lifeOfAService() throws {
    guard let server = try Server() else { return }
    let count = 60_000
    try server.fill(count)
    let full = try object(try Bench.bellows("stat", "--json", server.name))
    #expect(try #require(full["used"] as? Int) > 80 << 20)
    try server.thin(count)
    // One thread, idle: what it freed last stays until somebody asks for it.
    let before = try #require(
      ResidentMemory(reading: SystemFiles(), process: server.name)?.residentBytes)
    // A hundred milliseconds apart it looks after itself, and frees its old table of keys one of these times: perhaps
    // just between what a trim does and what it counts then.
    var (returned, left) = (0, -1)
    for _ in 0..<50 where left != 0 {
      let trim = try object(try Bench.bellows("trim", "--json", server.name))
      returned += try #require(trim["returned"] as? Int)
      left = try #require(trim["free_resident"] as? Int)
    }
    let after = try #require(ResidentMemory(reading: SystemFiles(), process: server.name)?.residentBytes)
    #expect(left == 0)
    #expect(after <= before - returned + (1 << 20))
    #expect(after < (full["rss"] as? Int ?? 0) / 2, "\(after) of \(full)")
    let listing = try object(
      try Bench.bellows("ls", "-a", "-J", "-o", "STATE,USED,NODE,ZONE,BLOCK", server.name))
    let rows = try #require(listing["memory"] as? [[String: Any]])
    #expect(rows.allSatisfy { $0["state"] as? String == "online" && $0["zone"] as? String == "normal" })
    // A soft limit far above, and shown again.
    _ = try object(try Bench.bellows("limit", "--json", server.name, "1G", "--hard", "2G"))
    let limit = try object(try Bench.bellows("limit", "--json", server.name))
    #expect(limit["soft"] as? Int == 1 << 30 && limit["hard"] as? Int == 2 << 30)
    // Live keys are in the way, and named; all is well after that.
    let asked = try Bench.bellows("ch", "--json", server.name, "--offline", "1G", "--deadline", "0.3")
    #expect([1, 3].contains(asked.status), "\(asked)")
    #expect(asked.output.contains("\"kind\":\"blocks\""), "\(asked)")
    #expect(try server.ask("dbsize") == "\(count / 10)")
    #expect(try server.ask("strlen", "k:2990") == "2990")
    let events = server.events
    for event in ["purge", "offline", "blocker"] {
      #expect(events.contains { $0.contains("\"event\":\"\(event)\"") }, "\(event) in \(events)")
    }
    for line in events {
      #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "\(line)")
    }
  }

  /// To look at a stopped one is no different; to steer it needs it.
  @Test func stopped() throws {
    guard let server = try Server() else { return }
    try server.fill(5000)
    // Between the two looks it may do something, so there are more of them.
    var (running, stopped) = ("", "-")
    for _ in 0..<20 where stopped != running {
      kill(server.child.processID, SIGCONT)
      running = try Bench.bellows("ls", "-b", "-n", "-r", "--output-all", server.name).output
      kill(server.child.processID, SIGSTOP)
      let result = try Bench.bellows("ls", "-b", "-n", "-r", "--output-all", server.name)
      #expect(result.status == 0, "\(result)")
      stopped = result.output
    }
    #expect(stopped == running && !running.isEmpty)
    #expect(try Bench.bellows("top", "--once", server.name).status == 0)
    let trim = try Bench.bellows("trim", "--timeout", "0.3", server.name)
    #expect(trim.status == 5 && trim.errors.contains("it is stopped"), "\(trim)")
    kill(server.child.processID, SIGCONT)
    #expect(try Bench.bellows("trim", server.name).status == 0)
    #expect(try server.ask("dbsize") == "5000")
  }

  /// While it works: looks are never garbage, and sections go and come.
  @Test func busy() throws {
    guard let server = try Server() else { return }
    let script = """
      for n=1,20 do for i=1,8000 do redis.call('set','k:'..i,string.rep('x',(i*n)%3000)) end end return 1
      """
    let load = try Child(
      ["redis-cli", "-s", "\(server.folder.path)/socket", "eval", script, "0"],
      environment: Bench.environment())
    for _ in 0..<5 {
      let figures = try object(try Bench.bellows("stat", "--json", server.name))
      #expect(figures["schema"] as? Int == 1 && (figures["online"] as? Int ?? 0) >= 128 << 20)
      let top = try object(try Bench.bellows("top", "--once", "--json", server.name))
      #expect((top["sections"] as? [Any])?.isEmpty == false)
      let away = try Bench.bellows(
        "ch", server.name, "--offline", "128M", "--keep-partial", "--deadline", "0.1")
      #expect([0, 1, 3].contains(away.status), "\(away)")
      let back = try Bench.bellows("ch", server.name, "--online", "128M")
      #expect([0, 1].contains(back.status), "\(back)")
    }
    #expect(try load.wait().status == 0)
    #expect(try server.ask("dbsize") == "8000")
    #expect(try server.ask("strlen", "k:7") == "140")
  }

  /// A child of fork is a process of its own: Redis forks to save.
  @Test func forked() throws {
    guard let server = try Server() else { return }
    try server.fill(5000)
    // It would take minutes.
    _ = try server.ask("config", "set", "rdb-key-save-delay", "100000")
    _ = try server.ask("bgsave")
    let children = try SystemFiles().text("proc/\(server.name)/task/\(server.name)/children")
    let child = try #require(children.split(separator: " ").first.map { String($0) })
    defer { kill(Int32(child) ?? 0, SIGKILL) }
    let figures = try object(try Bench.bellows("stat", "--json", child))
    #expect(figures["process"] as? Int == Int(child) && (figures["used"] as? Int ?? 0) > 1 << 20)
    #expect(try Bench.bellows("ls", child).status == 0)
  }
}
