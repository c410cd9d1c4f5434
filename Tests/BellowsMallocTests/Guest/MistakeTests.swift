import Testing

extension Guest {
  @Suite("after a mistake of the program", .needsLibrary)
  struct MistakeTests {
    /// It may be found, or do no harm that shows; nothing waits for ever.
    @Test(
      "a ring of free blocks is no endless loop",
      arguments: ["16", "64", "200", "1000", "4096", "20000"], ["two", "three", "many", "remote", "stray"])
    func ring(bytes: String, kind: String) {
      for next in ["go", "free", "trim", "fork", "thread"] {
        let child = Library.run("rings", "ring", bytes, kind, next, limit: 20)
        switch child.ending {
        // The child of a fork may find it, and its parent too.
        case .exited(0): #expect(child.errors.isEmpty || next == "fork", "\(child)")
        case .signalled(6):
          #expect(
            child.errorLines.count >= 1 && child.errorLines.count <= (next == "fork" ? 2 : 1), "\(child)")
        // What stands in a block may be followed as a link by a hit path, which looks at nothing.
        case .signalled(11): #expect(kind == "stray", "\(child)")
        default: Issue.record("\(child)")
        }
      }
    }
  }
}
