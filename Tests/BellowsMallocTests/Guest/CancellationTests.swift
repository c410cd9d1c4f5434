import Testing

extension Guest {
  @Suite("no function is a cancellation point", .needsLibrary)
  struct CancellationTests {
    @Test(arguments: Way.allCases, ["", "/dev/null", "1"])
    func pending(way: Way, log: String) {
      let environment = log.isEmpty ? way.environment : way.environment.merging(["BELLOWS_LOG": log]) { $1 }
      let child = Library.run("cancellation", "all", environment: environment, limit: 60)
      #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
    }

    @Test(arguments: [Way.plain, .check])
    func reportOfAMistake(way: Way) {
      let child = Library.run("cancellation", "double-free", environment: way.environment, limit: 20)
      #expect(child.ending == .signalled(6) && child.errorLines.count == 1, "\(child)")
    }
  }
}
