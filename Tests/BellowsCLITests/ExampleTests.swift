import Foundation
import Testing

/// The examples in Swift, which are built beside the tests. (Those in C are run by BellowsMallocTests.)
@Suite("Examples in Swift") struct ExampleTests {
  private func run(_ name: String, _ arguments: String..., preloads: Bool = false) throws -> Child.Result {
    let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      .appendingPathComponent(name).path
    return try Child(
      [program] + arguments, environment: preloads ? ["LD_PRELOAD": Bench.library] : [:]
    ).wait()
  }

  @Test func aSectionIsInspectedDescriptorByDescriptor() throws {
    let result = try run("section-inspector")
    #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
    let parts = result.output.components(separatedBy: "one allocated:\n")
    try #require(parts.count == 2, "\(result.output)")
    // Of 1024 pages 16 hold the descriptors; nothing begins among them.
    func count(_ what: String, _ text: String) -> Int { text.components(separatedBy: what).count - 1 }
    #expect(count("pages 0 to 15 of the section", parts[0]) == 2)
    #expect(count("pages 0 to 1023: 0,", parts[0]) == 2)
    #expect(parts[1].contains("pages 0 to 15: 0,"))
    // The shard of 5000 bytes is four granules long. The large block leaves no trace.
    #expect(count("a shard of small blocks", parts[1]) == 2, "\(result.output)")
    #expect(count("a later granule of the shard", parts[1]) == 3, "\(result.output)")
    #expect(count("begins in page", parts[1]) == 3 + 3, "\(result.output)")
  }

  @Test func aCacheInSwiftMovesItsEntries() throws {
    guard FileManager.default.fileExists(atPath: Bench.library) else { return skip(Bench.library) }
    let result = try run("cooperating-cache", "100000", preloads: true)
    #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
    let lines = result.output.split(separator: "\n")
    func resident(_ line: Substring?) -> Int {
      line?.split(separator: " ").dropLast(2).last.flatMap { Int($0) } ?? 0
    }
    let full = resident(lines.first)
    let left = resident(lines.first { $0.hasPrefix("what was in the way") })
    #expect(full > 0 && left > 0 && left < full / 2, "\(result.output)")
    #expect(lines.contains("25000 entries moved"), "\(result.output)")
    #expect(lines.last == "no entry was damaged")

    let plain = try run("cooperating-cache", "1000")
    #expect(plain.status == 0 && plain.output.contains("nothing more to be done"))
  }
}
