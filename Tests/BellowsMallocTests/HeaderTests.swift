import Testing

/// The header for C and C++, and its parts.
@Suite("bellows.h and its parts")
struct HeaderTests {
  private static let folder = "\(Library.root)/CShims/include"

  private static func lines(_ command: String...) -> [String] {
    Child.run(command).output.split(separator: "\n").map { String($0) }
  }

  /// The files that a file includes from beside it, in order.
  private static func included(by file: String) -> [String] {
    lines("cat", "\(folder)/\(file)").filter { $0.hasPrefix("#include \"") }
      .map { String($0.split(separator: "\"")[1]) }
  }

  /// In the order of bellows.h.
  static let parts = included(by: "bellows.h")

  @Test("bellows.h includes each part, and none includes one behind it")
  func order() throws {
    let files = Self.lines("ls", "\(Self.folder)/bellows").map { "bellows/\($0)" }
    #expect(files.count > 1 && files.sorted() == Self.parts.sorted())
    for (place, part) in Self.parts.enumerated() {
      for name in Self.included(by: part) {
        #expect(Self.parts[..<place].contains("bellows/\(name)"), "\(part) includes \(name)")
      }
    }
  }

  /// Twice in a row, as one of several files of a program may have it, and with nothing before it.
  @Test(
    "each compiles alone, without a warning",
    arguments: parts + ["bellows.h"],
    [["gcc", "c", "c99"], ["g++", "c++", "c++11"], ["clang", "c", "c99"], ["clang++", "c++", "c++11"]])
  func compiles(file: String, compiler: [String]) throws {
    let path = ["PATH": Library.variable("PATH") ?? "/usr/bin:/bin"]
    if case .notStarted = Child.run([compiler[0], "--version"], environment: path).ending {
      // Debian's gcc is what CI has; clang comes with the Swift toolchain.
      if Library.isRequired { Issue.record("this test needs \(compiler[0])") }
      try Test.cancel("SKIPPED: there is no \(compiler[0])")
    }
    let header = "\(Self.folder)/\(file)"
    let child = Child.run(
      [
        compiler[0], "-std=\(compiler[2])", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
        "-include", header, "-include", header, "-x", compiler[1], "/dev/null",
      ], environment: path)
    #expect(child.isClean, "\(child)")
  }
}
