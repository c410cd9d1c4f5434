import Foundation
import Testing

@testable import BellowsCLI

/// Man pages and completions are generated from the commands: each command must give what they are made of.
@Suite struct ManualTests {
  private struct Dump: Decodable {
    struct Command: Decodable {
      let commandName: String
      let abstract: String?
      let discussion: String?
      let subcommands: [Command]?
      let shouldDisplay: Bool?
    }
    let command: Command
  }

  private static let names = [
    "run", "ls", "ch", "trim", "limit", "stat", "top", "stress", "record", "numa", "doctor",
  ]

  private var commands: [Dump.Command] {
    get throws {
      let result = try Bench.bellows("--experimental-dump-help")
      #expect(result.status == 0)
      let dump = try JSONDecoder().decode(Dump.self, from: Data(result.output.utf8))
      return (dump.command.subcommands ?? []).filter { $0.commandName != "help" }
    }
  }

  @Test func eachCommandHasAPage() throws {
    #expect(Set(try commands.map(\.commandName)) == Set(Self.names))
    for command in try commands.flatMap({ [$0] + ($0.subcommands ?? []) }) {
      #expect(command.abstract?.hasSuffix(".") == true, "\(command.commandName)")
      #expect(command.discussion?.isEmpty == false || command.subcommands != nil, "\(command.commandName)")
    }
    // Examples make a page useful, and exit statuses make a command useful in scripts.
    for command in try commands {
      #expect(command.discussion?.contains("Examples:") == true, "\(command.commandName)")
    }
    let generator = URL(fileURLWithPath: Bench.tool).deletingLastPathComponent()
      .appendingPathComponent("generate-manual").path
    guard FileManager.default.isExecutableFile(atPath: generator) else {
      return skip("generate-manual (swift build --product generate-manual)")
    }
    let folder = try TemporaryFolder()
    let result = try Child(
      [generator, Bench.tool, "--multi-page", "--date", "2026-01-01", "-o", folder.path],
      environment: Bench.environment()
    ).wait()
    #expect(result.status == 0, "\(result)")
    for name in Self.names {
      let page = try String(contentsOfFile: "\(folder.path)/bellows.\(name).1", encoding: .utf8)
      #expect(page.contains(".Dt BELLOWS.\(name.uppercased()) 1") && page.contains("Examples:"), "\(name)")
    }
  }

  /// Each object has a schema number, and no field that the article on JSON does not know.
  @Test func eachFieldOfJSONIsDescribed() throws {
    guard Bench.isComplete else { return }
    let article = Fixtures.tests.removingLastComponent().removingLastComponent()
      .appending("Sources/Bellows/Bellows.docc/JSONOutput.md").string
    let text = try String(contentsOfFile: article, encoding: .utf8)
    let target = try Target("idle", run: ["--control"])
    let commands = [
      ["ls", "--json"], ["ls", "--json", target.name], ["stat", "--json", target.name],
      ["top", "--once", "--json", target.name], ["trim", "--json", target.name],
      ["limit", "--json", target.name],
      ["ch", "--json", target.name, "--offline", "128M", "--deadline", "0.1"],
      ["numa", "drain", "--json", target.name, "--node", "0"],
      ["numa", "topology", "--json"], ["numa", "placement", "--json", target.name],
      ["doctor", "--json"], ["stress", "--list", "--json", "-"],
      ["stress", "spike", "--seconds", "0.2", "--live", "1M", "--allocator", "glibc", "--json", "-"],
    ]
    for command in commands {
      let result = try Child([Bench.tool] + command, environment: Bench.environment()).wait()
      #expect([0, 1].contains(result.status), "\(command) \(result.errors)")
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
      #expect(object["schema"] as? Int == 1, "\(command)")
      for key in object.keys where !text.contains("`\(key)`") && !text.contains("`\(key)[]`") {
        Issue.record("\(key) of \(command) is not in JSONOutput.md")
      }
    }
  }

  @Test(arguments: ["bash", "zsh", "fish"]) func eachCommandIsCompleted(shell: String) throws {
    let script = try Bench.bellows("--generate-completion-script", shell)
    #expect(script.status == 0)
    for name in Self.names { #expect(script.output.contains(name), "\(name)") }
    for scenario in StressScenario.all { #expect(script.output.contains(scenario.name)) }
    let checks = ["bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]]
    let check = checks[shell] ?? []
    guard Executable(named: shell, searchPath: ProcessInfo.processInfo.environment["PATH"]) != nil else {
      return skip(shell)
    }
    let folder = try TemporaryFolder()
    try folder.write(script.output, to: "script")
    let result = try Child(check + ["\(folder.path)/script"], environment: Bench.environment()).wait()
    #expect(result.status == 0, "\(result)")
  }

  /// What bash offers where a process is wanted is what runs.
  @Test func processesAndNodesAreOffered() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle", run: ["--control"])
    let folder = try TemporaryFolder()
    try folder.write(try Bench.bellows("--generate-completion-script", "bash").output, to: "script")
    func offered(_ line: String) throws -> [String] {
      let words = line.split(separator: " ", omittingEmptySubsequences: false).map { "'\($0)'" }
      let ask = """
        PATH="\(URL(fileURLWithPath: Bench.tool).deletingLastPathComponent().path):$PATH"
        . \(folder.path)/script
        COMP_WORDS=(\(words.joined(separator: " "))) COMP_CWORD=\(words.count - 1) COMP_LINE='\(line)' COMP_POINT=\(line.count)
        _bellows bellows \(words[words.count - 1]) \(words[words.count - 2])
        printf '%s\\n' "${COMPREPLY[@]}"
        """
      let result = try Child(["bash", "-c", ask], environment: Bench.environment()).wait()
      return result.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    for command in ["ls", "stat", "top", "trim", "limit", "ch"] {
      #expect(try offered("bellows \(command) ").contains(target.name), "\(command)")
    }
    #expect(try offered("bellows ch --node ").contains("0"))
    #expect(Set(try offered("bellows stress sp")) == ["spike", "sparse"])
  }
}
