import Testing

/// The life of an arena's sections through bellows.h, in programs written in C.
@Suite("Arenas for C", .needsLibrary)
struct ArenaTests {
  @Test(
    "each does what bellows.h says",
    arguments: [
      "refusals", "placements", "hooks", "strategies", "observers", "spare", "blocks", "zones", "balloon",
      "cycles",
    ])
  func program(_ command: String) { expectOK(Library.run("arena", command)) }

  @Test("what is reserved costs a core dump nothing")
  func dump() throws {
    let pattern = Child.run(["cat", "/proc/sys/kernel/core_pattern"]).output
    if pattern.hasPrefix("|") || pattern.contains("/") {
      try Test.cancel("SKIPPED: core dumps of this system go elsewhere: \(pattern)")
    }
    expectOK(Library.run("arena", "dump"))
  }

  @Test("sections of every size", arguments: (22...30).map { String(1 << $0) })
  func lifecycle(_ bytes: String) { expectOK(Library.run("arena", "lifecycle", bytes)) }
}
