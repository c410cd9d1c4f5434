// One real program and how it is run; `check` holds what it does under Bellows against what it does without.

import Foundation
import Testing

struct Scenario {
  let name: String
  let command: [String]
  var environment: [String: String] = [:]
  /// In seconds; only to end what hangs.
  var limit = 300

  /// A script of Fixtures with its arguments, run by bash.
  init(_ name: String, script: String, _ arguments: String...) {
    self.name = name
    command = ["bash", Lab.fixtures.appending(path: script).path(percentEncoded: false)] + arguments
  }

  init(_ name: String, command: [String]) {
    self.name = name
    self.command = command
  }

  struct Outcome {
    var status: Int32
    var output: Data
    var errors: Data
    var figures: Figures
  }

  /// Demands an equal status, an equal output and nothing on stderr that is not there without Bellows.
  func check() async throws {
    let missing = Lab.missing([])
    try #require(missing.isEmpty, "not on this machine: \(missing.joined(separator: ", "))")
    async let first = run("glibc", library: nil)
    async let second = run("bellows", library: Lab.library)
    let (plain, bellows) = try await (first, second)

    try #require(
      plain.status == 0,
      "\(name) fails without Bellows: \(plain.status)\n\(tail(plain.errors))\n\(tail(plain.output))")
    #expect(
      bellows.status == 0,
      "\(name) under Bellows: \(bellows.status)\n\(tail(bellows.errors))\n\(tail(bellows.output))")
    // Compared outside of the macro, which would print every byte of both.
    let sameOutput = bellows.output == plain.output
    let sameErrors = bellows.errors == plain.errors
    #expect(sameOutput, "\(name) prints something else: \(difference(plain.output, bellows.output))")
    #expect(sameErrors, "stray lines on stderr: \(difference(plain.errors, bellows.errors))")
    #expect(!plain.output.isEmpty, "\(name) prints nothing, so nothing was compared")
    FigureTable.add(name, glibc: plain.figures, bellows: bellows.figures)
  }

  private func run(_ kind: String, library: String?) async throws -> Outcome {
    let folder = try Lab.makeFolder("\(name)/\(kind)")
    let work = folder.appending(path: "work")
    try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let figures = folder.appending(path: "figures")

    let process = Process()
    process.executableURL = URL(filePath: try await Lab.measure.value)
    let time = String(Lab.isSoak ? limit * 12 : limit)
    process.arguments = [figures.path(percentEncoded: false), time, library ?? "-"] + command
    process.currentDirectoryURL = work
    process.environment = [
      "PATH": Lab.searchPath, "HOME": work.path(percentEncoded: false), "LC_ALL": "C.UTF-8", "TZ": "UTC",
      "SCALE": Lab.isSoak ? "6" : "1",
    ].merging(environment) { $1 }
    process.standardOutput = try file(folder.appending(path: "output"))
    process.standardError = try file(folder.appending(path: "errors"))
    let status = try await process.runToEnd()

    return Outcome(
      status: status,
      output: try Data(contentsOf: folder.appending(path: "output")),
      errors: try Data(contentsOf: folder.appending(path: "errors")),
      figures: try Figures(String(contentsOf: figures, encoding: .utf8)))
  }

  private func file(_ url: URL) throws -> FileHandle {
    try Data().write(to: url)
    return try FileHandle(forWritingTo: url)
  }

  private func tail(_ data: Data) -> String {
    String(decoding: data.suffix(1500), as: UTF8.self)
  }

  private func difference(_ plain: Data, _ bellows: Data) -> String {
    let old = String(decoding: plain, as: UTF8.self).split(separator: "\n")
    let new = String(decoding: bellows, as: UTF8.self).split(separator: "\n")
    let place = zip(old, new).enumerated().first { $1.0 != $1.1 }?.offset ?? min(old.count, new.count)
    func line(_ lines: [Substring]) -> String {
      place < lines.count ? String(lines[place].prefix(400)) : "(the end)"
    }
    return "from line \(place + 1) on\n  glibc:   \(line(old))\n  Bellows: \(line(new))"
  }
}
