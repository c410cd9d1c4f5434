import Testing

@testable import BellowsCLI

@Suite struct BoundTests {
  /// A run of 10 s: live bytes rise to 100 and fall to 10 at 5 s; resident memory follows half a second later.
  private var run: StressRun {
    var run = StressRun(allocator: StressAllocator(name: "test", library: nil))
    run.base = 20
    run.samples = (0...100).map { tick in
      let seconds = Double(tick) / 10
      return StressRun.Sample(
        seconds: seconds, rss: 20 + (seconds < 5.5 ? 110 : 12), anonymous: 0, huge: 0, swap: 0,
        live: seconds < 5 ? 100 : 10, operations: tick, faults: 0, cpu: seconds / 2, bellows: nil)
    }
    run.events = [.init(seconds: 4, label: "free"), .init(seconds: 5, label: "all freed")]
    return run
  }

  private func verdict(_ text: String) throws -> Bound.Verdict {
    try Bound(parsing: text).verdict(run, turn: "all freed")
  }

  @Test(arguments: [
    ("rss - base < 1.3 * live @ +2s", true), ("rss-base<1.3*live@+2s", true),
    ("rss - base < 1.3 * live", false),
    ("rss - base < 1.3 * live @ +0.6s", true), ("rss - base < 1.3 * live @ +0.4s", false),
    ("rss < 1.3 * live @ +2s", false), ("max(rss) - base <= 110", true), ("max(rss - base) < 110", false),
    ("live > 50 @ start..4.9s", true), ("live > 50 @ start..all freed", false), ("live == 5 @ end", nil),
    ("live < 20 @ end", true), ("live < 20 @ 50%", true), ("live < 20 @ 49%", false),
    ("live < 20 @ free", false), ("live < 20 @ free + 1s", true), ("live < 20 @ free+1s..7s", true),
    ("cpu <= time / 2", true), ("-rss < -(base)", true), ("mean(live) > 50 @ end", true),
    ("last(live) * 1KiB <= 10K", true), ("min(live) / first(live) < 0.2", true),
    ("time < 500ms @ end", false),
    ("rss >= 0 * live / 0", false), ("((((rss)))) < 1 + 2 * 100 - 1", true),
  ])
  func boundsHoldOrBreak(text: String, held: Bool?) throws {
    guard let held else {
      #expect(throws: Bound.Mistake.self) { try Bound(parsing: text) }
      return
    }
    #expect(try verdict(text).held == held, "\(text)")
  }

  @Test func nearestSampleIsTold() throws {
    let broken = try verdict("rss - base < 1.3 * live")
    #expect(!broken.held && broken.left == 110 && broken.right == 13 && (5..<5.5).contains(broken.seconds))
    let held = try verdict("live < 200")
    #expect(held.held && held.left == 100 && held.samples == 101)
  }

  @Test(arguments: [
    ("rss < ", 6, "the text ends"), ("rss", 3, "expected '<'"), ("rss < live @", 12, "expected start"),
    ("rsss < live", 0, "no figure 'rsss'"), ("rss < 3 furlongs", 8, "the end"),
    ("rss < 3furlongs", 7, "no unit 'furlongs'"),
    ("rss < (live", 11, "expected ')'"), ("max rss < 3", 4, "expected '('"), ("rss < 1.2.3", 6, "is none"),
    ("rss < live @ +2", 14, "a time such as"), ("rss < live @ 120%", 13, "no more than 100"),
    ("", 0, "the text ends"),
    ("rss < live @ end extra..", 24, "expected start"), ("rss < live ; drop", 11, "found ';'"),
    ("rss < \u{1F600}", 6, "found '\u{1F600}'"),
  ])
  func mistakesAreShownWhereTheyAre(text: String, offset: Int, words: String) {
    do throws(Bound.Mistake) {
      _ = try Bound(parsing: text)
      Issue.record("'\(text)' was parsed")
    } catch {
      #expect(error.offset == offset && error.message.contains(words), "\(error)")
      #expect(error.shown(in: text).contains("\n  \(text)\n  "))
    }
  }

  @Test func depthIsBounded() {
    for text in [String(repeating: "(", count: 100_000), String(repeating: "-", count: 100_000)] {
      #expect(throws: Bound.Mistake.self) { try Bound(parsing: text) }
    }
  }

  @Test(arguments: ["live > 0 @ nowhere", "live > 0 @ 20s", "live > 0 @ nowhere + 1s"])
  func whatWasNotSeenIsNotJudged(text: String) throws {
    let bound = try Bound(parsing: text)
    #expect(throws: Bound.Unanswered.self) { try bound.verdict(run, turn: nil) }
    let turned = try Bound(parsing: "live > 0 @ +1s")
    #expect(throws: Bound.Unanswered.self) { try turned.verdict(run, turn: nil) }
  }

  @Test func scenariosOwnBoundsAreBounds() throws {
    for scenario in StressScenario.all {
      for bound in scenario.bounds { #expect(throws: Never.self) { try Bound(parsing: bound) } }
    }
  }

  @Test func limitIsWhatResidentMemoryMayBe() throws {
    let limit = try #require(
      try Bound(parsing: "rss - base < 2 * live @ +2s").limit(of: run, turn: "all freed"))
    #expect(limit.first?.x == 7 && limit.allSatisfy { $0.y == 40 })
    #expect(try Bound(parsing: "p99 < 1ms").limit(of: run, turn: nil) == nil)
  }
}
