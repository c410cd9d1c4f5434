// Random operations of one thread while sections go offline and come back at random.

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct CageTests {
  /// The ledger against the kernel's; what is in a hole or out of circulation is not resident.
  private func compareLedger(_ fixture: ArenaFixture, _ note: String) throws {
    let now = fixture.heap.statistics()
    let resident = fixture.residentPages().managed
    let most = now.usedPages + now.dirtyPages - now.holePages
    try check(resident <= most, "\(resident) resident pages, at most \(most): \(note)")
    var present: UInt = 0
    var caged: UInt = 0
    for index in 0..<UInt(fixture.arena.it.sections) {
      let section = fixture.section(index)
      let census = fixture.zone.census(section)
      switch section.it.state {
      case .offline:
        try check(fixture.resident(section).pages, is: 0, "resident pages of what is offline: \(note)")
      case .goingOffline:
        try check(
          census.caged + census.used, is: fixture.managedPages, "pages of a section on its way: \(note)")
        fallthrough
      default:
        present += fixture.geometry.sectionPages
        caged += census.caged
      }
    }
    try check(fixture.zone.it.presentPages, is: present, "present pages: \(note)")
    try check(fixture.zone.it.cagedPages, is: caged, "caged pages: \(note)")
  }

  @Test(arguments: ArenaFixture.sectionSizes.map { ($0, $0 < 1 << 25 ? 60_000 : 15_000) })
  func randomSectionsGoAndComeAmongRandomOperations(sectionBytes: UInt, operations: Int) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: 40))
    let user = try #require(HeapUser(fixture.heap))
    var model = HeapModel(user, stream: 60, largest: min(sectionBytes / 4, 4 << 20))
    var random = Random(stream: 61)
    let client = fixture.client(user.own, Announcements())
    for step in 0..<operations {
      try model.takeStep()
      guard random.chance(oneIn: 60) else { continue }
      let note = "step \(step)"
      let place =
        fixture.reservation + random.below(UInt(fixture.arena.it.sections)) << fixture.geometry.sectionShift
      var report = OfflineReport()
      if random.chance(oneIn: 3) {
        if random.chance(oneIn: 2) {
          let error = fixture.arena.online(at: place, &report, client)
          try check(error == 0 || error == HotplugErrno.invalid, "online: \(error), \(note)")
        } else {
          _ = fixture.arena.online(pages: random.below(3) * fixture.geometry.sectionPages, &report, client)
        }
      } else {
        let policies: [OfflinePolicy] = [.wholeOnly, .keepPartial, .stay]
        let request = OfflineRequest(policy: policies[Int(random.below(3))])
        let error =
          random.chance(oneIn: 2)
          ? fixture.arena.offline(at: place, request, &report, client)
          : fixture.arena.offline(
            pages: random.below(3) * fixture.geometry.sectionPages, request, &report, client)
        try check(
          error == 0 || error == HotplugErrno.busy || error == HotplugErrno.invalid,
          "offline: \(error), \(note)")
        // The thread has acknowledged, and nobody else is there: only live blocks can hold anything.
        try check(report.blocker(.thread) == nil && report.blocker(.pages) == nil, "\(report.list), \(note)")
      }
      try compareLedger(fixture, note)
    }
    try model.freeAll()
    // Whether a section was ever empty among the operations is chance; now the last ones are.
    fixture.heap.trim(user.own)
    var report = OfflineReport()
    let error = fixture.arena.offline(
      pages: fixture.geometry.sectionPages, OfflineRequest(policy: .wholeOnly), &report, client)
    try check(error == 0 && report.wholeSections > 0, "offline of what is empty: \(error), \(report.list)")
    _ = fixture.arena.offline(pages: 0, OfflineRequest(policy: .stay), &report, client)
    while fixture.arena.online(pages: 1, &report, client) == 0 { continue }
    user.leave()
    try fixture.compareEmptyHeap()
    #expect(
      fixture.heap.it.cages == 0 && fixture.zone.it.cagedPages == 0 && fixture.arena.it.offlineCount == 0)
  }

  /// With every free checked a cage is acknowledged for a thread that waits for its own heap's lock. What it was about to
  /// free lies in a shard that another thread has taken over meanwhile.
  @Test func aFreeThatWaitedForItsHeapFindsTheShardGone() throws {
    let fixture = try #require(ArenaFixture(isChecking: true))
    let heap = fixture.heap
    let user = try #require(HeapUser(heap))
    let other = try #require(HeapUser(heap))
    let own = try #require(user.own)
    let blocks = (0..<8).map { _ in user.malloc(700) }
    let shard = try #require(heap.shard(of: blocks[0]))
    let section = fixture.arena.knownSection(at: blocks[0])
    #expect(blocks.allSatisfy { heap.shard(of: $0)?.address == shard.address })
    own.lock.acquireUnranked()
    let waiting = TestThread { user.free(blocks[0]) }
    while bellows_load32(own.lock.word) & BELLOWS_LOCK_SLEEPERS == 0 { usleep(1000) }
    #expect(fixture.zone.isolate(section, returnsFreed: true))
    heap.beginCage()
    heap.acknowledge(own)
    fixture.zone.release(section)
    heap.endCage()
    try TestThread { other.free(blocks[1]) }.join()
    #expect(shard.owner.bits == other.own?.address)
    own.lock.release()
    try waiting.join()
    #expect(shard.remote.count == 1 && shard.used == 7, "it was freed as a stranger's")
    for block in blocks.dropFirst(2) { user.free(block) }
    user.leave()
    other.leave()
    try fixture.compareEmptyHeap()
  }
}
