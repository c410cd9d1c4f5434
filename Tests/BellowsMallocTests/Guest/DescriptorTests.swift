import Testing

extension Guest {
  /// What a program opens is its own, and what it has not opened is not there.
  @Suite struct DescriptorTests {
    private static let seconds = Library.isSoak ? "15" : "1"

    @Test("a daemon's closefrom and a pipe, beside idle threads", arguments: Way.allCases)
    func pipes(way: Way) {
      expectOK(Library.run("descriptors", "pipe", Self.seconds, environment: way.environment))
    }

    @Test("the next descriptor is the lowest that is free", arguments: Way.allCases)
    func lowest(way: Way) {
      expectOK(Library.run("descriptors", "lowest", Self.seconds, environment: way.environment))
    }

    @Test("nobody else holds the end of a pipe", arguments: Way.allCases)
    func held(way: Way) {
      expectOK(Library.run("descriptors", "held", environment: way.environment))
    }
  }
}
