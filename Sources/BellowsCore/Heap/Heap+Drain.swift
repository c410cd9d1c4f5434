// A node is emptied of the process heap while threads run, and filled again.
//
//   free pages go back ─► count ─► room? ─► avoid the node ─► free sections offline ─► move, batch by batch ─► count again
//                                   │ no                                                  ▲        │ something left, busy?
//                                   ▼                                                     └────────┘ at most 5 passes
//                                 ENOMEM, nothing has changed
//
// Blocks keep their addresses; the pages under them change their node (PageMigration.swift), those of the memmap and of all
// records too. The placement changes first, so that what is touched meanwhile lies elsewhere already. No lock is held while
// pages move: a mapping that goes meanwhile is a batch of nothing. One drain at a time, and no section goes offline or comes
// back beside it: the transition's token is held throughout. Bounded: each step is one batch, one section, or one mapping.

import CShims

extension Ref where Pointee == Heap {
  private var platform: Platform { it.arena.it.platform }

  /// Takes the memory of the heap and its arena off a node.
  ///
  /// 0: nothing is left there. EBUSY: something is, as the report says, or another transition is under way. EINTR: the
  /// caller ended it. ENOMEM: the other nodes have no room for all of it; nothing has changed. EINVAL: no such node, or no other one.
  /// EPERM: the kernel refuses to move pages. EDEADLK: from a listener. The node is avoided until `bringHome`, also where
  /// something is left.
  package func drain(_ request: DrainRequest, _ report: inout DrainReport, _ client: some OfflineClient)
    -> Int32
  {
    let arena = it.arena
    guard request.node >= 0, request.node < 64 else { return HotplugErrno.invalid }
    // A node has figures as long as it is there.
    guard platform.attempt(.nodeRoom, UInt(UInt32(bitPattern: request.node)), 0) else {
      return HotplugErrno.invalid
    }
    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: request.node)
    let avoided = arena.avoided | bit
    let serving = platform.allowedNodes & ~avoided
    guard serving != 0 else { return HotplugErrno.invalid }
    let refusal = arena.beginTransition()
    if refusal != 0 { return refusal }
    defer { arena.endTransition() }

    // What is free goes back to the system, not elsewhere.
    emptyAllSlots()
    report.returned = arena.purge(dirtySince: .max)
    var journey = Journey(request, sources: bit, targets: serving)
    journey.learnDistances(platform)
    guard count(&journey, &report) else { return HotplugErrno.notPermitted }
    report.room = journey.room(platform)
    guard report.found <= report.room else {
      report.left = report.found
      return HotplugErrno.outOfMemory
    }
    arena.avoid(avoided, serving: serving)
    steerHuge()
    takeFreeOffline(request.node, &report, client)
    return move(&journey, &report, client)
  }

  /// Lets a node that is avoided serve again, brings its sections online, and moves their pages there, wherever they are.
  ///
  /// Answers as `drain`; EINVAL where the node is not avoided, ENOMEM where it has no room for all of its pages: it serves
  /// again, and no page has moved.
  package func bringHome(_ request: DrainRequest, _ report: inout DrainReport, _ client: some OfflineClient)
    -> Int32
  {
    let arena = it.arena
    guard request.node >= 0, request.node < 64, arena.avoids(request.node) else {
      return HotplugErrno.invalid
    }
    let refusal = arena.beginTransition()
    if refusal != 0 { return refusal }
    defer { arena.endTransition() }
    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: request.node)
    let avoided = arena.avoided & ~bit
    let allowed = platform.allowedNodes
    arena.avoid(avoided, serving: allowed & ~avoided)
    steerHuge()
    bringSectionsBack(request.node, &report, client)

    var journey = Journey(request, sources: ~bit, targets: bit)
    journey.home = request.node
    guard count(&journey, &report) else { return HotplugErrno.notPermitted }
    report.room = journey.room(platform)
    guard report.found <= report.room else {
      report.left = report.found
      return HotplugErrno.outOfMemory
    }
    return move(&journey, &report, client)
  }

  // MARK: Steps

  /// False: the kernel refuses.
  private func count(_ journey: inout Journey, _ report: inout DrainReport) -> Bool {
    report.found = 0
    return forEachBatch(journey) { start, pages in
      guard let part = platform.migrate(start, pages: pages, from: journey.sources, to: nil) else {
        return false
      }
      report.found = report.found &+ part.found
      return true
    }
  }

  /// Sections of the node in which nothing is allocated. What one of them holds meanwhile stays and moves with the others.
  private func takeFreeOffline(_ node: Int32, _ report: inout DrainReport, _ client: some OfflineClient) {
    let arena = it.arena
    var place = arena.it.table.origin
    while let section = section(from: &place) {
      guard section.it.memory.node == node, section.it.state == .online,
        arena.zone(of: section).census(section).used == 0
      else { continue }
      guard arena.takeOnly(section) == 0 else { continue }
      var part = OfflineReport()
      let request = OfflineRequest(
        policy: .wholeOnly, deadline: bellows_clock_milliseconds() &+ 100, passes: 3, keepsMemmap: false)
      if arena.takeOffline(section, request, &part, client) == 0 {
        section.it.memory.isDrained = true
        report.sections = report.sections &+ 1
        report.returned = report.returned &+ part.returnedPages
      }
    }
  }

  private func bringSectionsBack(_ node: Int32, _ report: inout DrainReport, _ client: some OfflineClient) {
    let arena = it.arena
    var place = arena.it.table.origin
    while let section = section(from: &place) {
      guard section.it.memory.node == node, section.it.memory.isDrained else { continue }
      section.it.memory.isDrained = false
      guard section.it.state == .offline else { continue }
      guard arena.takeOnly(section) == 0 else { continue }
      var part = OfflineReport()
      if arena.bringBack(section, &part, client) == 0 { report.sections = report.sections &+ 1 }
    }
  }

  private func section(from place: inout UInt) -> SectionRef? {
    it.arena.growth.acquire()
    defer { it.arena.growth.release() }
    guard let section = it.arena.nextSection(from: place) else { return nil }
    place = section.it.base &+ it.arena.it.geometry.sectionBytes
    return section
  }

  private func move(_ journey: inout Journey, _ report: inout DrainReport, _ client: some OfflineClient)
    -> Int32
  {
    let total = report.found
    var last = PageMigration()
    var ending: Int32 = 0
    while true {
      report.passes = report.passes &+ 1
      last = PageMigration()
      _ = forEachBatch(journey) { start, pages in
        ending = journey.ending
        guard ending == 0 else { return false }
        let target = journey.target(for: pages, platform)
        guard let part = platform.migrate(start, pages: pages, from: journey.sources, to: target) else {
          return true
        }
        last += part
        report.moved = report.moved &+ part.moved
        if let progress = journey.request.progress,
          progress(journey.request.context, min(report.moved, total), total) != 0
        {
          ending = HotplugErrno.interrupted
          return false
        }
        return true
      }
      // A pass that finds nothing is the proof; one that moved everything leaves what came meanwhile to the next.
      if ending != 0 || last.found == 0 || report.passes == Journey.mostPasses { break }
      if last.left != 0, last.busy == 0 { break }
      if last.busy != 0 { client.wait(milliseconds: 5 &<< UInt64(report.passes)) }
    }
    if last.found != 0 || ending != 0 { explain(journey, last, &report) }
    guard report.left != 0 else { return 0 }
    return ending != 0 ? ending : HotplugErrno.busy
  }

  /// Counts what is left, and why: for the last time, with pages that are busy looked at one by one.
  private func explain(_ journey: Journey, _ last: PageMigration, _ report: inout DrainReport) {
    var looked: UInt = 0
    _ = forEachBatch(journey) { start, pages in
      guard let part = platform.migrate(start, pages: pages, from: journey.sources, to: nil) else {
        return false
      }
      report.left = report.left &+ part.found
      guard part.found != 0 else { return true }
      for page in 0..<pages where last.busy != 0 && looked < Journey.mostLooks {
        let address = start &+ page &<< Page.shift
        guard let one = platform.migrate(address, pages: 1, from: journey.sources, to: nil), one.found != 0
        else {
          continue
        }
        if report.firstLeft == 0 { report.firstLeft = address }
        looked = looked &+ 1
        if case .success(1) = platform.perform(.isLocked, address, Page.bytes) {
          report.locked = report.locked &+ 1
        }
      }
      if report.firstLeft == 0 { report.firstLeft = start }
      return true
    }
    // The last pass counted reasons, and this one what is left: no reason may have more than that.
    var rest = report.left
    report.locked = take(min(report.locked, last.busy), of: &rest)
    report.busy = take(last.busy &- report.locked, of: &rest)
    report.shared = take(last.shared, of: &rest)
    report.refused = take(last.refused, of: &rest)
    report.other = take(last.other, of: &rest)
    report.notReached = rest
  }

  private func take(_ pages: UInt, of rest: inout UInt) -> UInt {
    let part = min(pages, rest)
    rest = rest &- part
    return part
  }

  // MARK: What there is to move

  /// Calls `body` with the start and the pages of each batch, until it answers false; answers whether it never did. No lock is
  /// held during the calls.
  private func forEachBatch(_ journey: Journey, _ body: (UInt, UInt) -> Bool) -> Bool {
    let arena = it.arena
    var place = arena.it.table.origin
    while let (start, bytes, memmap) = committed(from: &place, home: journey.home) {
      guard cut(start, bytes, body), memmap == 0 || cut(memmap, arena.it.geometry.memmapBytes, body) else {
        return false
      }
    }
    // Of no node in particular, all of these: they have no home.
    guard journey.home < 0 else { return true }
    place = 0
    while let (start, bytes) = huge(from: &place) {
      guard cut(start, bytes, body) else { return false }
    }
    guard cut(journey.request.ownStart, journey.request.ownBytes, body) else { return false }
    for index in 0..<2 {
      let stack = journey.request.stacks[index]
      guard cut(stack.start, stack.bytes, body) else { return false }
    }
    let table = arena.it.table.entries
    guard cut(table.start, table.bytes, body) else { return false }
    arena.growth.acquire()
    var next = arena.it.metadata.newest
    arena.growth.release()
    while next != 0 {
      // Chunks never go, and their links never change.
      let link = Ref<Metadata.Link>(next).it
      guard cut(link.start, link.bytes, body) else { return false }
      next = link.next
    }
    return true
  }

  private func cut(_ start: UInt, _ bytes: UInt, _ body: (UInt, UInt) -> Bool) -> Bool {
    var address = start.rounded(downTo: Page.bytes)
    let end = (start &+ bytes).rounded(upTo: Page.bytes)
    while address < end {
      let pages = min(PageMigration.batchPages, (end &- address) &>> Page.shift)
      guard body(address, pages) else { return false }
      address = address &+ pages &<< Page.shift
    }
    return true
  }

  /// What is accessible of the next section, and its memmap where that lies outside. `home`: of that node alone; -1: of any.
  private func committed(from place: inout UInt, home: Int32) -> (UInt, UInt, UInt)? {
    let arena = it.arena
    arena.growth.acquire()
    defer { arena.growth.release() }
    while let section = arena.nextSection(from: place) {
      place = section.it.base &+ arena.it.geometry.sectionBytes
      if home >= 0, section.it.memory.node != home { continue }
      let zone = arena.zone(of: section)
      zone.lock.acquire()
      let blocks = UInt(section.it.committedBlocks)
      zone.lock.release()
      let isOutside = section.it.memory.placement == .outside
      return (section.it.base, blocks &<< arena.it.geometry.pageblockShift, isOutside ? section.it.memmap : 0)
    }
    return nil
  }

  /// The next huge block.
  private func huge(from place: inout UInt) -> (UInt, UInt)? {
    guard !hugeTable.isEmpty else { return nil }
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    guard let mapping = hugeTable.next(from: place) else { return nil }
    place = mapping.base &+ mapping.reserved
    return (mapping.base, mapping.length)
  }

  /// Gives all huge blocks the policy of this moment. Those that come later get it as they come.
  private func steerHuge() {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    var place: UInt = 0
    while let mapping = hugeTable.next(from: place) {
      place = mapping.base &+ mapping.reserved
      it.arena.steerAgain(Arena.anyNode, mapping.base, mapping.reserved)
    }
  }
}

/// One drain under way: from where to where, and until when.
private struct Journey {
  let request: DrainRequest
  let sources: UInt64
  let targets: UInt64
  /// Memory of this node alone; -1: all of it.
  var home: Int32 = -1
  private var distances = InlineArray<64, UInt8>(repeating: 0)

  /// Over everything: pages that are busy are so for milliseconds, those that are pinned for ever.
  static var mostPasses: UInt { 5 }
  /// Pages that were left and are looked at one by one.
  static var mostLooks: UInt { 4096 }

  init(_ request: DrainRequest, sources: UInt64, targets: UInt64) {
    self.request = request
    self.sources = sources
    self.targets = targets
  }

  /// From the source.
  mutating func learnDistances(_ platform: Platform) {
    distances = platform.distances(of: request.node, anew: true)
  }

  /// Why no further batch is to begin, as an errno; 0: one may.
  var ending: Int32 {
    if request.cancelWord != 0, bellows_load32(request.cancelWord) != 0 { return HotplugErrno.interrupted }
    return bellows_clock_milliseconds() >= request.deadline ? HotplugErrno.busy : 0
  }

  private func isTarget(_ node: Int32) -> Bool { targets &>> UInt64(truncatingIfNeeded: node) & 1 != 0 }

  /// Pages that the targets can take.
  func room(_ platform: Platform) -> UInt {
    var bytes: UInt = 0
    for node in 0..<64 as Range<Int32> where isTarget(node) { bytes = bytes &+ platform.room(on: node) }
    return bytes &>> Page.shift
  }

  /// The nearest target that has room for a batch; where none has, the nearest.
  func target(for pages: UInt, _ platform: Platform) -> UInt32 {
    var nearest: Int32 = -1
    var after = -1
    while let (node, rank) = next(after: after) {
      if nearest < 0 { nearest = node }
      if platform.room(on: node) >= pages &<< Page.shift { return UInt32(bitPattern: node) }
      after = rank
    }
    return UInt32(bitPattern: nearest)
  }

  private func next(after: Int) -> (Int32, Int)? {
    var best: (Int32, Int)? = nil
    for node in 0..<64 as Range<Int32> where isTarget(node) {
      let rank = Int(distances[Int(node)]) &<< 8 | Int(node)
      if rank > after, rank < best?.1 ?? .max { best = (node, rank) }
    }
    return best
  }
}
