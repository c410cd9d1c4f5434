// Real programs under Bellows. One after another: each test runs its program twice at once, which fills a small machine.

import Foundation
import Testing

@Suite(.serialized) struct ProgramTests {
  /// Without this the rest would prove nothing: the library is really in the processes that the scenarios start.
  @Test(.needs()) func theLibraryIsPreloaded() async throws {
    let measure = try await Lab.measure.value
    let folder = try Lab.makeFolder("preload")
    let maps = folder.appending(path: "maps").path(percentEncoded: false)
    let process = Process()
    process.executableURL = URL(filePath: measure)
    let figures = folder.appending(path: "figures").path(percentEncoded: false)
    process.arguments = [figures, "60", Lab.library, "bash", "-c", "cat /proc/self/maps >\(maps)"]
    #expect(try await process.runToEnd() == 0)
    let library = URL(filePath: Lab.library).resolvingSymlinksInPath().lastPathComponent
    #expect(try String(contentsOfFile: maps, encoding: .utf8).contains(library))
  }

  @Test(.needs("redis-server", "redis-benchmark", "redis-cli")) func redis() async throws {
    try await Scenario("redis under load", script: "redis.bash").check()
  }

  @Test(.needs("/usr/bin/python3")) func python() async throws {
    var modules = [
      "list", "dict", "set", "json", "re", "threading", "bytes", "unicode", "deque", "gc", "weakref", "array",
      "collections", "functools", "itertools", "sort", "zlib", "pickle", "mmap", "thread", "memoryview",
      "hashlib",
      "ctypes", "coroutines", "generators",
    ]
    if Lab.isSoak { modules += ["queue", "fork1", "subprocess", "ssl", "lzma", "xml_etree_c"] }
    let suite = Lab.fixtures.appending(path: "suite.py").path(percentEncoded: false)
    var scenario = Scenario(
      "python3, its own tests", command: ["/usr/bin/python3", "-I", suite] + modules.map { "test_\($0)" })
    scenario.environment = ["PYTHONMALLOC": "malloc"]
    try await scenario.check()
  }

  @Test(.needs("gcc", "g++", "perl", "ar", "nm")) func compilers() async throws {
    try await Scenario("gcc and g++", script: "compile.bash").check()
  }

  @Test(.needs("swiftc", "perl")) func swift() async throws {
    let fixtures = Lab.fixtures.path(percentEncoded: false)
    try await Scenario("swiftc -O and what it made", script: "swift.bash", fixtures).check()
  }

  @Test(.needs("sqlite3")) func sqlite() async throws {
    let rows = Lab.fixtures.appending(path: "rows.sql").path(percentEncoded: false)
    try await Scenario(
      "sqlite3, a million rows", command: ["sqlite3", "-batch", ":memory:", ".read \(rows)"]
    ).check()
  }

  @Test(.needs("bash")) func shell() async throws {
    try await Scenario("bash, thousands of forks", script: "shell.bash").check()
  }

  @Test(.needs("git")) func repository() async throws {
    try await Scenario("git", script: "repository.bash").check()
  }

  @Test(.needs("perl", "jq", "xz", "zstd")) func text() async throws {
    try await Scenario("perl, jq, xz, zstd, sort", script: "text.bash").check()
  }
}
