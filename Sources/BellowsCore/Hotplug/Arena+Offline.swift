// Taking an arena's sections offline and bringing them back: which ones, and one transition at a time.
//
// Sections that are offline stay reserved, with their records in the arena's directory; the arena keeps a list of
// them. Growth never uses them: only `online` does.

import CShims

extension Ref where Pointee == Arena {
  // MARK: The transition's token

  /// Takes the token: 0; EBUSY where another thread has it, EDEADLK where this one does (a listener that calls back).
  package func beginTransition() -> Int32 {
    let place = address &+ Arena.transitionOffset
    let thread = UInt(bellows_thread_id())
    if bellows_compare_exchange(place, 0, thread) { return 0 }
    return bellows_load(place) == thread ? HotplugErrno.deadlock : HotplugErrno.busy
  }

  package func endTransition() {
    it.transitionSections = 0
    bellows_store_release(address &+ Arena.transitionOffset, 0)
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
    it.transitionSections = chainCheapest((pages &+ (sectionPages &- 1)) / sectionPages)
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
    section.it.chain = 0
    it.transitionSections = section.address
    return takeOffline(section, request, &report, client)
  }

  // MARK: Online

  /// Brings sections back, `pages` pages of them: those that are on their way or partly out first, then those that
  /// are offline, the youngest first. Answers 0 or an errno; ENOMEM where there were fewer.
  package func online(pages: UInt, _ report: inout OfflineReport, _ client: some OfflineClient) -> Int32 {
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    let sectionPages = it.geometry.sectionPages
    var left = pages / sectionPages &+ (pages % sectionPages == 0 ? 0 : 1)
    while left > 0 {
      let section = firstWithCages() ?? SectionRef(it.offlineSections)
      guard section.address != 0 else { return HotplugErrno.outOfMemory }
      section.it.chain = 0
      it.transitionSections = section.address
      let error = bringBack(section, &report, client)
      if error != 0 { return error }
      left = left &- 1
    }
    return 0
  }

  /// Brings the section that holds `place` back. EINVAL where there is none, or nothing of it is out of circulation.
  package func online(at place: UInt, _ report: inout OfflineReport, _ client: some OfflineClient) -> Int32 {
    guard let section = section(at: place) else { return HotplugErrno.invalid }
    let refusal = beginTransition()
    if refusal != 0 { return refusal }
    defer { endTransition() }
    section.it.chain = 0
    it.transitionSections = section.address
    return bringBack(section, &report, client)
  }

  // MARK: The list of those that are offline

  /// The transition's.
  func listOffline(_ section: SectionRef) {
    section.it.next = it.offlineSections
    it.offlineSections = section.address
    it.offlineCount = it.offlineCount &+ 1
  }

  func unlistOffline(_ section: SectionRef) {
    if it.offlineSections == section.address {
      it.offlineSections = section.it.next
    } else {
      var place = it.offlineSections
      while SectionRef(place).it.next != section.address { place = SectionRef(place).it.next }
      SectionRef(place).it.next = section.it.next
    }
    section.it.next = 0
    it.offlineCount = it.offlineCount &- 1
  }

  package func isListedOffline(_ section: SectionRef) -> Bool {
    var place = it.offlineSections
    while place != 0 {
      if place == section.address { return true }
      place = SectionRef(place).it.next
    }
    return false
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
  /// Chains the sections that are on their way offline before `head`. Takes the zone's lock; O(sections).
  func chainGoing(_ head: inout UInt) {
    lock.acquire()
    defer { lock.release() }
    var place = it.firstSection
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.next
      section.it.chain = 0
      if section.it.state == .goingOffline {
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
