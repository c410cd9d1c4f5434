import Testing

@Suite("Limits, the log, statistics at exit", .needsLibrary)
struct LimitTests {
  @Test(arguments: ["soft", "hard"]) func limit(kind: String) {
    expectOK(Library.run("limits", kind))
  }

  @Test(
    "BELLOWS_LIMIT",
    arguments: [
      ["64M", "67108864", "0"], ["1g:2G", "1073741824", "2147483648"], [":300M", "0", "314572800"],
      ["4096:8192", "4096", "8192"],
    ])
  func environment(words: [String]) {
    expectOK(Library.run("limits", "inherited", words[1], words[2], environment: ["BELLOWS_LIMIT": words[0]]))
  }

  @Test("a limit that makes no sense is reported and ignored", arguments: ["", "x", "2M:1M", "1X", ":", "0"])
  func nonsense(value: String) {
    let child = Library.run("limits", "inherited", "0", "0", environment: ["BELLOWS_LIMIT": value])
    #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
    #expect(child.errorLines.count == 1 && child.errors.contains("BELLOWS_LIMIT"), "\(child)")
  }

  /// The first lines of a run's events: on stderr, as words and as JSON.
  @Test func log() {
    let words = Library.run("limits", "hard", environment: ["BELLOWS_LOG": "2"])
    #expect(words.ending == .exited(0), "\(words)")
    #expect(words.errors.contains("]: limit kind=hard held="), "\(words)")
    let json = Library.run("limits", "hard", environment: ["BELLOWS_LOG": "2,json"])
    #expect(json.ending == .exited(0), "\(json)")
    let lines = json.errors.split(separator: "\n")
    #expect(lines.allSatisfy { $0.hasPrefix("{\"time\":") && $0.hasSuffix("}") }, "\(json)")
    #expect(lines.contains { $0.contains("\"event\":\"limit\",\"kind\":\"hard\",\"held\":") }, "\(json)")
  }

  @Test("a log that cannot be written is no reason to fail")
  func logNowhere() {
    let said = "bellows: ignoring BELLOWS_LOG: it cannot be opened, or is a symbolic link"
    for (value, lines) in [("/no/such/folder/log", [said[...]]), ("99", [])] {
      let child = Library.run("limits", "hard", environment: ["BELLOWS_LOG": value])
      #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
      #expect(child.errorLines == lines, "\(child)")
    }
  }

  @Test func statisticsAsJSON() {
    let child = Library.run("footprint", "idle", environment: ["BELLOWS_STATISTICS": "json"])
    #expect(child.ending == .exited(0), "\(child)")
    #expect(child.errorLines.count == 1 && child.errors.hasPrefix("{\"schema\":1,\"event\":\"statistics\""))
    #expect(child.errors.contains("\"hard_limit\":0,\"heaps\":1}"), "\(child)")
  }
}
