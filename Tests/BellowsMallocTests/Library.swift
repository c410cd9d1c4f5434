import Glibc
import Testing

/// Where the library under test and the test programs are, and how to run one under the other.
enum Library {
  static let root: String = {
    var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(3)
    return parts.joined(separator: "/")
  }()

  static let path = variable("BELLOWS_LIB") ?? root + "/.build/release/libbellows-malloc.so"
  static let programs = variable("BELLOWS_PROGRAMS") ?? root + "/.build/programs"

  /// Under CI a missing library or program fails; on a desk it is skipped, loudly.
  static let isRequired = variable("CI") == "true"

  /// The long versions of the tests.
  static let isSoak = variable("BELLOWS_SOAK") == "1"

  static let isPresent: Bool = {
    let files = [path, "\(programs)/conformance", "\(programs)/failing-memory.so"]
    let missing = files.filter { unsafe access($0, R_OK) != 0 }
    for file in missing {
      let line = "SKIPPED: the tests of the malloc ABI want \(file): see Tests/Programs/Makefile\n"
      _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    }
    return missing.isEmpty
  }()

  static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
  }

  // Runs one of the test programs with the library preloaded, and between `before` and `after`: shared
  // objects among the test programs that are preloaded too.
  static func run(
    _ program: String, _ arguments: String..., environment: [String: String] = [:], before: [String] = [],
    after: [String] = [], limit: Int = 120
  ) -> Child {
    let objects = before.map { "\(programs)/\($0)" } + [path] + after.map { "\(programs)/\($0)" }
    var complete = environment
    complete["LD_PRELOAD"] = objects.joined(separator: ":")
    return Child.run(["\(programs)/\(program)"] + arguments, environment: complete, limit: limit)
  }

  /// The same program under the allocator of libc, to compare with.
  static func runPlain(_ program: String, _ arguments: String...) -> Child {
    Child.run(["\(programs)/\(program)"] + arguments)
  }
}

extension Trait where Self == ConditionTrait {
  static var needsLibrary: Self {
    .enabled(
      if: Library.isPresent || Library.isRequired, "libbellows-malloc.so or its test programs are missing")
  }
}

/// The program ran to its end, said that all was well, and left standard error alone.
func expectOK(_ child: Child, sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(
    child.isClean && child.output.hasSuffix("ok\n"), "\(child)", sourceLocation: sourceLocation)
}
