// Online, offline, registration and removal of sections that were added.

import CShims

extension Ref where Pointee == Arena {
  // MARK: Registration

  /// Makes sections visible to listings and daemons: EEXIST where one is. ENXIO, EBUSY, EDEADLK.
  package func register(_ range: Range<UInt>) throws(Refusal) {
    try setRegistered(range, true, else: .exists)
  }

  /// Takes them out of listings: EINVAL where one is not there. ENXIO, EBUSY, EDEADLK.
  package func unregister(_ range: Range<UInt>) throws(Refusal) {
    try setRegistered(range, false, else: .invalid)
  }

  private func setRegistered(_ range: Range<UInt>, _ value: Bool, else refusal: Refusal) throws(Refusal) {
    guard !range.isEmpty else { throw .invalid }
    try checkBlocks(range)
    let thread = bellows_thread_id()
    growth.acquire()
    defer { growth.release() }
    for place in 0..<16 where it.transitions[place] == thread { throw .deadlock }
    for index in range {
      guard let section = section(index: index), section.it.state != .absent, section.it.state != .device
      else { throw .noDevice }
      if section.it.token != 0 { throw .busy }
      if section.it.memory.has(SectionMemory.registered) == value { throw refusal }
    }
    for index in range { known(index).it.memory.set(SectionMemory.registered, value) }
  }

  // MARK: Online

  /// Brings sections online, all or none, each memory block in the zone of `choice`.
  ///
  /// EINVAL: one is online; ENXIO: one is absent; EBUSY: another transition has one; EDEADLK; ENOMEM: for the zone's record,
  /// or for a hook, the descriptors or pages cannot be made accessible; or the errno of an observer.
  package func online(_ range: Range<UInt>, in choice: ZoneChoice = .contiguous) throws(Refusal) {
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    try take(range, for: transition, in: .offline, else: .invalid)
    defer { giveBack(range) }
    var asked = range.lowerBound
    var kind = ZoneKind.normal
    do throws(Refusal) {
      while asked < range.upperBound {
        if asked % UInt(it.blockSections) == 0 { kind = chooseZone(ofBlock: asked, choice) }
        try askOnline(known(asked), kind)
        asked = asked &+ 1
      }
    } catch {
      while asked > range.lowerBound {
        asked = asked &- 1
        cancelOnline(known(asked))
      }
      throw error
    }
    // Nothing fails from here on.
    for index in range { finishOnline(known(index)) }
  }

  /// What may be refused. Undoes itself.
  private func askOnline(_ section: SectionRef, _ kind: ZoneKind) throws(Refusal) {
    do throws(Refusal) { try open(section, kind) } catch {
      shut(section)
      throw error
    }
    let isFirst = countNode(section, 1) == 1
    section.it.memory.set(SectionMemory.decidesNode, isFirst)
    var answer = isFirst ? notify(.nodeAddingFirst, section) : 0
    if answer == 0 { answer = notify(.goingOnline, section) }
    if answer != 0 {
      cancelOnline(section)
      throw Refusal(answer)
    }
  }

  private func open(_ section: SectionRef, _ kind: ZoneKind) throws(Refusal) {
    let committed = UInt(section.it.committedBlocks) &<< it.geometry.pageblockShift
    let hasHook = section.it.memory.hook.function != nil
    section.it.memory.set(SectionMemory.opened, committed < it.geometry.sectionBytes)
    section.it.memory.set(SectionMemory.filled, hasHook && isMemmapAbsent(section))
    if committed < it.geometry.sectionBytes {
      // Its body is a fresh mapping since it was offline.
      try rebind(section, section.it.base &+ committed, it.geometry.sectionBytes &- committed)
    }
    guard let zone = enterZone(section, kind) else { throw .noMemory }
    guard hasHook else { return }
    // Each page is described as its owner's.
    guard it.platform.attempt(.populate, section.it.memmap, it.geometry.memmapBytes),
      zone.makeAccessible(section, address: section.it.base, pages: it.geometry.sectionPages)
    else { throw .noMemory }
  }

  private func isMemmapAbsent(_ section: SectionRef) -> Bool {
    guard !section.it.memory.has(SectionMemory.populated) else { return false }
    if case .success(let pages) = it.platform.perform(.resident, section.it.memmap, it.geometry.memmapBytes) {
      return pages == 0
    }
    return false
  }

  /// Undoes what `open` did, where it came to nothing.
  private func shut(_ section: SectionRef) {
    leaveZone(section)
    if section.it.memory.has(SectionMemory.filled) {
      it.platform.attempt(.discard, section.it.memmap, it.geometry.memmapBytes)
    }
    if section.it.memory.has(SectionMemory.opened) {
      let reserved = UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
      let bytes = it.geometry.sectionBytes &- reserved
      var isFresh = section.it.needsFresh
      if section.shut(section.it.base &+ reserved, bytes, isFresh: &isFresh, platform: it.platform) {
        section.it.needsFresh = isFresh
        section.it.committedBlocks = section.it.memmapBlocks
      }
    }
    section.it.memory.set(SectionMemory.filled | SectionMemory.opened, false)
  }

  /// Also where the node's event was refused and the other never sent: observers count on it.
  private func cancelOnline(_ section: SectionRef) {
    _ = notify(.cancelOnline, section)
    if section.it.memory.has(SectionMemory.decidesNode) { _ = notify(.nodeCancelAddingFirst, section) }
    section.it.memory.set(SectionMemory.decidesNode, false)
    _ = countNode(section, -1)
    shut(section)
  }

  private func finishOnline(_ section: SectionRef) {
    unlistOffline(section)
    let zone = lastZone(of: section)
    if let hook = section.it.memory.hook.function {
      let start = section.it.base &+ UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
      let end = section.it.base &+ it.geometry.sectionBytes
      zone.attach(section, isWithheld: true)
      zone.mark(section, address: start, pages: (end &- start) &>> Page.shift, as: .offline)
      var place = start
      while place < end {
        // The largest aligned run; a section's start is aligned to all of it.
        let offset = place &- section.it.base
        let bytes = offset == 0 ? it.geometry.sectionBytes : offset & (0 &- offset)
        let pages = bytes &>> Page.shift
        zone.mark(section, address: place, pages: pages, as: .kept)
        if hook(section.it.memory.hook.context, address, place, pages) == 0 {
          supplyRest(section, place, pages)
        }
        place = place &+ bytes
      }
    } else {
      zone.attach(section)
    }
    section.it.memory.set(SectionMemory.spare | SectionMemory.filled | SectionMemory.opened, false)
    section.it.memory.set(SectionMemory.counted)
    if section.it.memory.has(SectionMemory.decidesNode) { _ = notify(.nodeAddedFirst, section) }
    section.it.memory.set(SectionMemory.decidesNode, false)
    _ = notify(.online, section)
  }

  /// What a hook gave to the allocator, but for what it supplied itself meanwhile.
  private func supplyRest(_ section: SectionRef, _ place: UInt, _ pages: UInt) {
    let zone = zone(of: section)
    if zone.supplyKept(section, address: place, pages: pages, isAbsent: true) { return }
    for page in 0..<pages {
      _ = zone.supplyKept(section, address: place &+ page &<< Page.shift, pages: 1, isAbsent: true)
    }
  }

  /// Changes the number of online sections of a node; answers the new one. Takes the growth lock.
  private func countNode(_ section: SectionRef, _ change: Int32) -> UInt32 {
    let place = Int(section.it.memory.node) &+ 1
    growth.acquire()
    defer { growth.release() }
    it.nodeSections[place] = UInt32(bitPattern: Int32(bitPattern: it.nodeSections[place]) &+ change)
    return it.nodeSections[place]
  }

  /// Gives pages that an online hook kept, in one section, to the page allocator: in the hook already, and from any thread.
  /// `isAbsent`: none of them is resident. EINVAL, and nothing changed, where one of them is not kept: it is the allocator's, a
  /// balloon's, or of an unplugged sub-block.
  package func supply(address place: UInt, pages: UInt, isAbsent: Bool) throws(Refusal) {
    guard pages > 0, let section = section(at: place), section.it.zone != 0,
      place &- section.it.base &+ pages &<< Page.shift <= it.geometry.sectionBytes
    else { throw .invalid }
    guard zone(of: section).supplyKept(section, address: place, pages: pages, isAbsent: isAbsent) else {
      throw .invalid
    }
  }

  /// Replaces the hook of sections that are offline. EBUSY where one is not; ENXIO, EDEADLK.
  package func setHook(_ range: Range<UInt>, _ hook: OnlineHook) throws(Refusal) {
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    try take(range, for: transition, in: .offline, else: .busy)
    for index in range { known(index).it.memory.hook = hook }
    giveBack(range)
  }

  // MARK: Offline

  /// Takes sections offline by `request`. EINVAL: one is offline already; ENXIO; EBUSY: pages are in use, or another
  /// transition has one; EDEADLK; EINTR; or the errno of an observer.
  package func offline(
    _ range: Range<UInt>, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) throws(Refusal) {
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    try take(range, for: transition, in: .online, else: .invalid)
    defer { giveBack(range) }
    for index in range {
      known(index).it.chain = index &+ 1 < range.upperBound ? known(index &+ 1).address : 0
    }
    let answer = takeOffline(known(range.lowerBound), request, &report, client)
    guard answer == 0 else { throw Refusal(answer) }
  }

  // MARK: Remove

  /// Removes sections that are offline: their addresses become inaccessible, their memmaps go back to where they came
  /// from, their places are free.
  ///
  /// EBUSY: one is not offline, or another transition has one; EINVAL: more than a memory block in one call and one section hosts itself
  /// (what was added with its own memmap goes by memory blocks); ENXIO; EDEADLK; ENOMEM: the system refuses a mapping. All or
  /// none.
  package func remove(_ range: Range<UInt>) throws(Refusal) {
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    try take(range, for: transition, in: .offline, else: .busy)
    if range.count > Int(it.blockSections) {
      for index in range where known(index).it.memory.has(SectionMemory.selfHosted) {
        giveBack(range)
        throw .invalid
      }
    }
    // First what can be refused, which can be undone; then what cannot fail.
    var closed = range.lowerBound
    while closed < range.upperBound, closeAll(known(closed)) { closed = closed &+ 1 }
    guard closed == range.upperBound else {
      for index in range.lowerBound..<closed { openAll(known(index)) }
      giveBack(range)
      throw .noMemory
    }
    for index in range { finishRemoval(known(index)) }
  }

  /// Makes a section inaccessible, as it was before it was added. False, and nothing done: the system refuses.
  func closeAll(_ section: SectionRef) -> Bool {
    growth.acquire()
    it.table.set(section.it.base, memmap: 0)
    growth.release()
    if close(section) { return true }
    growth.acquire()
    it.table.set(section.it.base, memmap: section.it.memmap)
    growth.release()
    return false
  }

  /// Undoes that, as far as the system lets it: what a strategy wrote into descriptors of the section's own is lost.
  func openAll(_ section: SectionRef) {
    let bytes = UInt(section.it.committedBlocks) &<< it.geometry.pageblockShift
    it.platform.open(section.it.base, bytes)
    do throws(Refusal) {
      try rebind(section, section.it.base, it.geometry.sectionBytes)
    } catch {}
    if section.it.memory.has(SectionMemory.populated) {
      it.platform.attempt(.populate, section.it.memmap, it.geometry.memmapBytes)
    }
    growth.acquire()
    it.table.set(section.it.base, memmap: section.it.memmap)
    growth.release()
  }

  func finishRemoval(_ section: SectionRef) {
    unlistOffline(section)
    releaseMemmap(section)
    tearDown(section)
    growth.acquire()
    it.sections &-= 1
    forget(section)
    growth.release()
  }

  /// Gives back what lies outside of the reservation: for the end of the arena.
  package func releaseMemmaps() {
    dropSpareMemmaps(.max)
    forEachSection { section in
      guard section.it.state == .offline || section.it.state == .online,
        section.it.memory.placement == .outside || section.it.memory.placement == .reserve,
        !section.it.memory.has(SectionMemory.selfHosted), section.it.memmap != 0
      else { return }
      it.platform.attempt(.release, section.it.memmap, it.geometry.memmapBytes)
    }
  }

  // MARK: The engine's view

  /// Tells the observers.
  package func announce(_ event: OfflineEvent, _ section: SectionRef) -> Objection {
    switch event {
    case .goingOffline:
      // What the arena added by need was never counted.
      let isLast = section.it.memory.has(SectionMemory.counted) && countNode(section, -1) == 0
      section.it.memory.set(SectionMemory.decidesNode, isLast)
      let answer = isLast ? ask(.nodeRemovingLast, section) : Objection()
      return answer.errno != 0 ? answer : ask(.goingOffline, section)
    case .cancelOffline:
      _ = notify(.cancelOffline, section)
      if section.it.memory.has(SectionMemory.decidesNode) { _ = notify(.nodeCancelRemovingLast, section) }
      section.it.memory.set(SectionMemory.decidesNode, false)
      if section.it.memory.has(SectionMemory.counted) { _ = countNode(section, 1) }
    case .offline:
      section.it.memory.set(SectionMemory.counted, false)
      if section.it.memory.has(SectionMemory.decidesNode) { _ = notify(.nodeRemovedLast, section) }
      section.it.memory.set(SectionMemory.decidesNode, false)
      _ = notify(.offline, section)
    case .online:
      section.it.memory.set(SectionMemory.counted)
      _ = countNode(section, 1)
      _ = notify(.online, section)
    }
    return Objection()
  }
}
