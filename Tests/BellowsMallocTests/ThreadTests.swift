import Testing

@Suite("Threads", .needsLibrary)
struct ThreadTests {
  @Test("blocks go from producers to consumers", arguments: [["1", "1"], ["4", "4"], ["8", "1"]])
  func consumers(counts: [String]) {
    expectOK(Library.run("threads", "consumers", counts[0], counts[1], Library.isSoak ? "60" : "2"))
  }

  @Test("100,000 short threads with survivors")
  func churn() {
    let threads = Library.isSoak ? "1000000" : "100000"
    expectOK(Library.run("threads", "churn", threads, limit: Library.isSoak ? 1200 : 180))
  }

  @Test("what a thread leaves behind serves the next")
  func abandoned() {
    expectOK(Library.run("threads", "abandoned"))
  }

  @Test("large blocks of the same sizes in several threads")
  func slots() {
    expectOK(Library.run("threads", "slots"))
  }

  @Test("destructors of thread-specific data, in any order")
  func destructors() {
    expectOK(Library.run("threads", "key-destructors"))
    expectOK(Library.run("destructors"))
  }
}
