// Blocks with handles: they move out of a section that goes, unless they are pinned.

import BellowsCore
import CShims
import Testing

extension ArenaFixture {
  /// The arena's table of relocatable blocks.
  func makeRelocatables() throws -> RelocatablesRef {
    let memory = try #require(arena.allocateMetadata(UInt(MemoryLayout<Relocatables>.size)))
    let table = RelocatablesRef(memory)
    table.initialise(arena: arena)
    return table
  }
}

@Suite struct RelocatableTests {
  private func write(_ table: RelocatablesRef, _ handle: RelocatableHandle, _ pages: UInt, _ cookie: UInt) {
    let address = table.pin(handle)!
    for page in 0..<pages { Ref<UInt>(address + page << Page.shift).it = cookie ^ page }
    table.unpin(handle)
  }

  private func verify(_ table: RelocatablesRef, _ handle: RelocatableHandle, _ pages: UInt, _ cookie: UInt)
    throws
  {
    let address = try #require(table.pin(handle))
    for page in 0..<pages {
      try check(Ref<UInt>(address + page << Page.shift).it, is: cookie ^ page, "content of page \(page)")
    }
    table.unpin(handle)
  }

  @Test func offlineMovesThemAndNamesThePinned() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let table = try fixture.makeRelocatables()
    var random = Random(stream: 80)
    let blocks = (0..<200).map { number in
      let pages = random.spread(1...40)
      let handle = table.allocate(pages: pages)!
      write(table, handle, pages, UInt(number) << 32)
      return (handle: handle, pages: pages, cookie: UInt(number) << 32)
    }
    let pinned = blocks[57]
    let address = try #require(table.pin(pinned.handle))
    let section = fixture.arena.knownSection(at: address)
    let (error, report) = fixture.takeOffline(at: address, .stay)
    #expect(error == HotplugErrno.busy)
    #expect(report.list.count == 1)
    let blocker = try #require(report.blocker(.pinned))
    #expect(
      blocker.count == 1 && blocker.bytes == pinned.pages << Page.shift
        && blocker.detail == pinned.handle.bits)
    #expect(report.leftPages == pinned.pages)
    #expect(fixture.resident(section).pages == pinned.pages)
    // A pin is a promise: it is where it was.
    #expect(table.pin(pinned.handle) == address)
    table.unpin(pinned.handle)
    for block in blocks { try verify(table, block.handle, block.pages, block.cookie) }
    #expect(table.it.moves > 0 && table.it.liveBlocks == 200)
    table.unpin(pinned.handle)
    #expect(fixture.takeOffline(at: address, .stay).error == 0)
    #expect(section.it.state == .offline)
    for block in blocks { try verify(table, block.handle, block.pages, block.cookie) }
    for block in blocks { #expect(table.free(block.handle)) }
    #expect(
      table.pin(pinned.handle) == nil && !table.free(pinned.handle), "a handle of a block that was freed")
    #expect(fixture.zone.it.usedPages == 0)
  }

  /// They lie in pageblocks of their own.
  @Test func theyAreKeptApartFromWhatCannotMove() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 2))
    let table = try fixture.makeRelocatables()
    let shift = fixture.geometry.pageblockShift
    var fixed: Set<UInt> = []
    var movable: Set<UInt> = []
    for _ in 0..<100 {
      fixed.insert(fixture.arena.allocate(pages: 3, alignment: 1)!.address >> shift)
      let handle = table.allocate(pages: 5)!
      movable.insert(table.pin(handle)! >> shift)
      table.unpin(handle)
    }
    #expect(fixed.isDisjoint(with: movable))
  }

  /// Where there is no room for them elsewhere they stay, and nothing is lost.
  @Test func withoutRoomTheyStay() throws {
    let fixture = try #require(ArenaFixture(sections: 1))
    let table = try fixture.makeRelocatables()
    let handles = (0..<20).map { number in
      let handle = table.allocate(pages: 10)!
      write(table, handle, 10, UInt(number))
      return handle
    }
    let address = table.pin(handles[0])!
    table.unpin(handles[0])
    // The fixture keeps one section more than was asked for: fill it.
    let filler = fixture.writtenRun(fixture.managedPages)
    let (error, report) = fixture.takeOffline(at: address, .wholeOnly)
    #expect(error == HotplugErrno.busy && report.blocker(.pages)?.count == 200)
    for (number, handle) in handles.enumerated() { try verify(table, handle, 10, UInt(number)) }
    fixture.arena.free(filler)
    #expect(fixture.takeOffline(at: address, .wholeOnly).error == 0)
    for (number, handle) in handles.enumerated() { try verify(table, handle, 10, UInt(number)) }
  }
}

@Suite struct RelocatableConcurrencyTests {
  /// Threads pin, write, verify, free and allocate while sections cycle.
  @Test func pinsHoldWhileSectionsCycle() throws {
    let fixture = try #require(ArenaFixture(sections: 12))
    let table = try fixture.makeRelocatables()
    let finished = Slots(1)
    try inThreads(4) { index in
      var random = Random(stream: 820 + UInt64(index))
      if index == 3 {
        let client = fixture.client(nil, Announcements())
        while finished.load(0) < 3 {
          var report = OfflineReport()
          let place =
            fixture.reservation + random.below(UInt(fixture.arena.it.sections))
            << fixture.geometry.sectionShift
          let request = OfflineRequest(policy: random.chance(oneIn: 2) ? .stay : .wholeOnly)
          _ = fixture.arena.offline(at: place, request, &report, client)
          if random.chance(oneIn: 2) {
            while fixture.arena.online(pages: 1, &report, client) == 0 { continue }
          }
        }
        return
      }
      defer { finished.add(0, 1) }
      var live: [(handle: RelocatableHandle, pages: UInt, cookie: UInt)] = []
      for step in 0..<2000 {
        if live.count < 20 {
          let pages = random.spread(1...8)
          guard let handle = table.allocate(pages: pages) else { continue }
          let cookie = UInt(truncatingIfNeeded: random.next())
          let address = table.pin(handle)!
          for page in 0..<pages { Ref<UInt>(address + page << Page.shift).it = cookie ^ page }
          table.unpin(handle)
          live.append((handle, pages, cookie))
        } else {
          let place = Int(random.below(UInt(live.count)))
          let block = live[place]
          let address = table.pin(block.handle)!
          for page in 0..<block.pages {
            let word = Ref<UInt>(address + page << Page.shift).it
            try check(word, is: block.cookie ^ page, "content, thread \(index), step \(step)")
          }
          table.unpin(block.handle)
          if random.chance(oneIn: 2) {
            while !table.free(block.handle) { continue }
            live.remove(at: place)
          }
        }
      }
      for block in live { while !table.free(block.handle) { continue } }
    }
    #expect(table.it.liveBlocks == 0 && table.it.livePages == 0)
    #expect(fixture.zone.it.usedPages == 0)
  }
}
