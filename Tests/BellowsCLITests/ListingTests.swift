import Foundation
import Testing

@testable import BellowsCLI

/// What `bellows ls` prints of a recorded snapshot, as files.
///
/// BELLOWS_GOLDEN=write makes them anew.
@Suite struct ListingTests {
  private static let snapshot = Fixtures.tests.appending("Fixtures/snapshots/mixed.json").string

  private func expectGolden(_ name: String, _ text: String, _ location: SourceLocation = #_sourceLocation)
    throws
  {
    let path = Fixtures.tests.appending("Golden").appending(name).string
    if ProcessInfo.processInfo.environment["BELLOWS_GOLDEN"] == "write" {
      try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text, sourceLocation: location)
  }

  @Test(arguments: [
    ("usual", ""), ("all", "-a"), ("everything", "-a --output-all"), ("bytes", "-b -o RANGE,SIZE,used"),
    ("pairs", "-P -o +USED"), ("raw", "-r -a"), ("bare", "-n --summary=never"), ("only", "--summary"),
    ("object", "-J -o +NODE,ZONE,USED,RESIDENT,BLOCKERS,NODES"), ("nodes", "-a -o RANGE,STATE,NODE,NODES"),
  ]) func listsAsRecorded(name: String, options: String) throws {
    let arguments = ["ls", "--snapshot", Self.snapshot] + options.split(separator: " ").map { String($0) }
    let result = try Child([Bench.tool] + arguments, environment: Bench.environment()).wait()
    #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
    try expectGolden("ls-\(name).txt", result.output)
  }

  /// Memory blocks of two sections: one row where one row can say it of both.
  @Test func listsMemoryBlocksAsRecorded() throws {
    let blocks = Fixtures.tests.appending("Fixtures/snapshots/blocks.json").string
    for (name, options) in [("blocks", []), ("blocks-all", ["-a"])] {
      let arguments = ["ls", "--snapshot", blocks, "-o", "+NODE,ZONE"] + options
      let result = try Child([Bench.tool] + arguments, environment: Bench.environment()).wait()
      #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
      try expectGolden("ls-\(name).txt", result.output)
    }
    let snapshot = try JSONDecoder().decode(
      HeapSnapshot.self, from: Data(contentsOf: URL(fileURLWithPath: blocks)))
    #expect(SectionRow.rows(of: snapshot, merging: false).map(\.blocks) == ["2", "1", "1", "0", "3"])
    let choice = try #require(SectionChoice(amount: nil, blocks: "0,2"))
    #expect(try choice.sections(of: snapshot, online: false).map(\.block) == [0, 0, 2, 2])
  }

  @Test(arguments: [
    "-J -P", "-r -P", "-J -r", "-o NODE --output-all", "-o PIPE", "-o +USED,SIZES", "--summary=sometimes",
  ]) func refusesWhatMakesNoSense(options: String) throws {
    let arguments = ["ls", "--snapshot", Self.snapshot] + options.split(separator: " ").map { String($0) }
    let result = try Child([Bench.tool] + arguments, environment: Bench.environment()).wait()
    #expect(result.status == 64 && result.output.isEmpty && !result.errors.isEmpty, "\(result)")
  }

  @Test func neighboursMergeOnlyWhereNothingDiffers() throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: Self.snapshot))
    var snapshot = try JSONDecoder().decode(HeapSnapshot.self, from: data)
    #expect(SectionRow.rows(of: snapshot, merging: false).count == 7)
    // Two online and used, one removable, one on its way, two offline, one elsewhere.
    #expect(SectionRow.rows(of: snapshot, merging: true).map(\.sections.count) == [2, 1, 1, 2, 1])
    #expect(SectionRow.rows(of: snapshot, merging: true).map(\.blocks) == ["4-5", "3", "2", "0-1", "6"])
    snapshot.sections[1].node = 1
    #expect(SectionRow.rows(of: snapshot, merging: true).count == 6)
    snapshot.sections[4].base += 4096
    #expect(SectionRow.rows(of: snapshot, merging: true).count == 7)
  }

  @Test(arguments: [
    ("4096", 4096), ("4k", 4096), ("1.5M", 1_572_864), ("2GiB", 2 << 30), ("7B", 7), ("1KB", 1024), ("", nil),
    ("M", nil), ("12X", nil), ("1.2.3", nil), ("-5", nil), ("5 M", nil), ("9999999T", nil), ("1MX", nil),
  ]) func sizesAreRead(text: String, bytes: Int?) {
    #expect(Bytes.parse(text) == bytes)
  }

  @Test func numbersAloneCountTheUnitOfTheCommand() {
    #expect(Bytes.parse("12", unit: 1 << 20) == 12 << 20)
    #expect(Bytes.parse("12B", unit: 1 << 20) == 12)
  }

  @Test(arguments: [(0, "0B"), (4096, "4K"), (1 << 27, "128M"), (1_572_864, "1.5M"), (1023, "1023B")])
  func shortSizes(bytes: Int, text: String) { #expect(Bytes.short(bytes) == text) }
}
