// Targets, credit and the schedule of retries.

import BellowsCore
import CShims
import Testing

@Suite struct BalloonTargetTests {
  @Test func delaysDoubleAndEndInARest() {
    var schedule = BalloonSchedule()
    #expect(schedule.state == .done && schedule.delay == 0)
    var delays: [UInt64] = []
    for _ in 0..<8 {
      schedule.note(isMet: false)
      delays.append(schedule.delay)
    }
    #expect(delays == [1000, 2000, 4000, 3_600_000, 1000, 2000, 4000, 3_600_000])
    #expect(schedule.state == .resting)
    schedule.note(isMet: true)
    #expect(schedule == BalloonSchedule())
  }

  @Test func managedPagesConvergeToTheTarget() throws {
    let bench = try #require(BalloonBench(sections: 3))
    _ = try bench.online(into: bench.balloon)
    _ = try #require(bench.fixture.addSection())
    var random = Random(stream: 3)
    for _ in 0..<30 {
      let target = random.below(2 * bench.fixture.managedPages)
      bench.balloon.setTarget(target)
      let credit = Int(target) - Int(bench.zone.it.managedPages)
      try check(bench.balloon.credit, is: credit, "credit")
      let outcome = bench.balloon.advance(1)
      try check(outcome == BalloonOutcome(pages: credit.magnitude), "\(outcome)")
      try check(bench.zone.it.managedPages, is: target, "managed")
      try check(bench.balloon.it.schedule.state == .done, "state")
    }
  }

  @Test func whatCannotBeHadIsTriedAgainLater() throws {
    let double = FailingPlatform()
    let bench = try #require(BalloonBench(double: double))
    _ = try bench.online(into: bench.balloon)
    bench.balloon.setTarget(700)
    double.arm(.sized(.populate, 0...(1 << 30)))
    #expect(bench.balloon.advance(10_000) == BalloonOutcome(pages: 0, reason: .noMemory))
    #expect(bench.balloon.advance(10_999) == BalloonOutcome(pages: 0, reason: .again), "not due")
    #expect(bench.balloon.advance(11_000).reason == .noMemory)
    #expect(bench.balloon.it.due == 13_000)
    #expect(bench.balloon.advance(13_000).reason == .noMemory)
    #expect(bench.balloon.advance(17_000).reason == .noMemory)
    #expect(bench.balloon.it.schedule.state == .resting && bench.balloon.it.due == 17_000 + 3_600_000)
    // A new target is looked at at once.
    double.arm(.none)
    bench.balloon.setTarget(600)
    #expect(bench.balloon.advance(17_001) == BalloonOutcome(pages: 600))
    #expect(bench.balloon.it.schedule.state == .done)
  }

  @Test func aTargetBelowWhatIsInUseIsMetAsPagesAreFreed() throws {
    let bench = try #require(BalloonBench(sections: 1))
    _ = try #require(bench.fixture.addSection())
    let run = try #require(bench.arena.allocate(pages: 500, alignment: 1))
    bench.balloon.setTarget(100)
    #expect(bench.balloon.advance(1).reason == .busy)
    #expect(bench.zone.it.managedPages == 500)
    bench.arena.free(run)
    #expect(bench.balloon.advance(1001) == BalloonOutcome(pages: 400))
  }
}
