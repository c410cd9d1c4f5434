// Taking an arena's sections offline and bringing them back by amount or by address: which ones, and one such change at a time,
// since what heaps on the arena keep is asked for all of them at once. It is a transition like others (Arena+Transition.swift),
// with the tokens of its sections.
//
// Sections that are offline stay reserved, with their records in the arena's directory; the arena keeps a list of
// them. Growth never uses them: only `online` does.

import CShims

extension Ref where Pointee == Arena {
  // MARK: The transition's token

  /// Begins such a change: 0; EBUSY where another thread is at one, EDEADLK where this thread has a transition (a listener that
  /// calls back).
  package func beginTransition() -> Int32 {
    let place = address &+ Arena.transitionOffset
    let thread = UInt(bellows_thread_id())
    let transition: Int
    do throws(Refusal) { transition = try claimTransition() } catch { return error.number }
    if bellows_compare_exchange(place, 0, thread) { return 0 }
    releaseTransition(transition)
    return HotplugErrno.busy
  }

  /// Gives the tokens back.
  package func endTransition() {
    giveBackChain()
    bellows_store_release(address &+ Arena.transitionOffset, 0)
    handTransition(of: bellows_thread_id(), to: 0)
  }

  private func giveBackChain() {
    growth.acquire()
    var place = it.transitionSections
    it.transitionSections = 0
    while place != 0 {
      SectionRef(place).it.token = 0
      place = SectionRef(place).it.chain
    }
    growth.release()
  }

  /// Takes the token of a section that is to be all of the change: EBUSY where another transition has it, EINVAL where none is
  /// there.
  func takeOnly(_ section: SectionRef) -> Int32 {
    giveBackChain()
    growth.acquire()
    defer { growth.release() }
    guard section.it.state != .absent, section.it.state != .device else { return HotplugErrno.invalid }
    guard section.it.token == 0 else { return HotplugErrno.busy }
    section.it.token = bellows_thread_id()
    section.it.chain = 0
    it.transitionSections = section.address
    return 0
  }

  /// Chains the sections that are on their way offline and in no transition, and `count` more, the emptiest first and of equals
  /// the youngest, with their tokens. Takes the growth lock, and each zone's in turn; O(count * sections * pageblocks).
  private func chainCheapest(_ count: UInt) {
    growth.acquire()
    var head: UInt = 0
    forEachZone { $0.chainGoing(&head, bellows_thread_id()) }
    it.transitionSections = head
    growth.release()
    let stayed = head
    for _ in 0..<count {
      guard let section = cheapest(chainedFrom: it.transitionSections, upTo: stayed), takeOnline(section)
      else { return }
    }
  }

  private func takeOnline(_ section: SectionRef) -> Bool {
    growth.acquire()
    defer { growth.release() }
    guard section.it.token == 0, section.it.state == .online else { return false }
    section.it.token = bellows_thread_id()
    section.it.chain = it.transitionSections
    it.transitionSections = section.address
    return true
  }

  private func cheapest(chainedFrom head: UInt, upTo end: UInt) -> SectionRef? {
    var best: SectionRef? = nil
    var least = UInt.max
    forEachZone { zone in
      guard let (section, used) = zone.cheapest(chainedFrom: head, upTo: end) else { return }
      if let known = best, used > least || (used == least && section.it.number < known.it.number) { return }
      least = used
      best = section
    }
    return best
  }

  // MARK: Offline

  /// Takes the sections offline that are cheapest to empty, as many as `pages` pages are, and goes on with those that
  /// are on their way. Answers 0, or an errno as `Arena.takeOffline`, EBUSY where another transition is under way,
  /// EDEADLK from a listener.
  package func offline(
    pages: UInt, _ request: OfflineRequest, _ report: inout OfflineReport, _ client: some OfflineClient
  ) -> Int32 {
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    let sectionPages = it.geometry.sectionPages
    chainCheapest((pages &+ (sectionPages &- 1)) / sectionPages)
    guard it.transitionSections != 0 else { return pages == 0 ? 0 : HotplugErrno.busy }
    return takeOffline(SectionRef(it.transitionSections), request, &report, client)
  }

  /// Takes the section that holds `place` offline. EINVAL where there is none.
  package func offline(
    at place: UInt, _ request: OfflineRequest, _ report: inout OfflineReport, _ client: some OfflineClient
  ) -> Int32 {
    guard let section = section(at: place) else { return HotplugErrno.invalid }
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    let theirs = takeOnly(section)
    guard theirs == 0 else { return theirs }
    return takeOffline(section, request, &report, client)
  }

  // MARK: Online

  /// Brings sections back, as many as `pages` pages are: those that are on their way or partly out first, more of them where
  /// little of each was out, then those that are offline, the youngest first. Adds to `report` what came, exact also where the
  /// answer is an errno: ENOMEM where there were fewer.
  package func online(pages: UInt, _ report: inout OfflineReport, _ client: some OfflineClient) -> Int32 {
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    let sectionPages = it.geometry.sectionPages
    var left = pages / sectionPages &+ (pages % sectionPages == 0 ? 0 : 1)
    let before = report.broughtPages
    while left > 0 || report.broughtPages &- before < pages {
      var section = firstWithCages()
      if section == nil, left > 0 { section = SectionRef(it.offlineSections) }
      guard let section, section.address != 0 else { return left > 0 ? HotplugErrno.outOfMemory : 0 }
      let theirs = takeOnly(section)
      guard theirs == 0 else { return theirs }
      let error = bringBack(section, &report, client)
      if error != 0 { return error }
      left = left &- (left > 0 ? 1 : 0)
    }
    return 0
  }

  /// Brings the section that holds `place` back. EINVAL where there is none, or nothing of it is out of circulation.
  package func online(at place: UInt, _ report: inout OfflineReport, _ client: some OfflineClient) -> Int32 {
    guard let section = section(at: place) else { return HotplugErrno.invalid }
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    let theirs = takeOnly(section)
    guard theirs == 0 else { return theirs }
    return bringBack(section, &report, client)
  }

  // MARK: The list of those that are offline

  /// Takes the growth lock; O(1).
  func listOffline(_ section: SectionRef) {
    growth.acquire()
    defer { growth.release() }
    section.it.next = it.offlineSections
    section.it.previous = 0
    if it.offlineSections != 0 { SectionRef(it.offlineSections).it.previous = section.address }
    it.offlineSections = section.address
    it.offlineCount = it.offlineCount &+ 1
  }

  /// Takes a section out, if it is in: those that never were online are not. Takes the growth lock; O(1).
  func unlistOffline(_ section: SectionRef) {
    growth.acquire()
    defer { growth.release() }
    guard isListedOffline(section) else { return }
    if section.it.previous == 0 {
      it.offlineSections = section.it.next
    } else {
      SectionRef(section.it.previous).it.next = section.it.next
    }
    if section.it.next != 0 { SectionRef(section.it.next).it.previous = section.it.previous }
    section.it.next = 0
    section.it.previous = 0
    it.offlineCount = it.offlineCount &- 1
  }

  /// Of a section that is offline.
  package func isListedOffline(_ section: SectionRef) -> Bool {
    section.it.previous != 0 || it.offlineSections == section.address
  }

  // MARK: Questions

  /// Whether the page that holds `place` is out of circulation: nothing will be allocated there. A load where no
  /// section is on its way; else takes the zone's lock.
  package func isOutOfCirculation(_ place: UInt) -> Bool {
    guard let section = section(at: place) else { return false }
    return zone(of: section).isCaged(section, place)
  }
}

extension Ref where Pointee == Zone {
  /// Chains the sections that are on their way offline and in no transition before `head`, with tokens of `thread`. Under the
  /// growth lock; takes the zone's; O(sections).
  func chainGoing(_ head: inout UInt, _ thread: UInt32) {
    lock.acquire()
    defer { lock.release() }
    var place = it.firstSection
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.next
      if section.it.state == .goingOffline, section.it.token == 0 {
        section.it.token = thread
        section.it.chain = head
        head = section.address
      }
    }
  }

  /// The online section with the fewest pages in use, and how many, of equals the youngest; none of those chained from `head`
  /// up to `end`. Takes the zone's lock; O(sections * pageblocks).
  func cheapest(chainedFrom head: UInt, upTo end: UInt) -> (SectionRef, UInt)? {
    lock.acquire()
    defer { lock.release() }
    var best: SectionRef? = nil
    var least = UInt.max
    var place = it.firstSection
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.next
      guard section.it.state == .online, !isChained(section, head, end) else { continue }
      let used = usedPages(section)
      if used <= least {
        least = used
        best = section
      }
    }
    return best.map { ($0, least) }
  }

  private func isChained(_ section: SectionRef, _ head: UInt, _ end: UInt) -> Bool {
    var place = head
    while place != end {
      if place == section.address { return true }
      place = SectionRef(place).it.chain
    }
    return false
  }

  private func usedPages(_ section: SectionRef) -> UInt {
    var used: UInt = 0
    for index in UInt(section.it.memmapBlocks)..<UInt(section.it.blocks) {
      used = used &+ UInt(section.block(index).it.usedPages)
    }
    return used
  }

  /// A section of which something is out of circulation, or nil. Takes the zone's lock.
  package func firstWithCages() -> SectionRef? {
    lock.acquire()
    defer { lock.release() }
    guard it.cagedPages != 0 else { return firstGoing() }
    var place = it.firstSection
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.next
      if section.it.state == .goingOffline { return section }
      for index in UInt(section.it.memmapBlocks)..<UInt(section.it.blocks)
      where section.block(index).has(Pageblock.caged) { return section }
    }
    return nil
  }

  /// How many sections are on their way offline. Takes the zone's lock.
  package func sectionsGoing() -> UInt {
    lock.acquire()
    defer { lock.release() }
    var count: UInt = 0
    var place = it.firstSection
    while place != 0 {
      if SectionRef(place).it.state == .goingOffline { count = count &+ 1 }
      place = SectionRef(place).it.next
    }
    return count
  }

  private func firstGoing() -> SectionRef? {
    var place = it.firstSection
    while place != 0 {
      if SectionRef(place).it.state == .goingOffline { return SectionRef(place) }
      place = SectionRef(place).it.next
    }
    return nil
  }
}
