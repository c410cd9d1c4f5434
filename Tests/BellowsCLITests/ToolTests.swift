import Foundation
import Testing

/// The built tool, run as a child.
///
/// The library is the one under test where it is built; else a stand-in, another malloc
/// that can be preloaded, which is all that most of these tests need.
@Suite struct ToolTests {
  /// The folder of the build: the tool is built beside the tests.
  private static let build = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent()
  private static let tool = build.appendingPathComponent("bellows").path

  /// The library under test; nil where it is not built.
  private static let library: String? = {
    let named = ProcessInfo.processInfo.environment["BELLOWS_LIB"] ?? ""
    let package = Fixtures.tests.removingLastComponent().removingLastComponent()
    let built = package.appending(".build/release/libbellows-malloc.so").string
    let path = named.isEmpty ? built : named
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }()

  /// The library under test or a stand-in.
  private static let preloadable: String? =
    library
    ?? ["/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2"]
    .first { FileManager.default.fileExists(atPath: $0) }

  private func tool(
    _ arguments: [String], environment: [String: String] = [:], input: String = "", signal: Int32? = nil
  ) throws -> Child.Result {
    var variables = ProcessInfo.processInfo.environment
    for name in variables.keys where name.hasPrefix("BELLOWS_") { variables[name] = nil }
    for name in ["LD_PRELOAD", "FORCE_COLOR", "CLICOLOR_FORCE"] { variables[name] = nil }
    for (name, value) in environment { variables[name] = value }
    let child = try Child([Self.tool] + arguments, environment: variables, input: input)
    if let signal {
      // The command says when it is ready.
      try child.waitForOutput()
      kill(child.processID, signal)
    }
    return try child.wait()
  }

  /// Runs a shell script under `bellows run`; nil, loudly, where there is nothing to preload.
  private func run(
    _ script: String, options: [String] = [], environment: [String: String] = [:], input: String = "",
    signal: Int32? = nil
  ) throws -> Child.Result? {
    guard let library = Self.preloadable else {
      skip("libbellows-malloc.so, libjemalloc2 or libmimalloc2.0")
      return nil
    }
    return try tool(
      ["run", "--library", library] + options + ["--", "sh", "-c", script], environment: environment,
      input: input, signal: signal)
  }

  @Test(arguments: [0, 1, 7, 125, 255]) func statusIsTheCommands(status: Int32) throws {
    guard let result = try run("exit \(status)") else { return }
    #expect(result.status == status && !result.isSignal && result.errors.isEmpty)
  }

  @Test func deathBySignalIsTheCommands() throws {
    guard let result = try run("kill -KILL $$") else { return }
    #expect(result.isSignal && result.status == SIGKILL)
  }

  @Test func signalsReachTheCommand() throws {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    guard let result = try run(script, signal: SIGTERM) else { return }
    #expect(!result.isSignal && result.status == 9)
  }

  @Test func signalEndsTheCommand() throws {
    guard let result = try run("echo ready; exec sleep 1000", signal: SIGTERM) else { return }
    #expect(result.isSignal && result.status == SIGTERM)
  }

  // Not a child of the tool: the tool itself, so that terminal, session and parent are the command's.
  @Test func commandHasTheToolsProcessID() throws {
    guard let result = try run("echo $$") else { return }
    #expect(result.output == "\(result.processID)\n")
  }

  // Without a shell between: shells block signals and open pipes for moments of their own.
  @Test(arguments: [["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"], ["ls", "/proc/self/fd"]])
  func signalMaskAndOpenFilesAreAsWithoutTheTool(command: [String]) throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let plain = try Child(command, environment: ProcessInfo.processInfo.environment).wait()
    let result = try tool(["run", "--library", library, "--no-thread", "--"] + command)
    #expect(plain.status == 0 && !plain.output.isEmpty)
    #expect(result.output == plain.output)
  }

  @Test func stdinIsTheCommands() throws {
    guard let result = try run("cat", input: "from outside\n") else { return }
    #expect(result.output == "from outside\n")
  }

  @Test func preloadIsSeenByTheCommand() throws {
    guard let library = Self.preloadable, let result = try run("echo $LD_PRELOAD; cat /proc/self/maps") else {
      return
    }
    #expect(result.output.hasPrefix("\(library)\n"))
    let real = URL(fileURLWithPath: library).resolvingSymlinksInPath().path
    #expect(result.output.contains(" \(real)\n"))
  }

  @Test func preloadKeepsWhatStandsThere() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let other = "libm.so.6"
    let result = try run("echo $LD_PRELOAD", environment: ["LD_PRELOAD": "\(other):\(library)"])
    #expect(result?.output == "\(library):\(other)\n")
  }

  @Test func optionsBecomeVariables() throws {
    let options = ["--check", "--purge-delay", "5", "--statistics", "--no-thread"]
    guard let result = try run("env | grep ^BELLOWS_ | sort", options: options) else { return }
    #expect(
      result.output
        == "BELLOWS_CHECK=1\nBELLOWS_PURGE_DELAY=5\nBELLOWS_STATISTICS=1\nBELLOWS_THREAD=0\n")
  }

  @Test func libraryFromTheEnvironment() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let result = try tool(["run", "printenv", "LD_PRELOAD"], environment: ["BELLOWS_LIB": library])
    #expect(result.output == "\(library)\n" && result.status == 0)
  }

  @Test func commandNotFoundIs127() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    for name in ["bellows-no-such-command", "/no/such/command"] {
      let result = try tool(["run", "--library", library, "--", name])
      #expect(result.status == 127 && result.errors == "bellows: error: \(name): command not found.\n")
    }
  }

  @Test func commandThatCannotBeRunIs126() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let folder = try TemporaryFolder()
    try folder.write("text", to: "plain")
    try folder.write("#!/no/such/interpreter\n", to: "script", mode: 0o755)
    let plain = try tool(["run", "--library", library, "\(folder.path)/plain"])
    #expect(plain.status == 126 && plain.errors.contains("Permission denied"))
    let script = try tool(["run", "--library", library, "\(folder.path)/script"])
    #expect(script.status == 126 && script.errors.contains("interpreter /no/such/interpreter not found"))
    #expect(try tool(["run", "--library", library, folder.path]).status == 126)
  }

  @Test(arguments: [
    ["run", "--library", "/no/such.so", "true"], ["run", "--library", "/etc/passwd", "true"], ["run"],
    ["run", "--chekc", "true"], ["run", "--purge-delay", "soon", "true"],
  ])
  func ownFailuresAre125AndSayWhatToDo(arguments: [String]) throws {
    let result = try tool(arguments)
    #expect(result.status == 125 && result.output.isEmpty)
    #expect(result.errors.contains("--library") || result.errors.contains("bellows run"))
  }

  @Test func staticCommandRunsWithAWarning() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    guard FileManager.default.fileExists(atPath: "/bin/busybox") else { return skip("busybox-static") }
    let result = try tool(["run", "--library", library, "/bin/busybox", "echo", "ran"])
    #expect(result.status == 0 && result.output == "ran\n")
    #expect(result.errors.contains("warning: /bin/busybox is statically linked"))
  }

  @Test func doctorInJSON() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let result = try tool(["doctor", "--json", "--library", library], environment: ["FORCE_COLOR": "1"])
    #expect(result.status == 0 && result.errors.isEmpty)
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    #expect(object["schema"] as? Int == 1 && object["works"] as? Bool == true)
    let findings = try #require(object["findings"] as? [[String: Any]])
    #expect(findings.count > 15)
    for finding in findings {
      #expect(["ok", "note", "warning", "error"].contains(finding["verdict"] as? String))
    }
    let system = try #require(object["system"] as? [String: Any])
    #expect(system["pageBytes"] as? Int == sysconf(Int32(_SC_PAGESIZE)))
    #expect((system["features"] as? [Any])?.count == 7)
    // Sorted keys: what is first in the text is first in the alphabet.
    #expect(result.output.hasPrefix("{\"findings\":") && result.output.hasSuffix("}\n"))
  }

  @Test func doctorInText() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let plain = try tool(["doctor", "--library", library])
    #expect(plain.status == 0 && !plain.output.contains("\u{1b}"))
    #expect(plain.output.contains("works here"))
    let coloured = try tool(
      ["doctor", "--library", library, "--color", "always"], environment: ["NO_COLOR": "1"])
    #expect(coloured.output.contains("\u{1b}[32mok"))
  }

  @Test func doctorWithoutLibraryFails() throws {
    let result = try tool(["doctor", "--library", "/no/such.so"])
    #expect(result.status == 1 && result.output.contains("cannot work here: 1 error"))
  }

  // A file that is a shared object by its headers and that the loader refuses: only the trial shows it.
  @Test func doctorFindsALibraryThatDoesNotLoad() throws {
    guard let library = Self.preloadable else { return skip("something to preload") }
    let folder = try TemporaryFolder()
    let bytes = try Data(contentsOf: URL(fileURLWithPath: library))
    try folder.write(Array(bytes.prefix(1024)), to: "half.so")
    let result = try tool(["doctor", "--library", "\(folder.path)/half.so"])
    #expect(result.status == 1 && result.output.contains("cannot work here"))
  }

  @Test func doctorLoadsTheLibrary() throws {
    guard let library = Self.library else { return skip("libbellows-malloc.so: swift build -c release") }
    let result = try tool(["doctor", "--library", library])
    #expect(result.status == 0, "\(result.output)")
    #expect(result.output.contains("loads, and a program runs on it"))
  }

  @Test func versionAndCompletions() throws {
    #expect(try tool(["--version"]).output == "0.1.0\n")
    for shell in ["bash", "zsh", "fish"] {
      let script = try tool(["--generate-completion-script", shell])
      #expect(script.status == 0 && script.output.contains("doctor"))
      guard Self.has(shell) else {
        skip(shell)
        continue
      }
      let folder = try TemporaryFolder()
      try folder.write(script.output, to: "completions")
      let syntax = try Child([shell, "-n", "\(folder.path)/completions"], environment: [:]).wait()
      #expect(syntax.status == 0)
    }
  }

  // What a person gets on pressing the tabulator key, in the shell that reads the script.
  @Test(arguments: [
    (["bellows", "do"], "doctor"), (["bellows", "run", "--pur"], "--purge-delay"),
    (["bellows", "run", "--check", "--", "prin"], "printenv"),
    (["bellows", "doctor", "--color", "al"], "always"),
  ])
  func bashCompletes(words: [String], expected: String) throws {
    let script = try tool(["--generate-completion-script", "bash"]).output
    let folder = try TemporaryFolder()
    try folder.write(
      script + """

        COMP_WORDS=(\(words.joined(separator: " "))) COMP_CWORD=\(words.count - 1)
        COMP_LINE='\(words.joined(separator: " "))' COMP_POINT=\(words.joined(separator: " ").count)
        _bellows bellows \(words[words.count - 1]) \(words[words.count - 2])
        printf '%s\\n' "${COMPREPLY[@]}"
        """, to: "complete.bash")
    let path = "\(Self.build.path):\(ProcessInfo.processInfo.environment["PATH"] ?? "")"
    let output = try Child(["bash", "\(folder.path)/complete.bash"], environment: ["PATH": path]).wait()
      .output
    #expect(output.split(separator: "\n").contains(Substring(expected)), "\(output)")
  }

  private static func has(_ program: String) -> Bool {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
      .contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
  }
}
