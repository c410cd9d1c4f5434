// Offline by allocation: a section goes when every page of it is ours.
//
//   isolate ──► announce ──► ┌ drain ──► take ──► return ┐ ──► all? ──► detach ──► offline
//                  │ veto    └──────── wait ◄── no ──────┘
//                  ▼                     │ deadline, passes, cancel
//               release                  ▼ by policy: release, keep whole pageblocks, or stay
//
// Several sections go together: one drain serves all, and where it is all or nothing it is so for the set.
//
// Isolate first, then ask, then drain: the question is asked when nothing new can be allocated, so that a listener
// who frees what it has there sees an end of it. (Linux: offline_pages, mm/memory_hotplug.c.) No lock is held while
// listeners run or while the engine waits.

import CShims

extension Ref where Pointee == Arena {
  /// Takes sections offline, as far as `request` allows: `first` and those chained to it by `chain`. Answers 0 where
  /// all of them went, or an errno: EINVAL where one is neither online nor on its way, EBUSY where allocations are
  /// left, EINTR where the caller wanted it to end, or a listener's. Adds to `report`. The caller holds the sections'
  /// transition.
  package func takeOffline(
    _ first: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) -> Int32 {
    // Before anything is changed: what is offline already must not come back with the others.
    var isPossible = true
    forEach(first) { if $0.it.state != .online, $0.it.state != .goingOffline { isPossible = false } }
    guard isPossible else { return HotplugErrno.invalid }
    let refusal = isolate(first, request, &report, client)
    if refusal != 0, request.policy == .wholeOnly {
      settle(first, request, &report, client)
      return refusal
    }
    var error = refusal != 0 ? refusal : HotplugErrno.busy
    var passes: UInt32 = 0
    var pause: UInt64 = 1
    var ending = request
    while true {
      passes &+= 1
      report.passes = report.passes &+ 1
      if pass(first, request, &report, client) { return refusal }
      if request.cancelWord != 0, bellows_load32(request.cancelWord) != 0 {
        error = HotplugErrno.interrupted
        if request.isUndoneWhenCancelled { ending.policy = .wholeOnly }
        break
      }
      let now = bellows_clock_milliseconds()
      if now >= request.deadline || (request.passes != 0 && passes >= request.passes) { break }
      client.wait(milliseconds: min(pause, request.deadline &- now))
      pause = min(pause &* 2, 32)
    }
    settle(first, ending, &report, client)
    return error
  }

  private func forEach(_ first: SectionRef, _ body: (SectionRef) -> Void) {
    var section = first
    while section.address != 0 {
      body(section)
      section = SectionRef(section.it.chain)
    }
  }

  /// Stops allocation in the sections and asks the listeners. Answers the first refusal; who objects keeps the
  /// section.
  private func isolate(
    _ first: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) -> Int32 {
    let returnsFreed = request.policy != .wholeOnly
    var refusal: Int32 = 0
    forEach(first) { section in
      if section.it.state == .goingOffline { return section.setReturnsFreed(returnsFreed) }
      if refusal != 0, request.policy == .wholeOnly { return }
      guard zone(of: section).isolate(section, returnsFreed: returnsFreed) else {
        refusal = refusal != 0 ? refusal : HotplugErrno.invalid
        return
      }
      client.began(section)
      let veto = client.announce(.goingOffline, section, &report)
      guard veto != 0 else { return }
      refusal = refusal != 0 ? refusal : veto
      // Who asks why is to know all of it. Nothing is moved or returned for that.
      client.drain()
      client.explain(section, isTried: false, &report)
      rollBack(section, &report, client)
    }
    return refusal
  }

  /// One round; true where nothing is left to do.
  private func pass(
    _ first: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) -> Bool {
    client.drain()
    var isLeft = false
    forEach(first) { section in
      guard section.it.state == .goingOffline else { return }
      client.drain(section)
      if request.policy != .wholeOnly {
        report.returnedPages = report.returnedPages &+ zone(of: section).returnFree(section)
        if !finish(section, request, &report, client) { isLeft = true }
      } else if zone(of: section).hasUsedPages(section) {
        isLeft = true
      }
    }
    guard request.policy == .wholeOnly, !isLeft else { return !isLeft }
    // Nothing is returned before it is clear that all of them go.
    forEach(first) { section in
      if section.it.state == .goingOffline, !finish(section, request, &report, client) { isLeft = true }
    }
    return !isLeft
  }

  /// The last step of a section, where every page is ours.
  private func finish(
    _ section: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) -> Bool {
    let zone = zone(of: section)
    // What is free stays so: all of it is caged.
    var census = zone.census(section)
    guard census.used == 0 else { return false }
    if census.dirty != 0 {
      report.returnedPages = report.returnedPages &+ zone.returnFree(section)
      census = zone.census(section)
    }
    guard census.dirty == 0, census.busyBlocks == 0 else { return false }
    section.it.memory.set(SectionMemory.wasWhole, section.it.committedBlocks == section.it.blocks)
    guard zone.detach(section) else { return false }
    leaveZone(section)
    listOffline(section)
    zone.takeAll(section, &report.pieces)
    report.wholeSections = report.wholeSections &+ 1
    report.takenPages = report.takenPages &+ census.caged
    report.wholeBlocks = report.wholeBlocks &+ census.wholeBlocks
    if !request.keepsMemmap {
      // Nothing is described there any more.
      let bytes = UInt(section.it.blocks) &* it.geometry.pageblockPages &* Page.descriptorBytes
      it.platform.attempt(.discard, section.it.memmap, bytes.rounded(downTo: Page.bytes))
    }
    client.ended(section, isOffline: true)
    _ = client.announce(.offline, section, &report)
    return true
  }

  /// What becomes of the sections that could not go as a whole; where it is all or nothing, of those that did, too.
  private func settle(
    _ first: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) {
    forEach(first) { section in
      if section.it.state == .goingOffline { settleOne(section, request, &report, client) }
    }
    guard request.policy == .wholeOnly else { return }
    forEach(first) { section in
      guard section.it.state == .offline else { return }
      let census = zone(of: section).census(section)
      let pages = census.blocks &* it.geometry.pageblockPages
      report.wholeSections = report.wholeSections &- 1
      report.takenPages = report.takenPages &- pages
      report.leftPages = report.leftPages &+ pages
      report.wholeBlocks = report.wholeBlocks &- census.blocks
      _ = bringBack(section, &report, client, isUndone: true)
    }
  }

  private func settleOne(
    _ section: SectionRef, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) {
    let zone = zone(of: section)
    let census = zone.census(section)
    client.explain(section, isTried: true, &report)
    if census.dirty != 0, census.busyBlocks == 0, request.policy != .wholeOnly || census.used == 0 {
      report.add(.locked, 0, count: census.dirty, bytes: census.dirty &<< Page.shift)
    }
    switch request.policy {
    case .wholeOnly:
      rollBack(section, &report, client)
    case .keepPartial:
      let kept = zone.keepWholeBlocks(section)
      zone.take(section, &report.pieces)
      client.ended(section, isOffline: false)
      _ = client.announce(.cancelOffline, section, &report)
      let pages = kept &* it.geometry.pageblockPages
      report.wholeBlocks = report.wholeBlocks &+ kept
      report.partialSections = report.partialSections &+ (kept == 0 ? 0 : 1)
      report.takenPages = report.takenPages &+ pages
      report.leftPages = report.leftPages &+ (census.used &+ census.caged &- pages)
    case .stay:
      zone.take(section, &report.pieces)
      report.wholeBlocks = report.wholeBlocks &+ census.wholeBlocks
      report.partialSections = report.partialSections &+ 1
      report.takenPages = report.takenPages &+ census.caged
      report.leftPages = report.leftPages &+ census.used
    }
  }

  private func rollBack(_ section: SectionRef, _ report: inout OfflineReport, _ client: some OfflineClient) {
    let census = zone(of: section).census(section)
    zone(of: section).release(section)
    client.ended(section, isOffline: false)
    _ = client.announce(.cancelOffline, section, &report)
    report.leftPages = report.leftPages &+ census.used &+ census.caged
  }

  /// Brings a section back that is on its way, wholly or in part out of circulation, or offline. EINVAL where it
  /// is none of these. `isUndone`: what was accessible before it went is so again. The caller holds the section's
  /// transition.
  package func bringBack(
    _ section: SectionRef, _ report: inout OfflineReport, _ client: some OfflineClient, isUndone: Bool = false
  ) -> Int32 {
    switch section.it.state {
    case .goingOffline:
      report.broughtPages = report.broughtPages &+ zone(of: section).census(section).caged
      rollBack(section, &report, client)
      return 0
    case .online:
      let caged = zone(of: section).census(section).caged
      guard caged != 0 else { return HotplugErrno.invalid }
      report.broughtPages = report.broughtPages &+ caged
      zone(of: section).release(section)
    case .offline:
      report.broughtPages = report.broughtPages &+ UInt(section.it.blocks) &* it.geometry.pageblockPages
      unlistOffline(section)
      reopen(section, asBefore: isUndone)
      returnToZone(section).attach(section)
    default: return HotplugErrno.invalid
    }
    _ = client.announce(.online, section, &report)
    return 0
  }

  /// The body of a section that is offline is a fresh mapping: it gets its node again, and where it is to be as before,
  /// it becomes accessible. Where the system refuses, pages become so when they are allocated.
  private func reopen(_ section: SectionRef, asBefore: Bool) {
    let reserved = UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
    let start = section.it.base &+ reserved
    let bytes = UInt(section.it.blocks) &<< it.geometry.pageblockShift &- reserved
    do throws(Refusal) { try rebind(section, start, bytes) } catch { return }
    guard asBefore, section.it.memory.has(SectionMemory.wasWhole), it.platform.open(start, bytes) else {
      return
    }
    section.it.committedBlocks = section.it.blocks
  }
}
