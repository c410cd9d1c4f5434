// The articles name tests: those must be there, and the other way round.

import Foundation
import Testing

@Suite struct ArticleTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  /// The functions of all tests that are named after a row of the table.
  private static func rowTests() throws -> Set<String> {
    var names: Set<String> = []
    let files = try #require(
      FileManager.default.enumerator(at: root.appending(path: "Tests"), includingPropertiesForKeys: nil))
    for case let file as URL in files where file.pathExtension == "swift" {
      for match in try String(contentsOf: file, encoding: .utf8).matches(of: /func (row[0-4][a-h][A-Z]\w*)/) {
        names.insert(String(match.1))
      }
    }
    return names
  }

  @Test func theTableOfRowsAndTheTestsAgree() throws {
    let article = try Self.text("Sources/Bellows/Bellows.docc/MemoryHotplug.md")
    let tests = try Self.rowTests()
    let named = Set(article.matches(of: /`(row[0-4][a-h][A-Z]\w*)`/).map { String($0.1) })
    #expect(named.subtracting(tests).isEmpty, "in the table, and not to be found")
    // The same function for the engine and, marked, for the library is named once.
    #expect(tests.subtracting(named).isEmpty, "not in the table")
    let rows = article.matches(of: /\n\| ([0-4][a-h]) \|/).map { String($0.1) }
    #expect(rows == rows.sorted() && Set(rows).count == rows.count)
    #expect(Set(rows) == Set(tests.map { String($0.dropFirst(3).prefix(2)) }))
  }
}
