// Balloons on real memory: what is resident is asked of the kernel, page by page.

import BellowsCore
import CShims
import Testing

@Suite struct BalloonTests {
  @Test(arguments: ArenaFixture.sectionSizes)
  func row0gFreshPagesAreDivertedIntoTheBalloon(_ sectionBytes: UInt) throws {
    let bench = try #require(BalloonBench(sectionBytes: sectionBytes, answersShortage: false))
    let range = try bench.online(into: bench.balloon)
    #expect(bench.zone.freePages == 0)
    #expect(bench.balloon.it.held.pages == bench.fixture.managedPages)
    #expect(bench.residentPages == bench.fixture.memmapPages, "descriptors, and nothing else")
    #expect(Kernel.residentPages(range.lowerBound, UInt(range.count)) == 0)
    #expect(bench.zone.run(pages: 1, alignment: 1) == nil)
  }

  @Test func row1aEachOfTwoBalloonsGetsItsOwnSectionsPagesOnly() throws {
    let bench = try #require(BalloonBench(sections: 5))
    let owners = [bench.balloon, bench.other, bench.balloon, bench.other]
    let ranges = try owners.map { try bench.online(into: $0) }
    for (owner, range) in zip(owners, ranges) {
      #expect(HeldPages.owner(bench.arena, of: range.lowerBound) == owner.address)
    }
    // Whatever one of them gives up comes from its own sections.
    for (place, owner) in [bench.other, bench.balloon].enumerated() {
      let mine = zip(owners, ranges).filter { $0.0 == owner }.map(\.1)
      try check(owner.deflate(2 * bench.fixture.managedPages).reason == nil, "deflate \(place)")
      try check(owner.it.held.pages, is: 0, "left")
      for range in mine {
        try check(
          Kernel.residentPages(range.lowerBound, UInt(range.count)), is: bench.fixture.managedPages,
          "its pages")
      }
      for range in ranges where !mine.contains(range) && place == 0 {
        try check(Kernel.residentPages(range.lowerBound, UInt(range.count)), is: 0, "the other's pages")
      }
    }
  }

  @Test(arguments: ArenaFixture.sectionSizes)
  func row1cDeflatingBindsMemoryToExactlySoManyPages(_ sectionBytes: UInt) throws {
    let bench = try #require(BalloonBench(sectionBytes: sectionBytes, answersShortage: false))
    let range = try bench.online(into: bench.balloon)
    var random = Random(stream: 1)
    var given: UInt = 0
    for _ in 0..<40 {
      let pages = random.spread(1...bench.fixture.managedPages / 8)
      let left = bench.balloon.it.held.pages
      guard left > 0 else { break }
      let before = try Kernel.rss(range.lowerBound, UInt(range.count))
      let free = bench.zone.freePages
      let outcome = bench.balloon.deflate(pages)
      try check(outcome.pages, is: min(pages, left), "pages")
      try check(outcome.reason == (pages > left ? .noSpace : nil), "reason \(outcome)")
      let after = try Kernel.rss(range.lowerBound, UInt(range.count))
      try check(after - before, is: outcome.pages * Page.bytes, "growth of the range's own Rss")
      try check(bench.zone.freePages - free, is: outcome.pages, "free")
      given += outcome.pages
      // What came is what the allocator gives out now: resident before it is touched, and writable.
      let run = try #require(bench.zone.run(pages: 1, alignment: 1))
      try check(Kernel.residentPages(run.address, run.bytes), is: 1, "resident")
      run.touch()
      bench.arena.free(run)
    }
    let resident = (0..<UInt(range.count) >> Page.shift).count {
      Kernel.residentPages(range.lowerBound + $0 << Page.shift, Page.bytes) == 1
    }
    #expect(UInt(resident) == given)
  }

  @Test func row1dOnePageComesAndTheOthersStayOffline() throws {
    let bench = try #require(BalloonBench(answersShortage: false))
    let range = try bench.online(into: bench.balloon)
    #expect(bench.balloon.deflate(1) == BalloonOutcome(pages: 1))
    let pages = stride(from: range.lowerBound, to: range.upperBound, by: Int(Page.bytes))
    #expect(pages.filter { !bench.isOffline($0) } == [range.lowerBound])
    #expect(pages.filter { Kernel.residentPages($0, Page.bytes) != 0 } == [range.lowerBound])
    let run = try #require(bench.zone.run(pages: 1, alignment: 1))
    #expect(run.address == range.lowerBound && bench.zone.freePages == 0)
  }

  @Test func row1ePresentAndManagedAreNumbersOfTheirOwn() throws {
    let bench = try #require(BalloonBench(answersShortage: false))
    _ = try bench.online(into: bench.balloon)
    let present = bench.fixture.geometry.sectionPages
    #expect(bench.zone.it.presentPages == present && bench.zone.it.managedPages == 0)
    _ = bench.balloon.deflate(100)
    #expect(bench.zone.it.presentPages == present && bench.zone.it.managedPages == 100)
    _ = bench.balloon.inflate(30)
    #expect(bench.zone.it.presentPages == present && bench.zone.it.managedPages == 70)
    #expect(bench.balloon.it.held.pages == bench.fixture.managedPages - 70)
  }

  @Test func inflatingDropsTheMemoryOfFreePagesAndOfNoOthers() throws {
    let bench = try #require(BalloonBench(sections: 1))
    let runs = bench.exhaust(pages: 3)
    for run in runs { run.touch() }
    for run in runs.enumerated() where run.offset % 2 == 0 { bench.arena.free(run.element) }
    let resident = bench.residentPages
    let free = bench.zone.freePages
    let outcome = bench.balloon.inflate(free + 10)
    #expect(outcome == BalloonOutcome(pages: free, reason: .busy), "no more than is free")
    #expect(bench.residentPages == resident - outcome.pages + bench.memmapGrowth(resident, outcome.pages))
    for run in runs.enumerated() where run.offset % 2 == 1 {
      for page in 0..<run.element.pages {
        try check(
          Ref<UInt>(run.element.address + page << Page.shift).it, is: run.element.address + page, "content")
      }
    }
    #expect(bench.zone.freePages == 0 && bench.zone.it.usedPages == UInt(runs.count / 2 * 3))
    #expect(bench.arena.it.sections <= 2, "an inflating balloon makes no arena grow")
  }

  @Test func aFloorIsLeftToTheAllocator() throws {
    let bench = try #require(BalloonBench(sections: 1))
    _ = try #require(bench.fixture.addSection())
    bench.balloon.it.traits.floorPages = 600
    #expect(
      bench.balloon.inflate(bench.fixture.managedPages)
        == BalloonOutcome(pages: bench.fixture.managedPages - 600, reason: .noSpace))
    #expect(bench.zone.it.managedPages == 600)
    // A program that uses no more than the floor never meets the balloon.
    for _ in 0..<600 { #expect(bench.zone.run(pages: 1, alignment: 1) != nil) }
    #expect(bench.balloon.inflate(1) == BalloonOutcome(pages: 0, reason: .noSpace))
  }

  @Test func anAllocationAboutToFailDeflatesDownToWhatIsKept() throws {
    let bench = try #require(BalloonBench(sections: 1))
    _ = try bench.online(into: bench.balloon)
    _ = try bench.online(into: bench.balloon)
    bench.balloon.it.traits.keptPages = 300
    // The capacity is two sections, and the balloon has all of both.
    let runs = bench.exhaust(pages: 4)
    #expect(bench.balloon.it.held.pages < 304 && bench.balloon.it.held.pages >= 300)
    #expect(UInt(runs.count) * 4 == 2 * bench.fixture.managedPages - bench.balloon.it.held.pages)
    #expect(bench.balloon.it.relievedPages == UInt(runs.count) * 4)
    // Below the program's own floor nothing is kept from it.
    bench.balloon.it.traits.floorPages = 2 * bench.fixture.managedPages
    let more = bench.exhaust(pages: 4)
    #expect(UInt(more.count) * 4 == bench.balloon.it.relievedPages - UInt(runs.count) * 4)
    #expect(bench.balloon.it.held.pages == 0)
    #expect(bench.arena.allocate(pages: 4, alignment: 1) == nil)
  }

  @Test func anAllocationOfManyPagesGetsThemInARow() throws {
    let bench = try #require(BalloonBench(sections: 1))
    _ = try bench.online(into: bench.balloon)
    _ = try bench.online(into: bench.balloon)
    let run = try #require(bench.arena.allocate(pages: 200, alignment: 16))
    run.touch()
    #expect(bench.balloon.it.relievedPages < 600)
    // A heap on the arena is relieved as well.
    let heap = try #require(HeapUser(bench.fixture.heap))
    #expect(heap.malloc(100) != 0)
  }

  /// Random allocations, frees, inflations and deflations against a model; then the kernel's figures against ours.
  @Test func randomLedger() throws {
    let bench = try #require(BalloonBench(sections: 4, answersShortage: false))
    var random = Random(stream: 2)
    _ = try bench.online(into: bench.balloon)
    _ = try #require(bench.fixture.addSection())
    _ = try bench.online(into: bench.other)
    var live: [PageRun] = []
    var managed = bench.zone.it.managedPages
    for step in 0..<3000 {
      switch random.below(10) {
      case 0...3:
        if let run = bench.zone.run(pages: random.spread(1...64), alignment: 1) {
          run.touch()
          live.append(run)
        }
      case 4...6:
        guard !live.isEmpty else { continue }
        let run = live.remove(at: Int(random.below(UInt(live.count))))
        for page in 0..<run.pages {
          try check(Ref<UInt>(run.address + page << Page.shift).it, is: run.address + page, "content")
        }
        bench.arena.free(run)
      case 7:
        managed -=
          (random.chance(oneIn: 2) ? bench.balloon : bench.other).inflate(random.spread(1...400)).pages
      case 8:
        managed +=
          (random.chance(oneIn: 2) ? bench.balloon : bench.other).deflate(random.spread(1...400)).pages
      default:
        bench.zone.purge(dirtySince: .max)
      }
      try check(bench.zone.it.managedPages, is: managed, "managed")
      let held = bench.balloon.it.held.pages + bench.other.it.held.pages
      try check(managed + held, is: 3 * bench.fixture.managedPages, "managed and held")
      if step % 100 == 0 {
        let used = live.reduce(0) { $0 + $1.pages }
        try check(bench.zone.it.usedPages, is: used, "used")
        try check(bench.fixture.residentPages().managed, is: used + bench.zone.it.dirtyPages, "resident")
      }
    }
    // The lists of both lead through all that they hold, and to nothing else.
    for balloon in [bench.balloon, bench.other] {
      var sum: UInt = 0
      var run = balloon.it.held.first
      while run != 0 {
        try check(HeldPages.owner(bench.arena, of: run) == balloon.address, "owner")
        for page in 0..<balloon.it.held.count(bench.arena, run) {
          try check(bench.isOffline(run + page << Page.shift), "offline")
        }
        sum += balloon.it.held.count(bench.arena, run)
        run = balloon.it.held.next(bench.arena, run)
      }
      try check(sum, is: balloon.it.held.pages, "pages of the list")
    }
  }

  /// Every system call of inflating and deflating fails once, alone and with all after it: pages are either all the
  /// balloon's or all the allocator's, and the next try succeeds.
  @Test(arguments: [false, true]) func aFailedStepLeavesNoPageBetween(isDeflating: Bool) throws {
    for rule in [FailureRule.nth, FailureRule.from] {
      for n in 1... as PartialRangeFrom<UInt> {
        let double = FailingPlatform()
        let bench = try #require(BalloonBench(double: double, answersShortage: false))
        if isDeflating {
          _ = try bench.online(into: bench.balloon)
        } else {
          _ = try #require(bench.fixture.addSection())
          let all = try #require(bench.zone.run(pages: bench.fixture.managedPages, alignment: 1))
          all.touch()
          bench.arena.free(all)
        }
        let (managed, resident) = (bench.zone.it.managedPages, bench.fixture.residentPages().managed)
        double.arm(rule(n))
        let outcome = isDeflating ? bench.balloon.deflate(900) : bench.balloon.inflate(900)
        let failures = double.failures
        double.arm(.none)
        let note = "\(rule(n)), deflating \(isDeflating)"
        if failures > 0 { try check(outcome.reason == .noMemory || outcome.pages == 900, note) }
        let change = isDeflating ? bench.zone.it.managedPages - managed : managed - bench.zone.it.managedPages
        try check(change, is: outcome.pages, "\(note): managed")
        let now = bench.fixture.residentPages().managed
        // A discard that undoes what was populated in part may be the call that fails.
        if double.failedUndos == 0, case .nth = rule(n) {
          try check(isDeflating ? now - resident : resident - now, is: outcome.pages, "\(note): resident")
        }
        try check(
          bench.balloon.it.held.pages, is: bench.fixture.managedPages - bench.zone.it.managedPages, note)
        let rest = 900 - outcome.pages
        let again = isDeflating ? bench.balloon.deflate(rest) : bench.balloon.inflate(rest)
        try check(again.pages, is: rest, "\(note): again")
        if failures == 0 { break }
      }
    }
  }

  @Test func threadsAllocateWhileItBreathes() throws {
    let bench = try #require(BalloonBench(sections: 3))
    _ = try bench.online(into: bench.balloon)
    _ = try #require(bench.fixture.addSection())
    bench.balloon.it.traits.floorPages = 700
    try inThreads(4) { thread in
      var random = Random(stream: UInt64(thread))
      if thread == 0 {
        for _ in 0..<400 {
          _ =
            random.chance(oneIn: 2)
            ? bench.balloon.inflate(random.spread(1...900)) : bench.balloon.deflate(random.spread(1...900))
        }
        return
      }
      var live: [PageRun] = []
      for _ in 0..<4000 {
        if live.count < 20, let run = bench.arena.allocate(pages: random.spread(1...8), alignment: 1) {
          for page in 0..<run.pages { Ref<UInt>(run.address + page << Page.shift).it = run.address }
          live.append(run)
        } else if !live.isEmpty {
          let run = live.remove(at: Int(random.below(UInt(live.count))))
          for page in 0..<run.pages {
            try check(Ref<UInt>(run.address + page << Page.shift).it, is: run.address, "content")
          }
          bench.arena.free(run)
        } else {
          // 3 threads of at most 20 runs of 8 pages are below the floor.
          throw Violation(description: "an allocation below the floor failed")
        }
      }
      for run in live { bench.arena.free(run) }
    }
    #expect(bench.zone.it.usedPages == 0)
    let sections = UInt(bench.arena.it.sections)
    #expect(bench.zone.it.managedPages + bench.balloon.it.held.pages == sections * bench.fixture.managedPages)
  }
}

extension BalloonBench {
  /// Pages of descriptors that were not resident before pages were marked as offline: at most what is missing.
  fileprivate func memmapGrowth(_ before: UInt, _ pages: UInt) -> UInt { residentPages - (before - pages) }
}
