import Testing

@Suite("Processes: fork, spawn, start and end", .needsLibrary)
struct ProcessTests {
  /// 20 seconds under CI, 600 in the long tests.
  private static let duration = Library.isSoak ? 600 : Library.isRequired ? 20 : 8

  @Test(arguments: Library.isSoak ? [3, 8, 16] : [3])
  func fork(threads: Int) {
    expectOK(Library.run("processes", "fork", "\(Self.duration)", "\(threads)", limit: Self.duration + 60))
  }

  @Test("several threads fork at once")
  func forksAtOnce() {
    expectOK(Library.run("processes", "forks-at-once", Library.isSoak ? "20000" : "200", limit: 300))
  }

  @Test("posix_spawn, vfork, system, popen")
  func others() {
    expectOK(Library.run("processes", "others", "40"))
  }

  @Test("allocations before any constructor", arguments: [[], ["early.so"]], [[], ["early.so"]])
  func early(before: [String], after: [String]) {
    expectOK(Library.run("exits", "early", before: before, after: after))
  }

  @Test(arguments: ["at-exit", "under-threads", "from-a-thread", "main-leaves"])
  func exit(way: String) {
    for _ in 0..<10 {
      let child = Library.run("exits", way, before: ["early.so"])
      #expect(child.isClean && child.output.contains("ok\n"), "\(child)")
      #expect(child.output.contains("handlers ran"), "\(child)")
    }
  }
}
