import FoundationXML
import Testing

import class Foundation.NSObject
import struct Foundation.Data

@Suite("Footprint and statistics", .needsLibrary)
struct FootprintTests {
  private func figure(_ name: String, of child: Child) throws -> Int {
    let line = child.output.split(separator: "\n").first { $0.hasPrefix(name) }
    return try #require(line?.split(separator: " ").compactMap { Int($0) }.first, "\(child)")
  }

  @Test("an idle program: VmSize within 150 MiB of libc's, memory within 256 KiB")
  func idle() throws {
    let plain = Library.runPlain("footprint", "idle")
    let ours = Library.run("footprint", "idle")
    expectOK(ours)
    let virtual = try figure("VmSize", of: ours) - figure("VmSize", of: plain)
    let resident = try figure("resident", of: ours) - figure("resident", of: plain)
    #expect(virtual <= 150 * 1024, "\(virtual) KiB of address space")
    #expect(resident <= 256, "\(resident) KiB resident")
  }

  @Test("one buffer grows from 1 to 256 MiB", arguments: ["linear", "geometric"])
  func growth(steps: String) {
    expectOK(Library.run("footprint", "growth", steps))
  }

  @Test("malloc_trim gives memory back")
  func trim() {
    expectOK(Library.run("footprint", "trim"))
  }

  @Test("mallinfo, mallinfo2, mallopt")
  func statistics() {
    expectOK(Library.run("footprint", "statistics"))
  }

  @Test("malloc_stats writes to standard error")
  func stats() {
    let child = Library.run("footprint", "stats")
    #expect(child.ending == .exited(0) && child.output == "ok\n" && !child.errors.isEmpty, "\(child)")
  }

  @Test("malloc_info writes well-formed XML")
  func info() throws {
    let child = Library.run("footprint", "info")
    #expect(child.isClean, "\(child)")
    let parser = XMLParser(data: Data(child.output.utf8))
    let document = Document()
    parser.delegate = document
    #expect(parser.parse(), "\(child)")
    #expect(document.root == "malloc")
    // 32 MiB were in use: some figure must say so.
    let largest = document.figures.max() ?? 0
    #expect(largest >= 32 << 20 && largest <= 512 << 20, "\(child)")
  }

  /// The name of the root element and all numbers in attributes.
  private final class Document: NSObject, XMLParserDelegate {
    var root: String?
    var figures: [Int] = []

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      root = root ?? name
      figures += attributes.values.compactMap { Int($0) }
    }
  }
}
