// Each step of online, offline and remove fails in turn: state, counters, resident pages and mappings are as before,
// and the next try succeeds. (Additions: TransactionTests.)

import BellowsCore
import CShims
import Testing

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

/// What must be as before: the arena's figures, and what each section's record says.
private struct Picture: Equatable {
  var figures: Figures
  var states: [SectionState]
  var flags: [UInt16]
  var altmaps: [Altmap]
  var memmaps: [UInt]
  var nodeSections: [UInt32]
  var free: UInt
  var withheld: UInt

  init(_ fixture: ArenaFixture, _ sections: Range<UInt>) throws {
    figures = try Figures(fixture)
    let records = sections.map { fixture.record($0) }
    states = records.map { $0.it.state }
    // What a transition notes for itself.
    let notes =
      SectionMemory.wasWhole | SectionMemory.opened | SectionMemory.filled | SectionMemory.decidesNode
    flags = records.map { $0.it.memory.flags & ~notes }
    altmaps = records.map { $0.it.memory.altmap }
    memmaps = records.map { $0.it.memmap }
    nodeSections = (0..<65).map { fixture.arena.it.nodeSections[$0] }
    free = fixture.arena.totals().free
    withheld = fixture.arena.totals().withheld
    for record in records { #expect(record.it.token == 0) }
  }
}

@Suite struct FailingStepTests {
  private static let rules: [@Sendable (UInt) -> FailureRule] = [{ .nth($0) }, { .from($0) }]

  /// Puts a transition under every failure of the system.
  private func forEachFailure(
    _ what: String, prepare: (ArenaFixture) throws -> Void,
    transition: (ArenaFixture) throws(Refusal) -> Void, after: (ArenaFixture) throws -> Void
  ) throws {
    var failed = 0
    for (kind, rule) in Self.rules.enumerated() {
      for n in 1...400 as ClosedRange<UInt> {
        let double = FailingPlatform()
        let fixture = try ArenaFixture.explicit(double: double)
        try prepare(fixture)
        let before = try Picture(fixture, 0..<3)
        double.arm(rule(n))
        let answer = refusal { () throws(Refusal) in try transition(fixture) }
        let failures = double.failures
        let undone = double.failedUndos
        double.arm(.none)
        let note = "\(what), \(rule(n))"
        if answer != nil {
          failed += 1
          try check(failures > 0, "\(note): failed without a failure")
          var now = try Picture(fixture, 0..<3)
          // Free pages that went back to the system stay there: they are free as before.
          let gone = before.figures.dirty - min(now.figures.dirty, before.figures.dirty)
          now.figures.dirty += gone
          now.figures.resident += gone
          // Where giving back is refused, or everything is, mappings cannot be restored.
          if undone > 0 || kind == 1 { now.figures.mappings = before.figures.mappings }
          // Where nothing is granted any more, descriptors cannot be dropped again either.
          if kind == 1 { now.figures.resident = before.figures.resident }
          try check(now == before, "\(note):\n\(now)\nnot\n\(before)")
          try transition(fixture)
        }
        try after(fixture)
        if failures == 0 { break }
        try check(n < 400, "\(note): no end")
      }
    }
    try check(failed > 0, "\(what): nothing failed")
  }

  @Test func everySystemCallOfOnline() throws {
    for isEager in [false, true] {
      for cycles in 0...1 {
        try forEachFailure(
          "online, eager \(isEager), \(cycles) cycles",
          prepare: { fixture in
            var request = AddRequest()
            request.node = 0
            request.isEager = isEager
            request.hook = OnlineHook(function: { _, _, _, pages in pages > 100 ? 0 : 1 })
            _ = try fixture.arena.add(request, count: 3)
            guard cycles == 1 else { return }
            try fixture.arena.setHook(0..<3, OnlineHook())
            try fixture.arena.online(0..<3)
            try fixture.offline(0..<3)
            try fixture.arena.setHook(0..<3, request.hook)
          }, transition: { fixture throws(Refusal) in try fixture.arena.online(0..<3) },
          after: { fixture in
            try check(fixture.arena.totals().present, is: 3 * fixture.geometry.sectionPages, "present")
            try check(fixture.arena.allocate(pages: 500, alignment: 1) != nil, "usable")
          })
      }
    }
  }

  @Test func everySystemCallOfOffline() throws {
    for placement in [.required, .outside] as [MemmapPlacement] {
      try forEachFailure(
        "offline, \(placement)",
        prepare: { fixture in
          var request = fixture.request(placement)
          request.node = 0
          _ = try fixture.arena.add(request, count: 4)
          try fixture.arena.online(0..<4)
          // Everything was used once; the last section is.
          var runs: [PageRun] = []
          while let run = fixture.arena.allocate(pages: 64, alignment: 64) {
            bellows_zero(run.address, run.bytes)
            runs.append(run)
          }
          for run in runs where fixture.arena.section(at: run.address) != fixture.arena.section(index: 3) {
            fixture.arena.free(run)
          }
        }, transition: { fixture throws(Refusal) in try fixture.offline(0..<2) },
        after: { fixture in
          for index in 0..<2 as Range<UInt> {
            let section = fixture.record(index)
            try check(section.it.state == .offline, "state")
            let kept = placement == .required ? fixture.memmapPages : 0
            try check(fixture.resident(index), is: kept, "resident in an offline section")
          }
          try fixture.arena.online(0..<2)
          try check(fixture.arena.allocate(pages: 500, alignment: 1) != nil, "usable again")
        })
    }
  }

  @Test func everySystemCallOfRemove() throws {
    for (placement, count) in [(.required, 1), (.outside, 3)] as [(MemmapPlacement, UInt)] {
      for isFresh in [false, true] {
        try forEachFailure(
          "remove, \(placement), fresh \(isFresh)",
          prepare: { fixture in
            var request = fixture.request(placement)
            request.node = 0
            _ = try fixture.arena.add(request, count: 3)
            guard !isFresh else { return }
            try fixture.arena.online(0..<3)
            let run = try #require(fixture.arena.allocate(pages: 500, alignment: 1))
            bellows_zero(run.address, run.bytes)
            fixture.arena.free(run)
            try fixture.offline(0..<3)
          }, transition: { fixture throws(Refusal) in try fixture.arena.remove(0..<count) },
          after: { fixture in
            for index in 0..<count {
              try check(fixture.arena.section(index: index)?.it.state == .absent, "absent")
            }
            _ = try fixture.arena.add(fixture.request(placement), count: count, at: 0)
            try fixture.arena.online(0..<count)
            try check(fixture.arena.allocate(pages: 500, alignment: 1) != nil, "usable again")
          })
      }
    }
  }

  /// Everybody who can say no does so, at each of three sections: both questions of both ways.
  @Test func everyObjection() throws {
    for event in [.nodeAddingFirst, .goingOnline, .nodeRemovingLast, .goingOffline] as [HotplugEvent] {
      for place in 1...3 {
        let isNodes = event == .nodeAddingFirst || event == .nodeRemovingLast
        guard !isNodes || place == 1 else { continue }
        let recorder = Recorder()
        let fixture = try ArenaFixture.explicit()
        _ = try recorder.join(fixture.arena)
        var request = AddRequest()
        request.node = 0
        _ = try fixture.arena.add(request, count: 3)
        let isIn = event == .nodeAddingFirst || event == .goingOnline
        if !isIn { try fixture.arena.online(0..<3) }
        let before = try Picture(fixture, 0..<3)
        var asked = 0
        recorder.body = { told in
          asked += told == event ? 1 : 0
          recorder.answers = told == event && asked == place ? [event: -28] : [:]
        }
        let answer = refusal { () throws(Refusal) in
          if isIn { try fixture.arena.online(0..<3) } else { try fixture.offline(0..<3) }
        }
        #expect(answer == .noSpace, "\(event) of \(place)")
        #expect(try Picture(fixture, 0..<3) == before, "\(event) of \(place)")
        recorder.body = nil
        recorder.answers = [:]
        if isIn { try fixture.arena.online(0..<3) } else { try fixture.offline(0..<3) }
      }
    }
  }

  /// A page in use, a caller that wants it to end, a page that is locked: at each of three sections.
  @Test(arguments: 0..<3 as Range<UInt>)
  func everyReasonToStay(index: UInt) throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest(), count: 3)
    try fixture.arena.online(0..<3)
    var runs: [PageRun] = []
    while let run = fixture.arena.allocate(pages: 16, alignment: 16) {
      bellows_zero(run.address, run.bytes)
      runs.append(run)
    }
    let kept = try #require(
      runs.first { fixture.arena.index(of: fixture.arena.knownSection(at: $0.address)) == index })
    for run in runs where run.address != kept.address { fixture.arena.free(run) }
    let before = try Picture(fixture, 0..<3)
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<3) } == .busy)
    #expect(try Picture(fixture, 0..<3) == before, "in use")
    let word = Memory(4096)
    Ref<UInt32>(word.address).it = 1
    var report = OfflineReport()
    let endless = OfflineRequest(policy: .wholeOnly, deadline: .max, cancelWord: word.address)
    #expect(
      refusal { () throws(Refusal) in try fixture.arena.offline(0..<3, endless, &report) { _ in } }
        == .interrupted)
    #expect(try Picture(fixture, 0..<3) == before, "ended")
    fixture.arena.free(kept)
    try fixture.offline(0..<3)
  }
}

@Suite struct SectionSizeTests {
  /// From 4 MiB to 1 GiB: the whole life, with both kinds of memmap.
  @Test(arguments: (22...30).map { 1 << $0 } as [UInt])
  func everySize(bytes: UInt) throws {
    for placement in [.required, .outside] as [MemmapPlacement] {
      let fixture = try ArenaFixture.explicit(sectionBytes: bytes, sections: 2)
      #expect(fixture.geometry.canSelfHost && fixture.geometry.memmapBytes == bytes / 64)
      let before = try Figures(fixture)
      #expect(try fixture.arena.add(fixture.request(placement), count: 2) == 0)
      let hosted = placement == .required ? fixture.memmapPages : 0
      #expect(fixture.resident(1) == hosted)
      try fixture.arena.register(0..<2)
      try fixture.arena.online(0..<2)
      #expect(fixture.zone.freePages == 2 * (fixture.geometry.sectionPages - hosted))
      // From both ends, not all of it: a gigabyte is much for a test.
      let first = try #require(fixture.arena.allocate(pages: 3, alignment: 1))
      let large = try #require(fixture.arena.allocate(pages: fixture.geometry.sectionPages / 2, alignment: 1))
      for address in [first.address, large.address, large.end - Page.bytes] { Ref<UInt>(address).it = 7 }
      #expect(refusal { () throws(Refusal) in try fixture.offline(0..<2) } == .busy)
      #expect(Ref<UInt>(large.end - Page.bytes).it == 7)
      fixture.arena.free(first)
      fixture.arena.free(large)
      var report = OfflineReport()
      try fixture.arena.offline(0..<1, OfflineRequest(policy: .wholeOnly), &report) { _ in }
      // The whole order, or the ladder behind the memmap: six pieces.
      #expect((0..<19).reduce(0) { $0 + Int(report.pieces.taken[$1]) } == (placement == .required ? 6 : 1))
      try fixture.offline(1..<2)
      #expect(fixture.resident(0) == hosted)
      try fixture.arena.unregister(0..<2)
      for index in 0..<2 as Range<UInt> { try fixture.arena.remove(index..<(index + 1)) }
      #expect(try Figures(fixture) == before)
    }
  }
}
