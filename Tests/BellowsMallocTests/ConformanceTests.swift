import Testing

@Suite("The contract of each function", .needsLibrary)
struct ConformanceTests {
  @Test(arguments: [
    "sizes", "alignments", "alignment-errors", "exhaustion", "errno", "zero-sizes", "realloc", "dirty-calloc",
    "libc-names", "sized",
  ])
  func contract(topic: String) {
    expectOK(Library.run("conformance", topic))
  }

  @Test("C++ operators new and delete", arguments: ["pairs", "failure", "handler", "relief"])
  func operators(topic: String) {
    expectOK(Library.run("operators", topic))
  }

  /// With checks on, everything that is right must still be right.
  @Test(arguments: ["sizes", "alignments", "realloc", "sized", "zero-sizes"])
  func contractWithChecks(topic: String) {
    expectOK(Library.run("conformance", topic, environment: ["BELLOWS_CHECK": "1"]))
  }

  @Test("random operations against a model", arguments: [1, 8])
  func model(threads: Int) {
    let operations = Library.isSoak ? 20_000_000 : 1_000_000
    expectOK(Library.run("model", "\(threads)", "\(operations)", limit: Library.isSoak ? 1800 : 600))
  }

  @Test func modelWithChecks() {
    expectOK(Library.run("model", "4", "200000", environment: ["BELLOWS_CHECK": "1"], limit: 240))
  }
}
