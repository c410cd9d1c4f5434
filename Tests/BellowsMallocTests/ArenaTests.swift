import Testing

/// The life of an arena's sections through bellows.h, in programs written in C.
@Suite("Arenas for C", .needsLibrary)
struct ArenaTests {
  @Test(
    "each does what bellows.h says",
    arguments: [
      "refusals", "placements", "hooks", "strategies", "observers", "spare", "blocks", "zones", "balloon",
      "cycles", "dump",
    ])
  func program(_ command: String) { expectOK(Library.run("arena", command)) }

  @Test("sections of every size", arguments: (22...30).map { String(1 << $0) })
  func lifecycle(_ bytes: String) { expectOK(Library.run("arena", "lifecycle", bytes)) }
}
