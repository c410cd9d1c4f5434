import Testing

@testable import BellowsCLI

@Suite struct EnvironmentTests {
  private let library = "/opt/lib/libbellows-malloc.so"

  @Test(arguments: [
    ("", "/opt/lib/libbellows-malloc.so"),
    ("/a/x.so", "/opt/lib/libbellows-malloc.so:/a/x.so"),
    ("/a/x.so /b/y.so:z.so", "/opt/lib/libbellows-malloc.so:/a/x.so:/b/y.so:z.so"),
    // The same library is not there twice, nor another copy of it; it moves to the front.
    ("/a/x.so:/opt/lib/libbellows-malloc.so", "/opt/lib/libbellows-malloc.so:/a/x.so"),
    ("/old/libbellows-malloc.so:/a/x.so", "/opt/lib/libbellows-malloc.so:/a/x.so"),
    ("libbellows-malloc.so", "/opt/lib/libbellows-malloc.so"),
    // Another library whose name contains it stays.
    ("/a/my-libbellows-malloc.so", "/opt/lib/libbellows-malloc.so:/a/my-libbellows-malloc.so"),
    (": :", "/opt/lib/libbellows-malloc.so"),
  ])
  func preloadGoesFirstAndKeepsTheRest(inherited: String, expected: String) {
    #expect(Environment.preload(library, before: inherited) == expected)
    let environment = Environment(inheriting: ["LD_PRELOAD": inherited], preloading: library)
    #expect(environment.values == ["LD_PRELOAD": expected])
  }

  @Test func preloadingTwiceChangesNothing() {
    let once = Environment.preload(library, before: "/a/x.so")
    #expect(Environment.preload(library, before: once) == once)
  }

  @Test func withoutOptionsWhatIsInheritedStands() {
    let inherited = ["HOME": "/root", "BELLOWS_CHECK": "1", "BELLOWS_PURGE_DELAY": "30"]
    let environment = Environment(inheriting: inherited, preloading: library)
    #expect(environment.values == inherited.merging(["LD_PRELOAD": library]) { $1 })
  }

  @Test func optionsSetTheirVariables() {
    let environment = Environment(
      inheriting: ["BELLOWS_PURGE_DELAY": "30", "BELLOWS_THREAD": "1"], preloading: library,
      settings: .init(check: true, purgeDelay: 0, statistics: true, thread: false))
    #expect(
      environment.values == [
        "LD_PRELOAD": library, "BELLOWS_CHECK": "1", "BELLOWS_PURGE_DELAY": "0", "BELLOWS_STATISTICS": "1",
        "BELLOWS_THREAD": "0",
      ])
  }

  @Test(arguments: [
    ("/a b/x.so", true), ("/a:b/x.so", true), ("/a/$LIB/x.so", true), ("/a-b_c.d/x.so", false),
  ])
  func pathsThatLDPRELOADCannotCarry(path: String, isUnfit: Bool) {
    #expect((Environment.unfit(path) != nil) == isUnfit)
  }
}

@Suite struct RunArgumentTests {
  private func parse(_ arguments: [String]) throws -> RunCommand {
    try #require(try BellowsCommand.parseAsRoot(["run"] + arguments) as? RunCommand)
  }

  @Test(arguments: [
    ["--check", "--", "ls", "-l", "--help", "--", "--version"],
    ["--check", "ls", "-l", "--help", "--", "--version"],
  ])
  func everythingFromTheCommandOnBelongsToIt(arguments: [String]) throws {
    let run = try parse(arguments)
    #expect(run.command == ["ls", "-l", "--help", "--", "--version"])
    #expect(run.settings == .init(check: true))
  }

  @Test func optionsOfTheCommandAreNotOurs() throws {
    let run = try parse(["gcc", "--check", "--no-thread", "--library", "x", "--purge-delay", "5"])
    #expect(run.settings == .init() && run.library.library == nil)
    #expect(run.command.count == 7)
  }

  @Test func allOptions() throws {
    let run = try parse([
      "--library", "/x.so", "--purge-delay", "250", "--statistics", "--no-thread", "--check", "--", "--odd",
    ])
    #expect(run.library.library == "/x.so" && run.command == ["--odd"])
    #expect(run.settings == .init(check: true, purgeDelay: 250, statistics: true, thread: false))
    #expect(try parse(["--thread", "x"]).settings.thread == true)
  }

  @Test(arguments: [
    [], ["--"], ["--check"], ["--purge-delay", "x", "ls"], ["--purge-delay=-1", "ls"], ["--chekc", "ls"],
    ["--library"],
  ])
  func mistakesAreRefused(arguments: [String]) {
    let error = #expect(throws: (any Error).self) { try BellowsCommand.parseAsRoot(["run"] + arguments) }
    #expect(error.map { BellowsCommand.exitCode(for: $0) } == .validationFailure)
  }

  @Test(arguments: ["--help", "-h"]) func helpIsOursBeforeTheCommand(flag: String) {
    let error = #expect(throws: (any Error).self) { try BellowsCommand.parseAsRoot(["run", flag]) }
    #expect(error.map { BellowsCommand.exitCode(for: $0) } == .success)
  }
}
