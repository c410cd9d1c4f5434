// Normal and movable zones: who lives where, which one a section comes to, and that a movable one can go.

import BellowsCore
import CShims
import Testing

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

extension ArenaFixture {
  /// Adds sections and brings them online; answers the first one's place.
  @discardableResult
  fileprivate func add(
    _ choice: ZoneChoice, _ count: UInt = 1, at place: UInt? = nil, node: Int32 = -1, group: UInt32 = 0,
    isEarly: Bool = false
  ) throws(Refusal) -> UInt {
    var request = AddRequest()
    request.node = node
    request.group = group
    request.isEarly = isEarly
    let first = try arena.add(request, count: count, at: place)
    try arena.online(first..<(first + count), in: choice)
    return first
  }

  fileprivate func kind(_ index: UInt) -> ZoneKind { arena.zone(of: record(index)).it.kind }

  fileprivate func kind(at address: UInt) -> ZoneKind {
    arena.zone(of: arena.knownSection(at: address)).it.kind
  }

  /// What the sections at places are in, in order.
  fileprivate func kinds(_ range: Range<UInt>) -> [ZoneKind] { range.map { kind($0) } }
}

@Suite struct MovableZoneTests {
  private func write(_ table: RelocatablesRef, _ handle: RelocatableHandle, _ pages: UInt, _ cookie: UInt) {
    let address = table.pin(handle)!
    for page in 0..<pages { Ref<UInt>(address + page << Page.shift).it = cookie ^ page }
    table.unpin(handle)
  }

  private func place(_ table: RelocatablesRef, _ handle: RelocatableHandle) -> UInt {
    let address = table.pin(handle)!
    table.unpin(handle)
    return address
  }

  private func verify(_ table: RelocatablesRef, _ handle: RelocatableHandle, _ pages: UInt, _ cookie: UInt)
    throws
  {
    let address = place(table, handle)
    for page in 0..<pages {
      try check(Ref<UInt>(address + page << Page.shift).it, is: cookie ^ page, "content of page \(page)")
    }
  }

  // MARK: Who lives where

  @Test func whatCannotMoveNeverComesFromAMovableZone() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.movable, 2)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) == nil, "there is no normal memory")
    try fixture.add(.normal)
    let heap = try #require(HeapUser(fixture.heap))
    var blocks: [UInt] = []
    while let run = fixture.arena.allocate(pages: 7, alignment: 1) {
      try check(fixture.kind(at: run.address), is: .normal, "the zone of a run")
      if blocks.count < 10 { blocks.append(run.address) }
    }
    #expect(heap.malloc(100) == 0, "nor do the blocks of a heap")
    let movable = try #require(fixture.arena.zone(node: -1, .movable))
    #expect(movable.it.usedPages == 0 && movable.freePages == 2 * fixture.managedPages)
    heap.leave()
  }

  @Test func whatCanMoveFallsBackToTheNormalZone() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.normal)
    try fixture.add(.movable)
    let pages = fixture.managedPages
    let first = try #require(fixture.arena.allocate(pages: pages, alignment: 1, isMovable: true))
    #expect(fixture.kind(at: first.address) == .movable)
    let second = try #require(fixture.arena.allocate(pages: pages, alignment: 1, isMovable: true))
    #expect(fixture.kind(at: second.address) == .normal)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1, isMovable: true) == nil)
    fixture.arena.free(first)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) == nil, "never the other way")
  }

  /// The movable zone of a node, its normal one, then the other nodes' by distance.
  @Test func nodesFallBackMovableFirst() throws {
    let double = FailingPlatform()
    double.nodes = NodeStandIn(distances: [[10, 20, 40], [20, 10, 30], [40, 30, 10]])
    let fixture = try ArenaFixture.explicit(sections: 8, double: double)
    for (node, choice) in [(2, .normal), (1, .movable), (0, .normal), (0, .movable), (1, .normal)]
      as [(Int32, ZoneChoice)]
    { try fixture.add(choice, node: node) }
    var served: [String] = []
    while let run = fixture.arena.allocate(
      pages: fixture.managedPages, alignment: 1, isMovable: true, node: 0)
    {
      let zone = fixture.arena.zone(of: fixture.arena.knownSection(at: run.address))
      served.append("\(zone.it.node) \(zone.it.kind)")
    }
    #expect(served == ["0 movable", "0 normal", "1 movable", "1 normal", "2 normal"])
    #expect(fixture.arena.isSpread)
  }

  @Test func aMovableZoneIsNoSecondNode() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.normal, node: 0)
    try fixture.add(.movable, node: 0)
    #expect(!fixture.arena.isSpread && fixture.arena.zone(node: 0, .movable) != nil)
  }

  @Test func zonesCountTheirOwnPages() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.normal, 2)
    #expect(fixture.zone.it.next == 0, "no zone that nobody asked for")
    try fixture.add(.movable, 3)
    let movable = try #require(fixture.arena.zone(node: -1, .movable))
    #expect(movable.it.presentPages == 3 * fixture.geometry.sectionPages)
    #expect(movable.it.managedPages == 3 * fixture.managedPages)
    #expect(fixture.zone.it.presentPages == 2 * fixture.geometry.sectionPages)
    #expect(fixture.arena.totals().managed == 5 * fixture.managedPages)
    let run = try #require(fixture.arena.allocate(pages: 5, alignment: 1, isMovable: true))
    for page in 0..<5 as Range<UInt> { Ref<UInt>(run.address + page << Page.shift).it = 1 }
    #expect(movable.it.usedPages == 5 && fixture.zone.it.usedPages == 0)
    fixture.arena.free(run)
    #expect(movable.it.dirtyPages == 5 && fixture.arena.purge(dirtySince: .max) == 5)
    #expect(Kernel.residentPages(run.address, run.bytes) == 0)
    try fixture.offline(2..<5)
    #expect(movable.it.presentPages == 0 && movable.it.joinedPages == 0)
  }

  // MARK: Going

  /// A movable section full of relocatable blocks always goes while there is room elsewhere, and nothing is lost.
  @Test func aMovableSectionGoesWhileThereIsRoom() throws {
    let fixture = try ArenaFixture.explicit(sections: 8)
    try fixture.add(.normal)
    try fixture.add(.movable, 3)
    let table = try fixture.makeRelocatables()
    var random = Random(stream: 91)
    for round in 0..<6 as Range<UInt> {
      var blocks: [(handle: RelocatableHandle, pages: UInt, cookie: UInt)] = []
      // Three sections of four are full, in pieces of which any fits where another was.
      let limit = 3 * fixture.managedPages - 64
      while table.it.livePages < limit, let handle = table.allocate(pages: 4) {
        blocks.append((handle, 4, UInt(truncatingIfNeeded: random.next())))
        write(table, handle, 4, blocks.last!.cookie)
      }
      let section = 1 + round % 3
      let before = fixture.resident(fixture.record(section)).pages
      try check(before > fixture.managedPages / 2, "the section is full")
      try fixture.offline(section..<(section + 1))
      try check(fixture.resident(fixture.record(section)).pages, is: 0, "resident pages of the section")
      for block in blocks {
        try verify(table, block.handle, block.pages, block.cookie)
        try check(fixture.arena.knownSection(at: place(table, block.handle)).it.state, is: .online, "a block")
      }
      // The first law: nothing is allocated there.
      let range =
        fixture.record(section).it.base..<fixture.record(section).it.base + fixture.geometry.sectionBytes
      var runs: [PageRun] = []
      while let run = fixture.arena.allocate(pages: 1, alignment: 1, isMovable: true) {
        try check(!range.contains(run.address), "an allocation in a section that is offline")
        runs.append(run)
      }
      for run in runs { fixture.arena.free(run) }
      for block in blocks { try check(table.free(block.handle), "freed") }
      try fixture.arena.online(section..<(section + 1), in: .movable)
    }
    #expect(fixture.arena.totals().used == 0 && table.it.moves > 1000)
  }

  /// Whoever has movable pages gives them up when asked.
  @Test func ownersGiveUpMovablePages() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.movable)
    let run = try #require(fixture.arena.allocate(pages: 100, alignment: 1, isMovable: true))
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<1) } == .busy)
    let note = Memory(4096)
    Ref<PageRun>(note.address).it = run
    Ref<ArenaRef>(note.address + 64).it = fixture.arena
    _ = try fixture.arena.observe(context: note.address) { context, notice in
      guard Ref<BellowsCore.HotplugNotice>(notice).it.event == HotplugEvent.goingOffline.rawValue else {
        return 0
      }
      Ref<ArenaRef>(context + 64).it.free(Ref<PageRun>(context).it)
      return 0
    }
    try fixture.offline(0..<1)
    #expect(fixture.record(0).it.state == .offline)
  }

  @Test func aBlockPinnedForLongLeavesTheMovableZone() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.normal)
    try fixture.add(.movable)
    let table = try fixture.makeRelocatables()
    let handle = try #require(table.allocate(pages: 9))
    write(table, handle, 9, 77)
    #expect(fixture.kind(at: place(table, handle)) == .movable, "a pin for the moment moves nothing")
    let address = try #require(table.pinForLong(handle))
    #expect(fixture.kind(at: address) == .normal && table.isPinned(handle) && table.it.moves == 1)
    try verify(table, handle, 9, 77)
    #expect(fixture.arena.zone(node: -1, .movable)?.it.usedPages == 0)
    try fixture.offline(1..<2)
    #expect(place(table, handle) == address)
    table.unpin(handle)
    #expect(!table.isPinned(handle) && table.free(handle))
    #expect(table.pinForLong(handle) == nil, "a handle of a block that was freed")
  }

  @Test func withoutRoomAPinnedBlockStaysAndIsNamed() throws {
    let fixture = try ArenaFixture.explicit()
    try fixture.add(.movable, 2)
    let table = try fixture.makeRelocatables()
    let handle = try #require(table.allocate(pages: 3))
    write(table, handle, 3, 5)
    let before = place(table, handle)
    let address = try #require(table.pinForLong(handle))
    #expect(address == before, "there is no normal memory")
    let section = fixture.arena.index(of: fixture.arena.knownSection(at: address))
    var report = OfflineReport()
    let answer = refusal { () throws(Refusal) in
      try fixture.arena.offline(
        section..<(section + 1), OfflineRequest(policy: .wholeOnly), &report
      ) { _ in }
    }
    #expect(answer == .busy && report.list.count == 1)
    #expect(report.blocker(.pinned)?.detail == handle.bits && report.blocker(.pinned)?.count == 1)
    table.unpin(handle)
    // Pinned by two, for the moment by the first: it stays for the second, too.
    try fixture.add(.normal)
    #expect(table.pin(handle) == address && table.pinForLong(handle) == address)
    table.unpin(handle)
    table.unpin(handle)
    #expect(try fixture.kind(at: #require(table.pinForLong(handle))) == .normal)
    try verify(table, handle, 3, 5)
    try fixture.offline(section..<(section + 1))
  }

  // MARK: Which zone

  @Test func contiguousIsTheZoneOfTheNeighbours() throws {
    let fixture = try ArenaFixture.explicit(sections: 12)
    #expect(try fixture.kind(fixture.add(.contiguous)) == .normal, "nobody is beside it")
    #expect(try fixture.kind(fixture.add(.movable, at: 4)) == .movable)
    #expect(try fixture.kind(fixture.add(.contiguous, at: 5)) == .movable, "below")
    #expect(try fixture.kind(fixture.add(.contiguous, at: 3)) == .movable, "above")
    #expect(try fixture.kind(fixture.add(.contiguous, at: 1)) == .normal)
    #expect(try fixture.kind(fixture.add(.contiguous, at: 2)) == .normal, "between the two")
    #expect(try fixture.kind(fixture.add(.contiguous, at: 8)) == .normal, "apart")
    #expect(try fixture.kind(fixture.add(.contiguous, at: 6, node: 0)) == .normal, "of another node")
    try fixture.offline(4..<5)
    try fixture.arena.online(4..<5)
    #expect(fixture.kind(4) == .movable)
    try fixture.offline(4..<5)
    try fixture.arena.online(4..<5, in: .normal)
    #expect(fixture.kind(4) == .normal, "it is chosen anew each time")
  }

  /// movable afterwards <= 301 % of early.
  @Test func automaticKeepsTheRatio() throws {
    let fixture = try ArenaFixture.explicit(sections: 12)
    let usual = ZoneChoice.automatic(ratio: ZoneChoice.usualRatio)
    #expect(try fixture.kind(fixture.add(usual)) == .normal, "without early memory none is movable")
    #expect(try fixture.kind(fixture.add(usual)) == .normal, "what came later is not early")
    try fixture.add(.normal, isEarly: true)
    try fixture.add(usual, 4)
    #expect(fixture.kinds(3..<7) == [.movable, .movable, .movable, .normal])
    try fixture.offline(3..<4)
    #expect(try fixture.kind(fixture.add(usual)) == .movable, "one went: there is room for another")
    try fixture.arena.online(3..<4, in: usual)
    #expect(fixture.kind(3) == .normal)
    #expect(try fixture.kind(fixture.add(.automatic(ratio: 400))) == .movable)
    #expect(try fixture.kind(fixture.add(.automatic(ratio: 0))) == .normal)
    #expect(try fixture.kind(fixture.add(.movable)) == .movable, "by word, as many as one likes")
  }

  @Test func automaticKeepsTheRatioOfTheNode() throws {
    let double = FailingPlatform()
    double.nodes = NodeStandIn(count: 2)
    let fixture = try ArenaFixture.explicit(sections: 12, double: double)
    let usual = ZoneChoice.automatic(ratio: 100)
    try fixture.add(.normal, 2, node: 0, isEarly: true)
    #expect(try fixture.kind(fixture.add(usual, node: 1)) == .normal, "the node has no early memory")
    #expect(try fixture.kind(fixture.add(usual, node: 0)) == .movable)
    try fixture.add(.movable, node: 1)
    #expect(try fixture.kind(fixture.add(usual, node: 0)) == .normal, "the arena has enough, the node not")
  }

  /// What the arena adds by need is what it began with.
  @Test func whatCameByNeedIsEarly() throws {
    let fixture = try #require(ArenaFixture(sections: 8))
    let run = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    #expect(
      fixture.kind(at: run.address) == .normal && fixture.zone.it.earlyPages == fixture.geometry.sectionPages)
    for number in 0..<4 {
      let place = try fixture.add(.automatic(ratio: 301))
      #expect(fixture.kind(place) == (number < 3 ? .movable : .normal))
    }
  }

  @Test func theNormalMemoryOfADynamicGroupCountsForItself() throws {
    let fixture = try ArenaFixture.explicit(sections: 16)
    let usual = ZoneChoice.automatic(ratio: 301)
    let unit = fixture.geometry.sectionBytes
    let one = try fixture.arena.makeGroup(.dynamic, bytes: unit)
    let other = try fixture.arena.makeGroup(.dynamic, bytes: unit)
    try fixture.add(.normal, group: one)
    try fixture.add(usual, 4, group: one)
    #expect(
      fixture.kinds(1..<5) == [.movable, .movable, .movable, .normal], "the fourth is normal and allows more")
    #expect(try fixture.kind(fixture.add(usual, group: one)) == .movable)
    #expect(try fixture.kind(fixture.add(usual, group: other)) == .normal, "not for another group")
    #expect(try fixture.kind(fixture.add(usual)) == .normal, "nor for none")
    // What a group has beyond its own share is taken from the early memory.
    try fixture.add(.normal, isEarly: true)
    try fixture.add(.movable, 2, group: one)
    try fixture.add(.movable, group: one)
    // Seven movable, two normal: two sections and a third are needed; 7/3.01 - 2 of one early one.
    let needed = 7.0 / 3.01 - 2
    let room = Int((1 - needed) * 3.01)
    #expect(room == 2)
    #expect(try fixture.kind(fixture.add(usual)) == .movable)
    #expect(try fixture.kind(fixture.add(usual)) == .movable)
    #expect(try fixture.kind(fixture.add(usual)) == .normal)
  }

  /// Once a part is normal, all that follows is; and a group that does not fit as a whole does not begin.
  @Test func theSectionsOfAStaticGroupAreAlike() throws {
    let fixture = try ArenaFixture.explicit(sections: 16)
    let usual = ZoneChoice.automatic(ratio: 301)
    try fixture.add(.normal, isEarly: true)
    let bytes = 3 * fixture.geometry.sectionBytes
    let fitting = try fixture.arena.makeGroup(.fixed, bytes: bytes)
    #expect(try fixture.kind(fixture.add(usual, group: fitting)) == .movable)
    try fixture.add(usual, 2, group: fitting)
    #expect(fixture.kinds(1..<4) == [.movable, .movable, .movable])
    try fixture.offline(3..<4)
    let large = try fixture.arena.makeGroup(.fixed, bytes: bytes)
    #expect(try fixture.kind(fixture.add(usual, group: large)) == .normal, "one would fit, three do not")
    try fixture.offline(1..<3)
    #expect(
      try fixture.kind(fixture.add(usual, group: large)) == .normal, "three would fit, but one is normal")
  }

  @Test func theSectionsOfAUnitAreAlike() throws {
    let fixture = try ArenaFixture.explicit(sections: 16)
    let usual = ZoneChoice.automatic(ratio: 301)
    try fixture.add(.normal, isEarly: true)
    let group = try fixture.arena.makeGroup(.dynamic, bytes: 2 * fixture.geometry.sectionBytes)
    var request = AddRequest()
    request.group = group
    _ = try fixture.arena.add(request, count: 4, at: 2)
    try fixture.arena.online(2..<3, in: .normal)
    try fixture.arena.online(3..<4, in: usual)
    #expect(fixture.kind(3) == .normal, "its unit has a normal section")
    try fixture.arena.online(4..<6, in: usual)
    #expect(fixture.kinds(4..<6) == [.movable, .movable])
  }

  /// Several sections of a memory block come to one zone.
  @Test func aMemoryBlockIsInOneZone() throws {
    let fixture = try ArenaFixture.explicit(sections: 11)
    fixture.arena.it.blockSections = 2
    try fixture.add(.normal, 2, isEarly: true)
    try fixture.add(.automatic(ratio: 150), 4)
    #expect(fixture.kinds(2..<6) == [.movable, .movable, .normal, .normal], "three sections are one block")
  }

  // MARK: Undoing

  /// What was refused is not counted, and what comes back goes to the zone that it was in.
  @Test func refusalsChangeNoZone() throws {
    let fixture = try ArenaFixture.explicit(sections: 8)
    try fixture.add(.movable)
    let movable = try #require(fixture.arena.zone(node: -1, .movable))
    let note = Memory(4096)
    Ref<UInt32>(note.address).it = UInt32.max
    let observer = try fixture.arena.observe(context: note.address) { context, notice in
      Ref<BellowsCore.HotplugNotice>(notice).it.event == Ref<UInt32>(context).it ? -1 : 0
    }
    _ = try fixture.arena.add(AddRequest(), count: 2)
    Ref<UInt32>(note.address).it = HotplugEvent.goingOnline.rawValue
    #expect(refusal { () throws(Refusal) in try fixture.arena.online(1..<3, in: .movable) } == .notPermitted)
    #expect(movable.it.joinedPages == fixture.geometry.sectionPages)
    #expect(movable.it.presentPages == fixture.geometry.sectionPages)
    Ref<UInt32>(note.address).it = HotplugEvent.goingOffline.rawValue
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<1) } == .notPermitted)
    #expect(fixture.kind(0) == .movable && movable.it.joinedPages == fixture.geometry.sectionPages)
    fixture.arena.endObserving(observer)
    // All or none: the first goes and comes back where it was.
    try fixture.arena.online(1..<2, in: .normal)
    let run = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<2) } == .busy)
    #expect(fixture.kind(0) == .movable && movable.it.joinedPages == fixture.geometry.sectionPages)
    #expect(movable.it.managedPages == fixture.managedPages)
    fixture.arena.free(run)
    try fixture.offline(0..<2)
    for index in 0..<3 as Range<UInt> { try fixture.arena.remove(index..<(index + 1)) }
    #expect(movable.it.joinedPages == 0 && fixture.zone.it.joinedPages == 0)
  }

  /// A zone's record is memory that the system may refuse.
  @Test func withoutMemoryForAZoneTheSectionStaysOffline() throws {
    let double = FailingPlatform()
    let fixture = try ArenaFixture.explicit(double: double)
    _ = try fixture.arena.add(AddRequest())
    double.arm(.sized(.map, 0...UInt.max))
    while fixture.arena.allocateMetadata(64) != nil { continue }
    let before = try Figures(fixture)
    #expect(refusal { () throws(Refusal) in try fixture.arena.online(0..<1, in: .movable) } == .noMemory)
    #expect(try Figures(fixture) == before && fixture.record(0).it.state == .offline)
    try fixture.arena.online(0..<1, in: .normal)
    try fixture.offline(0..<1)
    double.arm(.none)
    try fixture.arena.online(0..<1, in: .movable)
    #expect(fixture.kind(0) == .movable)
  }
}
