import Testing

extension Guest {
  /// A system call filter that allows what glibc's malloc needs and ends the process for anything else.
  @Suite struct SandboxTests {
    /// For all threads, of which one has not used malloc yet: before the heap is large, or after.
    @Test(arguments: Way.allCases, [[], ["wait=200"], ["large"], ["large", "wait=300"]])
    func all(way: Way, options: [String]) {
      let one = options.first ?? "", other = options.last ?? ""
      for _ in 0..<(Library.isSoak ? 50 : 1) {
        expectOK(Library.run("sandbox", "all", one, other, environment: way.environment))
      }
    }

    /// Before there are several threads: whoever makes the first is under it, and all that come after. A log and
    /// control take more than malloc does, and have been asked for.
    @Test(arguments: Way.allCases.filter { $0 != .control }, [[], ["large"]])
    func before(way: Way, options: [String]) {
      expectOK(Library.run("sandbox", "before", options.first ?? "", environment: way.environment))
    }

    /// For one thread of several.
    @Test(arguments: Way.allCases, ["one", "first"])
    func some(way: Way, kind: String) {
      expectOK(Library.run("sandbox", kind, environment: way.environment))
    }

    /// In a program with one thread, before its heap is large. With control a thread has still to come there, which is what
    /// the article of a guest says.
    @Test(arguments: Way.allCases.filter { $0 != .control })
    func alone(way: Way) {
      expectOK(Library.run("sandbox", "alone", environment: way.environment))
    }

    /// From before the program starts: control is not to be had then, which is said.
    @Test(arguments: Way.allCases)
    func inherited(way: Way) {
      let child = Library.run("sandbox", "inherited", environment: way.environment)
      #expect(child.ending == .exited(0) && child.output == "ok\n", "\(child)")
      let said = "bellows: ignoring BELLOWS_CONTROL: a system call filter is in force"
      #expect(child.errorLines == (way == .control ? [said[...]] : []), "\(child)")
    }

    /// The helper goes on returning memory by what malloc needs.
    @Test(arguments: Way.allCases)
    func memoryGoesBack(way: Way) {
      expectOK(Library.run("sandbox", "gives-back", environment: way.environment))
    }
  }
}
