// Offline by allocation: a section goes when every page of it is the cage's.

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct OfflineTests {
  private static let sectionSizes = ArenaFixture.sectionSizes

  @Test(arguments: sectionSizes)
  func row4aOfflineOwnsEveryPageAndThenTheRangeIsGone(sectionBytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes))
    let run = fixture.writtenRun(fixture.managedPages)
    let section = fixture.section(0)
    #expect(fixture.resident(section).pages == fixture.managedPages)
    fixture.arena.free(run)
    let memmap = fixture.resident(section).memmap
    let announcements = Announcements()
    let (error, report) = fixture.takeOffline(at: run.address, .wholeOnly, telling: announcements)
    #expect(error == 0)
    #expect(report.takenPages == fixture.managedPages && report.leftPages == 0)
    #expect(report.returnedPages == fixture.managedPages)
    #expect(report.blockerCount == 0 && report.wholeSections == 1)
    #expect(section.it.state == .offline)
    #expect(fixture.zone.it.presentPages == 0 && fixture.zone.it.managedPages == 0)
    #expect(fixture.zone.it.cagedPages == 0 && fixture.zone.it.usedPages == 0)
    #expect(fixture.resident(section).pages == 0)
    #expect(fixture.resident(section).memmap == memmap, "offline never touches the memmap")
    #expect(!Kernel.isReadable(run.address) && !Kernel.isReadable(run.end - 1))
    #expect(announcements.events == [.goingOffline, .offline])
    #expect(announcements.ranges.allSatisfy { $0 == run.address..<run.end })
    // It is not used again until it is brought back.
    let other = fixture.writtenRun(1)
    #expect(other.address >= section.it.base + sectionBytes)
    fixture.arena.free(other)
    announcements.forget()
    #expect(fixture.bringBack(at: run.address, telling: announcements) == 0)
    #expect(announcements.events == [.online])
    #expect(section.it.state == .online)
    let again = fixture.writtenRun(fixture.managedPages)
    #expect(again.address == run.address && again.isZero)
    fixture.arena.free(again)
  }

  @Test func row4eWhatIsFreedInASectionOnItsWayIsCaged() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let user = try #require(HeapUser(fixture.heap))
    var blocks = (0..<2000).map { _ in user.malloc(1000) }
    for block in blocks { Ref<UInt>(block).it = block }
    let section = fixture.arena.knownSection(at: blocks[0])
    let (error, first) = fixture.takeOffline(at: blocks[0], .stay, user.own)
    #expect(error == HotplugErrno.busy)
    #expect(section.it.state == .goingOffline)
    #expect(first.blocker(.blocks)?.count == 2000)
    #expect(first.blocker(.blocks)?.detail == 1024)
    #expect(first.list.count == 1)
    // Sixteen blocks to a shard of four pages: each fourth free returns a page, each sixteenth gives the shard back.
    var caged = fixture.zone.it.cagedPages
    var resident = fixture.resident(section).pages
    for (number, block) in blocks.enumerated() {
      try check(Ref<UInt>(block).it, is: block, "content of block \(number)")
      user.free(block)
      guard number % 16 == 15 else { continue }
      try check(fixture.zone.it.cagedPages, is: caged + 4, "caged pages after \(number) frees")
      let now = fixture.resident(section).pages
      try check(now, is: resident - 4, "resident pages after \(number) frees")
      caged += 4
      resident = now
      let other = user.malloc(1000)
      try check(!fixture.heap.isCaged(other), "an address in the cage")
      user.free(other)
    }
    blocks = []
    let (second, report) = fixture.takeOffline(at: section.it.base, .stay, user.own)
    #expect(second == 0 && report.wholeSections == 1)
    #expect(fixture.resident(section).pages == 0)
    user.leave()
  }

  /// A page at a time: the page of a partly used shard goes with the last block on it.
  @Test func freedPagesOfShardsLeaveAtOnce() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let user = try #require(HeapUser(fixture.heap))
    let blocks = (0..<512).map { _ in user.malloc(512) }
    for block in blocks { bellows_zero(block, 512) }
    let section = fixture.arena.knownSection(at: blocks[0])
    _ = fixture.takeOffline(at: blocks[0], .stay, user.own)
    let before = fixture.resident(section).pages
    // The first seven of the eight blocks of each page, then the eighth.
    for (number, block) in blocks.enumerated() where number % 8 != 7 { user.free(block) }
    #expect(fixture.resident(section).pages == before)
    let holes = fixture.heap.statistics().holePages
    for (number, block) in blocks.enumerated() where number % 32 == 7 { user.free(block) }
    #expect(fixture.resident(section).pages == before - 16)
    #expect(fixture.heap.statistics().holePages == holes + 16)
    for (number, block) in blocks.enumerated() where number % 8 == 7 && number % 32 != 7 { user.free(block) }
    #expect(fixture.resident(section).pages == 0)
    #expect(fixture.takeOffline(at: blocks[0], .stay, user.own).error == 0)
    user.leave()
  }

  @Test(arguments: sectionSizes)
  func row4fTheWholeOrderOrTheLadderOfSmallerPieces(sectionBytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes))
    let run = fixture.writtenRun(fixture.managedPages)
    let order = Int(fixture.geometry.sectionShift - Page.shift)
    let blockOrder = Int(fixture.geometry.pageblockOrder)
    fixture.arena.free(run)
    // Self-hosted: 63 of 64 pageblocks are the six pieces 32, 16, 8, 4, 2, 1.
    let (error, whole) = fixture.takeOffline(at: run.address, .wholeOnly)
    #expect(error == 0)
    var expected: [Int: UInt32] = [:]
    for order in blockOrder..<order { expected[order] = 1 }
    #expect(whole.takenPieces == expected)
    #expect(whole.pieces.tried[order] == 1, "the whole order is tried first")
    #expect(fixture.bringBack(at: run.address) == 0)
    // With one page left in the middle of the last pageblock, its half, quarter ... and neighbour.
    let pages = fixture.writtenRun(fixture.managedPages)
    let last = fixture.geometry.pageblockPages
    let section = fixture.section(0)
    let kept = pages.end - last << (Page.shift - 1)
    fixture.zone.free(section, address: pages.address, pages: (kept - pages.address) >> Page.shift)
    fixture.zone.free(section, address: kept + Page.bytes, pages: (pages.end - kept) >> Page.shift - 1)
    let (busy, ladder) = fixture.takeOffline(at: run.address, .stay)
    #expect(busy == HotplugErrno.busy)
    #expect(ladder.takenPieces == expectedLadder(order, blockOrder))
    #expect(ladder.takenPages == fixture.managedPages - 1 && ladder.leftPages == 1)
    #expect(ladder.blocker(.pages)?.count == 1)
    fixture.zone.free(section, address: kept, pages: 1)
    #expect(fixture.takeOffline(at: run.address, .stay).error == 0)
  }

  /// One page used in the middle of the last pageblock: in the upper half of the section one piece of each order below,
  /// in the lower half the ladder down to the memmap.
  private func expectedLadder(_ order: Int, _ blockOrder: Int) -> [Int: UInt32] {
    var result: [Int: UInt32] = [:]
    for lower in blockOrder..<(order - 1) { result[lower, default: 0] += 1 }
    for upper in 0..<(order - 1) { result[upper, default: 0] += 1 }
    return result
  }

  @Test(arguments: sectionSizes)
  func row4gOnePageDecidesByPolicy(sectionBytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes))
    let run = fixture.writtenRun(fixture.managedPages)
    let section = fixture.section(0)
    let kept = run.address + fixture.geometry.pageblockBytes * 3 + Page.bytes * 7
    fixture.zone.free(section, address: run.address, pages: (kept - run.address) >> Page.shift)
    fixture.zone.free(section, address: kept + Page.bytes, pages: (run.end - kept) >> Page.shift - 1)
    fixture.readMemmaps()
    let before = try Figures(fixture)
    let announcements = Announcements()
    // All or nothing: nothing.
    let (whole, none) = fixture.takeOffline(at: kept, .wholeOnly, telling: announcements)
    #expect(whole == HotplugErrno.busy)
    #expect(none.takenPages == 0 && none.leftPages == fixture.managedPages)
    #expect(none.blocker(.pages)?.count == 1 && none.list.count == 1)
    #expect(announcements.events == [.goingOffline, .cancelOffline])
    #expect(try Figures(fixture) == before)
    #expect(section.it.state == .online && fixture.zone.it.cagedPages == 0)
    #expect(Ref<UInt>(kept).it == (kept - run.address) >> Page.shift + 1)
    let inside = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    #expect(fixture.arena.knownSection(at: inside.address) == section)
    fixture.arena.free(inside)
    // What can go: 62 of 63 pageblocks.
    let (part, some) = fixture.takeOffline(at: kept, .keepPartial)
    #expect(part == HotplugErrno.busy)
    #expect(some.wholeBlocks == 62 && some.partialSections == 1)
    #expect(some.takenPages == 62 * fixture.geometry.pageblockPages)
    #expect(some.takenPages + some.leftPages == fixture.managedPages)
    #expect(section.it.state == .online)
    #expect(fixture.resident(section).pages <= fixture.geometry.pageblockPages)
    #expect(fixture.zone.freePages == fixture.geometry.pageblockPages - 1)
    let rest = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    #expect(rest.address >> fixture.geometry.pageblockShift == kept >> fixture.geometry.pageblockShift)
    fixture.arena.free(rest)
    #expect(fixture.arena.isOutOfCirculation(run.address) && !fixture.arena.isOutOfCirculation(kept))
    // All of it but the page, until somebody says otherwise.
    let (stay, most) = fixture.takeOffline(at: kept, .stay)
    #expect(stay == HotplugErrno.busy)
    #expect(most.takenPages == fixture.managedPages - 1 && most.leftPages == 1)
    #expect(fixture.resident(section).pages == 1)
    #expect(fixture.bringBack(at: kept) == 0)
    #expect(fixture.zone.freePages == fixture.managedPages - 1)
    #expect(Ref<UInt>(kept).it == (kept - run.address) >> Page.shift + 1)
    fixture.zone.free(section, address: kept, pages: 1)
    #expect(fixture.bringBack(at: kept) == HotplugErrno.invalid, "nothing of it is out")
    #expect(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1)?.address == run.address)
  }

  @Test func row4hGoingOfflineIsASectionsStateAndSaysHowFarItIs() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let user = try #require(HeapUser(fixture.heap))
    let blocks = (0..<40).map { _ in user.malloc(60_000) }
    let section = fixture.arena.knownSection(at: blocks[0])
    #expect(section.it.state == .online && !fixture.heap.hasCages)
    #expect(!fixture.heap.isCaged(blocks[0]))
    let (error, report) = fixture.takeOffline(at: blocks[0], .stay, user.own)
    #expect(error == HotplugErrno.busy && section.it.state == .goingOffline)
    #expect(report.blocker(.runs)?.count == 40)
    #expect(blocks.allSatisfy { fixture.heap.isCaged($0) && fixture.arena.isOutOfCirculation($0) })
    var census = fixture.zone.census(section)
    #expect(census.used + census.caged == fixture.managedPages && census.used == 40 * 15)
    for block in blocks.prefix(30) { user.free(block) }
    census = fixture.zone.census(section)
    #expect(census.used == 10 * 15 && census.dirty == 0)
    #expect(fixture.heap.statistics().slottedPages == 0, "a freed run of the section is kept for nobody")
    // To resize a block to what it is takes it out.
    let moved = blocks.suffix(10).map { user.realloc($0, 60_000) }
    #expect(moved.allSatisfy { !fixture.heap.isCaged($0) })
    #expect(fixture.takeOffline(at: blocks[0], .stay, user.own).error == 0)
    #expect(section.it.state == .offline && !fixture.heap.hasCages)
    #expect(fixture.arena.isOutOfCirculation(blocks[0]) && !fixture.heap.isCaged(blocks[0]))
    for block in moved { user.free(block) }
    user.leave()
  }

  @Test func emptiestSectionsGoFirst() throws {
    let fixture = try #require(ArenaFixture(sections: 5))
    // 1000, 0, 20, 0 and 300 pages are left in use.
    let runs = (0..<5).map { _ in fixture.writtenRun(fixture.managedPages) }
    for (run, kept) in zip(runs, [900, 0, 20, 0, 300] as [UInt]) {
      let section = fixture.arena.knownSection(at: run.address)
      fixture.zone.free(section, address: run.address + kept << Page.shift, pages: run.pages - kept)
    }
    var report = OfflineReport()
    let announcements = Announcements()
    let request = OfflineRequest(policy: .stay)
    let client = fixture.client(nil, announcements)
    let error = fixture.arena.offline(pages: 3 * fixture.geometry.sectionPages - 1, request, &report, client)
    #expect(error == HotplugErrno.busy)
    #expect(report.wholeSections == 2 && report.partialSections == 1)
    #expect(
      (0..<5).map { fixture.section($0).it.state } == [.online, .offline, .goingOffline, .offline, .online])
    // The last to go are the first to be asked, and what is on its way goes on.
    #expect(report.leftPages == 20)
    fixture.zone.free(fixture.section(2), address: runs[2].address, pages: 20)
    #expect(fixture.arena.offline(pages: 0, request, &report, client) == 0)
    #expect(fixture.section(2).it.state == .offline)
    report = OfflineReport()
    #expect(fixture.arena.online(pages: 3 * fixture.geometry.sectionPages, &report, client) == 0)
    #expect(fixture.arena.online(pages: 1, &report, client) == HotplugErrno.outOfMemory)
    #expect((0..<5).allSatisfy { fixture.section($0).it.state == .online })
    #expect(fixture.zone.it.presentPages == 5 * fixture.geometry.sectionPages)
  }

  @Test func allOrNothingIsSoForTheSet() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let runs = (0..<3).map { _ in fixture.writtenRun(fixture.managedPages) }
    for run in runs.dropFirst() { fixture.arena.free(run) }
    fixture.readMemmaps()
    let before = try Figures(fixture)
    var report = OfflineReport()
    let announcements = Announcements()
    let client = fixture.client(nil, announcements)
    let pages = 3 * fixture.geometry.sectionPages
    #expect(
      fixture.arena.offline(pages: pages, OfflineRequest(policy: .wholeOnly), &report, client)
        == HotplugErrno.busy)
    #expect(try Figures(fixture) == before)
    #expect(report.takenPages == 0 && report.leftPages == 3 * fixture.managedPages)
    #expect(announcements.events.filter { $0 == .cancelOffline }.count == 3)
    // A veto of one keeps all.
    fixture.arena.free(runs[0])
    let free = try Figures(fixture)
    announcements.forget()
    announcements.answers = [0, 3 << 32 | 16, 0]
    report = OfflineReport()
    #expect(fixture.arena.offline(pages: pages, OfflineRequest(policy: .wholeOnly), &report, client) == 16)
    #expect(try Figures(fixture) == free)
    #expect(report.blocker(.vetoed)?.count == 3 && report.blocker(.vetoed)?.detail == 16)
    // But where it is not all or nothing, the others go.
    announcements.answers = [0, 1 << 32 | 1, 0]
    report = OfflineReport()
    #expect(fixture.arena.offline(pages: pages, OfflineRequest(policy: .stay), &report, client) == 1)
    #expect(report.wholeSections == 2)
    #expect((0..<3).filter { fixture.section($0).it.state == .online }.count == 1)
  }

  /// A section of which nobody ever had a page goes without a word in its pageblocks.
  @Test(arguments: [OfflinePolicy.wholeOnly, .stay, .keepPartial])
  func whatNobodyUsedGoesAndComesLikeAnyOther(_ policy: OfflinePolicy) throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(double: double))
    let section = try #require(fixture.addSection())
    let inside = section.it.base + 2 << 20
    let before = try Figures(fixture)
    let announcements = Announcements()
    nonisolated(unsafe) var seen: [Bool] = []
    announcements.body = { _ in
      unsafe seen.append(fixture.arena.isOutOfCirculation(inside) && fixture.zone.freePages == 0)
    }
    // A veto brings it back.
    announcements.answers = [3 << 32 | 16]
    #expect(fixture.takeOffline(at: inside, policy, telling: announcements).error == 16)
    unsafe #expect(seen.first == true)
    #expect(try Figures(fixture) == before && fixture.zone.freePages == fixture.managedPages)
    announcements.body = nil
    // So does a system that refuses every way to make it inaccessible, where there is something to make so.
    let run = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    fixture.arena.free(run)
    #expect(fixture.takeOffline(at: inside, .stay).error == 0)
    #expect(fixture.bringBack(at: inside) == 0)
    #expect(
      fixture.zone.makeAccessible(section, address: section.it.base, pages: fixture.geometry.sectionPages))
    double.arm(.from(1))
    let (error, report) = fixture.takeOffline(at: inside, policy)
    double.arm(.none)
    #expect(error == HotplugErrno.busy)
    switch policy {
    case .wholeOnly: #expect(section.it.state == .online && fixture.zone.freePages == fixture.managedPages)
    case .stay: #expect(section.it.state == .goingOffline && report.takenPages == fixture.managedPages)
    case .keepPartial:
      #expect(section.it.state == .online && fixture.zone.it.cagedPages == fixture.managedPages)
      #expect(fixture.arena.isOutOfCirculation(inside) && fixture.zone.freePages == 0)
    }
    #expect(fixture.takeOffline(at: inside, policy).error == 0)
    #expect(section.it.state == .offline && fixture.zone.it.cagedPages == 0)
    #expect(Kernel.residentPages(inside, Page.bytes) == 0)
    #expect(fixture.bringBack(at: inside) == 0 && fixture.zone.freePages == fixture.managedPages)
    let all = try #require(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1))
    Ref<UInt>(all.address).it = 1
    fixture.arena.free(all)
    #expect(fixture.takeOffline(at: inside, policy).error == 0)
  }

  @Test func boundsAreKept() throws {
    let fixture = try #require(ArenaFixture())
    let run = fixture.writtenRun(1)
    var report = OfflineReport()
    let client = fixture.client(nil, Announcements())
    // Passes.
    var request = OfflineRequest(policy: .wholeOnly, deadline: .max, passes: 3)
    #expect(fixture.arena.offline(at: run.address, request, &report, client) == HotplugErrno.busy)
    #expect(report.passes == 3)
    // The deadline.
    let began = bellows_clock_milliseconds()
    request = OfflineRequest(policy: .wholeOnly, deadline: began + 40)
    #expect(fixture.arena.offline(at: run.address, request, &report, client) == HotplugErrno.busy)
    #expect(bellows_clock_milliseconds() >= began + 36)
    // The caller's wish, here from another thread.
    let word = Memory(64)
    let thread = TestThread {
      usleep(20_000)
      bellows_store32(word.address, 1)
    }
    request = OfflineRequest(policy: .wholeOnly, deadline: .max, cancelWord: word.address)
    #expect(fixture.arena.offline(at: run.address, request, &report, client) == HotplugErrno.interrupted)
    try thread.join()
    #expect(fixture.section(0).it.state == .online)
    // While it waits, what is freed makes it succeed.
    let helper = TestThread {
      usleep(20_000)
      fixture.arena.free(run)
    }
    request = OfflineRequest(policy: .wholeOnly, deadline: .max)
    #expect(fixture.arena.offline(at: run.address, request, &report, client) == 0)
    try helper.join()
  }

  @Test func oneTransitionAtATimeAndNoneFromAListener() throws {
    let fixture = try #require(ArenaFixture())
    let run = fixture.writtenRun(1)
    let announcements = Announcements()
    nonisolated(unsafe) var inner: [Int32] = []
    announcements.body = { _ in
      unsafe inner.append(fixture.bringBack(at: run.address))
      try? inThreads(1) { _ in unsafe inner.append(fixture.takeOffline(at: run.address, .stay).error) }
    }
    _ = fixture.takeOffline(at: run.address, .wholeOnly, telling: announcements)
    unsafe #expect(
      inner == [HotplugErrno.deadlock, HotplugErrno.busy, HotplugErrno.deadlock, HotplugErrno.busy])
    announcements.body = nil
    #expect(fixture.takeOffline(at: 4096, .stay).error == HotplugErrno.invalid)
    fixture.arena.free(run)
    #expect(fixture.takeOffline(at: run.address, .stay).error == 0)
    for policy in [OfflinePolicy.stay, .wholeOnly, .keepPartial] {
      #expect(fixture.takeOffline(at: run.address, policy).error == HotplugErrno.invalid, "it is offline")
      #expect(fixture.section(0).it.state == .offline)
    }
  }
}
