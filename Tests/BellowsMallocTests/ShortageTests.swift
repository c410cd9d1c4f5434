import Testing

@Suite("Out of memory", .needsLibrary)
struct ShortageTests {
  /// What stands in the way of system calls cannot do so in a thread that has every signal blocked.
  private static let withoutHelper = ["BELLOWS_THREAD": "0"]

  /// Memory system call number n fails, or all from the n-th on do, for n from 1 to 500.
  @Test(arguments: ["once", "from"])
  func callFailsInOneProcess(mode: String) {
    expectOK(
      Library.run(
        "shortage", "again", "1", "500", mode, environment: Self.withoutHelper, before: ["failing-memory.so"],
        limit: 300))
  }

  /// The same in a process that has allocated nothing before: every n in the long tests, here a sample.
  @Test(arguments: ["once", "from"])
  func callFailsInFreshProcesses(mode: String) {
    let step = Library.isSoak ? "1" : "9"
    expectOK(
      Library.run(
        "shortage", "fresh", "1", "500", mode, step, environment: Self.withoutHelper,
        before: ["failing-memory.so"],
        limit: Library.isSoak ? 1800 : 300))
  }

  @Test("RLIMIT_AS and RLIMIT_DATA", arguments: ["as", "data"])
  func limits(kind: String) {
    expectOK(Library.run("shortage", "limit", kind))
  }
}
