// The zones of an arena: one for each node that it has memory of, and one more for what of it is for movable pages.
//
//   first zone ──next──► node 0 ──next──► node 1 ──next──► node 0, movable ──next──► ...    in the order in which they came
//       │                  │                │                 │
//       │                sections         sections          sections            each belongs to one zone while it is online
//   sections of no node in particular: the kernel places a page where it is touched first
//
// In a movable zone lives only what can move; nothing else is ever allocated there. What can move is allocated in a node's
// movable zone first and then in its normal one (Linux: ZONE_MOVABLE, the highest of a node's zones).
//
// A request names the node that it wants: the zone of that node comes first, the others by their distance from it, those
// that are as far in order of age (Linux: zonelists, mm/page_alloc.c). Where an arena may grow on a node, it does so
// before memory of another one is handed out: address space costs nothing, and a node that is full is the kernel's to
// make up for (`Platform.prefer`). What is freed goes to its section's zone, whoever frees it.
//
// On a machine with one node there is the first zone alone, and all of this costs one look at `Zone.next` where it has
// no room. Zones are made under the growth lock and never go, so the list is walked without a lock.

import CShims

/// Figures of several zones, in pages, each zone's exact at its moment.
package struct ZoneTotals: BitwiseCopyable, Sendable {
  package var present: UInt = 0
  package var managed: UInt = 0
  package var withheld: UInt = 0
  package var memmap: UInt = 0
  package var used: UInt = 0
  package var dirty: UInt = 0
  package var caged: UInt = 0
  package var returned: UInt = 0
  package var returnCalls: UInt = 0
  package var committed: UInt = 0

  package init() {}

  /// Free pages that can be allocated.
  package var free: UInt { managed &- used &- caged }
}

extension Ref where Pointee == Arena {
  /// Whether memory of several nodes is here, or may come: what is allocated by thread is to be near it then.
  package var isSpread: Bool { bellows_load(address &+ Arena.nodesOffset) & Arena.spreadBit != 0 }

  /// Nodes that the arena grows on for who wants their memory, as bits 0 to 62.
  var growthNodes: UInt64 {
    UInt64(bellows_load(address &+ Arena.nodesOffset)) & ~UInt64(Arena.spreadBit)
  }

  private func growsOn(_ node: Int32) -> Bool {
    node >= 0 && growthNodes &>> UInt64(truncatingIfNeeded: node) & 1 != 0
  }

  /// Lets the arena grow on `nodes`, as bits 0 to 62, where there are several, and on those that come later. None: threads'
  /// memory policies decide, and that stays so. Before there are zones of nodes.
  package func spread(over nodes: UInt64) {
    it.followsNodes = nodes != 0
    guard nodes & (nodes &- 1) != 0 else { return }
    bellows_store(address &+ Arena.nodesOffset, UInt(nodes) | Arena.spreadBit)
  }

  // MARK: Which zone

  /// Calls `body` with each zone, the first one first.
  @inline(__always)
  package func forEachZone(_ body: (ZoneRef) -> Void) {
    var place = it.zone.address
    while place != 0 {
      body(ZoneRef(place))
      place = bellows_load_acquire(place &+ Zone.nextOffset)
    }
  }

  /// The zone that has a section's pages; of one that is offline, the first.
  package func zone(of section: SectionRef) -> ZoneRef {
    section.it.zone == 0 ? it.zone : ZoneRef(section.it.zone)
  }

  /// The zone of a node's memory, -1 for the first; nil: there is none.
  package func zone(node: Int32, _ kind: ZoneKind = .normal) -> ZoneRef? {
    if node < 0, kind == .normal { return it.zone }
    let node = max(node, -1)
    var place = bellows_load_acquire(it.zone.address &+ Zone.nextOffset)
    while place != 0 {
      if ZoneRef(place).it.node == node, ZoneRef(place).it.kind == kind { return ZoneRef(place) }
      place = bellows_load_acquire(place &+ Zone.nextOffset)
    }
    return nil
  }

  /// The zone of a node's memory, made if there is none; nil: no memory for it. Under the growth lock.
  package func makeZone(node: Int32, _ kind: ZoneKind = .normal) -> ZoneRef? {
    if let known = zone(node: node, kind) { return known }
    guard node < 64, let memory = it.metadata.allocate(UInt(MemoryLayout<Zone>.size), platform: it.platform)
    else { return nil }
    var last = it.zone
    var isSecondNode = false
    forEachZone {
      last = $0
      if node >= 0, $0.it.node >= 0, $0.it.node != node { isSecondNode = true }
    }
    let zone = ZoneRef(memory)
    zone.initialise(
      geometry: it.geometry, platform: it.platform, node: node, kind: kind, number: last.it.number &+ 1)
    if node >= 0 { zone.learnDistances() }
    bellows_store(zone.address &+ Zone.servingOffset, bellows_load(address &+ Arena.servingOffset))
    bellows_store_release(last.address &+ Zone.nextOffset, zone.address)
    if isSecondNode { noteSpread() }
    return zone
  }

  private func noteSpread() {
    let place = address &+ Arena.nodesOffset
    bellows_store(place, bellows_load(place) | Arena.spreadBit)
  }

  // MARK: Pages

  /// `pages` pages in a row of the zones as they are, those of `own` first. No wish: `node` -1.
  package func allocateHere(
    pages: UInt, alignment: UInt, isMovable: Bool = false, node: Int32 = Arena.anyNode
  ) -> PageOutcome {
    if let run = takeMovable(pages: pages, alignment: alignment, isMovable, node) { return .run(run) }
    let own = zone(node: node) ?? it.zone
    let outcome = own.allocate(pages: pages, alignment: alignment, isMovable: isMovable)
    if case .run = outcome { return outcome }
    let other = fallBack(from: own, pages: pages, alignment: alignment, isMovable)
    if case .run = other { return other }
    return outcome
  }

  /// From the movable zone of a node, what can move.
  @inline(__always)
  private func takeMovable(pages: UInt, alignment: UInt, _ isMovable: Bool, _ node: Int32) -> PageRun? {
    guard isMovable, let zone = zone(node: node, .movable),
      case .run(let run) = zone.allocate(pages: pages, alignment: alignment, isMovable: true)
    else { return nil }
    return run
  }

  /// The same of the zones of nodes other than `own`'s, the nearest first; and before them of `own`, where the caller has not
  /// asked it.
  private func fallBack(
    from own: ZoneRef, _ includesOwn: Bool = false, pages: UInt, alignment: UInt, _ isMovable: Bool
  ) -> PageOutcome {
    if includesOwn {
      if let run = takeMovable(pages: pages, alignment: alignment, isMovable, own.it.node) {
        return .run(run)
      }
      let outcome = own.allocate(pages: pages, alignment: alignment, isMovable: isMovable)
      if case .run = outcome { return outcome }
    }
    guard hasSeveralZones else { return .none }
    var after: UInt = 0
    while let (zone, rank) = nearest(own, after: after, isMovable) {
      let outcome = zone.allocate(pages: pages, alignment: alignment, isMovable: isMovable)
      if case .run = outcome { return outcome }
      after = rank
    }
    return .none
  }

  private var hasSeveralZones: Bool { bellows_load_acquire(it.zone.address &+ Zone.nextOffset) != 0 }

  /// The zone that comes after rank `after` in the fallback order of `own`, and its rank: of other nodes, and movable ones
  /// for what can move alone. O(zones).
  package func nearest(_ own: ZoneRef, after: UInt, _ isMovable: Bool = false) -> (ZoneRef, UInt)? {
    var best: ZoneRef? = nil
    var least = UInt.max
    forEachZone { zone in
      guard zone.it.node != own.it.node, isMovable || zone.it.kind == .normal else { return }
      let isSecond: UInt = isMovable && zone.it.kind == .normal ? 1 : 0
      // Memory of a node that is kept off is the last resort.
      let isAvoided: UInt = avoids(zone.it.node) ? 1 &<< 32 : 0
      let rank =
        isAvoided | (own.distance(to: zone.it.node) &<< 1 | isSecond) &<< 16 | (UInt(zone.it.number) &+ 1)
      guard rank > after, rank < least else { return }
      least = rank
      best = zone
    }
    return best.map { ($0, least) }
  }

  /// Pages of `own` and then of the others, growing for who wants `node` where that is the better choice. Nil: the system
  /// or the capacity is exhausted.
  func allocateGrowing(
    pages: UInt, alignment: UInt, _ mayGrow: Bool, _ isMovable: Bool, _ node: Int32
  ) -> PageRun? {
    if let run = takeMovable(pages: pages, alignment: alignment, isMovable, node) { return run }
    let own = zone(node: node)
    var outcome = PageOutcome.none
    if let own {
      outcome = own.allocate(pages: pages, alignment: alignment, isMovable: isMovable)
      if case .run(let run) = outcome { return run }
    }
    // Without zones of nodes the two ways are one.
    let growsFirst =
      node == Arena.unboundNode || growsOn(node)
    var isRefused = false
    if case .refused = outcome { isRefused = true }
    let canGrow = mayGrow && it.growsByNeed && !isRefused && fits(pages, alignment)
    if canGrow, growsFirst, let run = grow(pages: pages, alignment: alignment, isMovable, node) { return run }
    if case .run(let run) = fallBack(
      from: own ?? it.zone, own == nil, pages: pages, alignment: alignment, isMovable)
    {
      return run
    }
    return canGrow && !growsFirst ? grow(pages: pages, alignment: alignment, isMovable, node) : nil
  }

  /// Whether a section has room for so many pages in a row behind its memmap.
  private func fits(_ pages: UInt, _ alignment: UInt) -> Bool {
    // The first place behind the memmap that is aligned so.
    let start = (it.geometry.memmapBytes &>> Page.shift).rounded(
      upTo: max(alignment, it.geometry.pageblockPages))
    return alignment <= it.geometry.sectionPages && start &+ pages <= it.geometry.sectionPages
  }

  /// The same after a section was added, on `node` where that can be. Takes the growth lock.
  private func grow(pages: UInt, alignment: UInt, _ isMovable: Bool, _ node: Int32) -> PageRun? {
    growth.acquire()
    defer { growth.release() }
    // Another thread may have grown the arena while this one waited. And a short section, where address space
    // ran out, may be too small for this request: it stays and serves smaller ones.
    if let own = zone(node: node) ?? (growsOn(node) ? nil : it.zone),
      case .run(let run) = own.allocate(pages: pages, alignment: alignment, isMovable: isMovable)
    {
      return run
    }
    guard let section = takeSpare(for: node) ?? addSection(for: node),
      case .run(let run) = zone(of: section).allocate(
        pages: pages, alignment: alignment, isMovable: isMovable)
    else {
      return nil
    }
    return run
  }

  /// Adds a section whose pages come from `node` as long as it has any. Where the system has no policy for that node, of no
  /// node in particular, and nobody asks for that node again. Under the growth lock.
  private func addSection(for node: Int32) -> SectionRef? {
    let node = growsOn(node) && makeZone(node: node) != nil ? node : -1
    return it.blockSections > 1 ? addBlock(node: node) : addSection(node: node)
  }

  /// The lowest memory block in reserve comes online in place of one that would be added: its descriptors are resident
  /// already. As with all that comes by need, observers are not asked, so one with an online hook does not come. Nil: none
  /// is kept, or none that could be of this node. Under the growth lock; O(sections) where there are spares.
  private func takeSpare(for node: Int32) -> SectionRef? {
    guard it.mayHaveSpares else { return nil }
    var found: SectionRef?
    it.mayHaveSpares = false
    forEachSection { section in
      guard section.it.token == 0, section.it.state == .offline, section.it.memory.has(SectionMemory.spare)
      else {
        if section.it.token != 0 { it.mayHaveSpares = true }
        return
      }
      it.mayHaveSpares = true
      if found == nil, section.it.memory.node == node || node < 0 || section.it.memory.node < 0,
        isReady(blockOf: section)
      {
        found = section
      }
    }
    guard let found, let zone = makeZone(node: found.it.memory.node) else { return nil }
    for index in block(of: found) {
      let section = known(index)
      section.it.memory.set(SectionMemory.spare, false)
      join(section, zone)
      zone.attach(section)
    }
    return found
  }

  private func block(of section: SectionRef) -> Range<UInt> {
    let unit = UInt(it.blockSections)
    let first = index(of: section) / unit &* unit
    return first..<(first &+ unit)
  }

  /// Whether all sections of a spare's memory block can come online just so: nobody has them, no hook wants their pages,
  /// and their pages are bound as they were when they were added.
  private func isReady(blockOf section: SectionRef) -> Bool {
    for index in block(of: section) {
      guard let section = self.section(index: index), section.it.token == 0, section.it.state == .offline,
        section.it.memory.has(SectionMemory.spare), section.it.memory.hook.function == nil
      else { return false }
      let committed = UInt(section.it.committedBlocks) &<< it.geometry.pageblockShift
      do throws(Refusal) {
        if committed < it.geometry.sectionBytes {
          try rebind(section, section.it.base &+ committed, it.geometry.sectionBytes &- committed)
        }
      } catch { return false }
    }
    return true
  }

  /// Looks whether memory of a node was plugged in, which is grown on from now on. Reads files, which is nothing for a program's thread:
  /// the helper does it. One with a memory policy of its own learns nothing. Takes the growth lock.
  package func lookForNodes() {
    guard it.followsNodes else { return }
    let now = it.platform.localNodes & ~UInt64(Arena.spreadBit)
    guard now & (now &- 1) != 0, now != growthNodes else { return }
    learnDistances(of: now)
    growth.acquire()
    bellows_store(address &+ Arena.nodesOffset, UInt(now) | Arena.spreadBit)
    growth.release()
  }

  /// Has the system look how far the nodes of the arena are from each other, for when they get zones. Reads files.
  package func learnDistances() { learnDistances(of: growthNodes) }

  private func learnDistances(of nodes: UInt64) {
    for node in 0..<64 as Range<Int32> where nodes &>> UInt64(truncatingIfNeeded: node) & 1 != 0 {
      _ = it.platform.distances(of: node, anew: true)
    }
  }

  /// The system does not know a node, or does not let the process have its memory.
  func forgetGrowth(on node: Int32) {
    let place = address &+ Arena.nodesOffset
    bellows_store(place, bellows_load(place) & ~(1 &<< UInt(truncatingIfNeeded: node)))
  }

  // MARK: All zones

  /// Figures of all zones. Takes each zone's lock in turn; O(sections).
  package func totals() -> ZoneTotals {
    var sum = ZoneTotals()
    forEachZone { zone in
      zone.lock.acquire()
      sum.present = sum.present &+ zone.it.presentPages
      sum.managed = sum.managed &+ zone.it.managedPages
      sum.withheld = sum.withheld &+ zone.it.withheldPages
      sum.memmap = sum.memmap &+ zone.memmapPages
      sum.used = sum.used &+ zone.it.usedPages
      sum.dirty = sum.dirty &+ zone.it.dirtyPages
      sum.caged = sum.caged &+ zone.it.cagedPages
      sum.returned = sum.returned &+ zone.it.returnedPages
      sum.returnCalls = sum.returnCalls &+ zone.it.returnCalls
      var section = zone.it.firstSection
      while section != 0 {
        sum.committed = sum.committed &+ UInt(SectionRef(section).it.committedBlocks) &* zone.blockPages
        section = SectionRef(section).it.next
      }
      zone.lock.release()
    }
    return sum
  }

  /// Pages in use, and free pages that may be resident, of all zones. Takes each zone's lock in turn.
  package func heldPages() -> UInt {
    var held: UInt = 0
    forEachZone { zone in
      zone.lock.acquire()
      held = held &+ zone.it.usedPages &+ zone.it.dirtyPages
      zone.lock.release()
    }
    return held
  }

  /// As `heldPages`, without a lock: a moment's figure, for the slow path of every allocation.
  package func roughlyHeldPages() -> UInt {
    var held: UInt = 0
    forEachZone { held = held &+ $0.it.usedPages &+ $0.it.dirtyPages }
    return held
  }

  /// Free pages that may be resident. Takes each zone's lock in turn.
  package func dirtyPages() -> UInt {
    var dirty: UInt = 0
    forEachZone { dirty = dirty &+ $0.dirtyPagesNow() }
    return dirty
  }

  /// Pages returned to the system since the start. Without a lock: a moment's figure.
  package func returnedPages() -> UInt {
    var returned: UInt = 0
    forEachZone { returned = returned &+ $0.it.returnedPages }
    return returned
  }

  /// As `Zone.purge`, in all zones: until `keep` dirty pages are left in all.
  @discardableResult
  package func purge(dirtySince deadline: UInt64, keep: UInt = 0) -> UInt {
    var returned: UInt = 0
    var left = keep
    forEachZone { zone in
      returned = returned &+ zone.purge(dirtySince: deadline, keep: left)
      if left != 0 {
        let kept = zone.dirtyPagesNow()
        // What is wholly used up is not "all of it may stay": one page is as good as none.
        left = left > kept ? left &- kept : 1
      }
    }
    return returned
  }

  /// How many sections are on their way offline. Takes each zone's lock in turn.
  package func sectionsGoing() -> UInt {
    var count: UInt = 0
    forEachZone { count = count &+ $0.sectionsGoing() }
    return count
  }

  /// A section of which something is out of circulation, or nil. Takes each zone's lock in turn.
  package func firstWithCages() -> SectionRef? {
    var found: SectionRef? = nil
    forEachZone { if found == nil { found = $0.firstWithCages() } }
    return found
  }
}
