import Testing

extension Guest {
  @Suite("fork, wherever it is called", .needsLibrary)
  struct ForkTests {
    /// Handlers that allocate and lock, of a library that is loaded before and behind.
    @Test(arguments: Way.allCases, [[], ["atfork.so"]])
    func handlersOfLibraries(way: Way, before: [String]) {
      expectOK(
        Library.run(
          "forks", "handlers", environment: way.environment, before: before,
          after: before.isEmpty ? ["atfork.so"] : [], limit: 60))
    }

    @Test(arguments: Way.allCases)
    func besideStreams(way: Way) {
      expectOK(
        Library.run("forks", "streams", Library.isSoak ? "60" : "2", environment: way.environment, limit: 90))
    }

    @Test("in a signal handler", arguments: Way.allCases, ["fork", "malloc", "free", "threads"])
    func inHandler(way: Way, interrupted: String) {
      // With several threads the C library waits for itself where one fork interrupts another: the helper is the second.
      if way == .thread, interrupted == "fork" { return }
      let count = Library.isSoak ? "5000" : "200"
      expectOK(
        Library.run(
          "forks", "in-handler", interrupted, count, environment: way.environment,
          limit: Library.isSoak ? 300 : 60))
    }

    /// The handler's child starts a program that tells of the crash.
    @Test(
      arguments: [Way.plain, .check],
      [
        "double-free", "double-free-ring", "large-double-free", "large-interior", "foreign", "realloc",
        "use-after-free",
      ])
    func afterACrash(way: Way, kind: String) {
      let child = Library.run("forks", "crash", kind, environment: way.environment, limit: 20)
      // Where every free is checked, a block that was freed is not looked at again.
      let isUnseen = way == .check && kind == "use-after-free"
      if isUnseen, child.ending == .exited(0) { return }
      #expect(child.ending == .exited(3) && child.output.contains("reporter ran\n"), "\(child)")
      #expect(child.errorLines.count <= 1, "\(child)")
    }

    @Test(
      "who only frees gives back", arguments: ["100", "1000", "30000", "100000", "1000000"],
      ["child", "self"])
    func onlyFrees(bytes: String, who: String) {
      expectOK(
        Library.run("forks", "only-frees", bytes, who, environment: ["BELLOWS_THREAD": "0"], limit: 60))
    }

    @Test(
      "what is taken and freed in turn is not given back", arguments: ["9000000", "20000000", "60000000"])
    func pingPong(bytes: String) {
      expectOK(Library.run("forks", "ping-pong", bytes, environment: ["BELLOWS_THREAD": "0"]))
    }
  }
}
