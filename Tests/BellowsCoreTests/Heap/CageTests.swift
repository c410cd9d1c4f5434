// Random operations of one thread while sections go offline and come back at random.

import BellowsCore
import CShims
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
}
