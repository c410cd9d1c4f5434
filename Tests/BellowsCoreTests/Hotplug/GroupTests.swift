// Memory blocks of several sections, memory groups, and spares.

import BellowsCore
import CShims
import Testing

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

extension ArenaFixture {
  fileprivate static func blocks(of sections: UInt32, double: FailingPlatform? = nil) throws -> ArenaFixture {
    let fixture = try ArenaFixture.explicit(sections: 11, double: double)
    fixture.arena.it.blockSections = sections
    return fixture
  }

  fileprivate func offlineAndRemove(group: UInt32) throws(Refusal) {
    var report = OfflineReport()
    try arena.removeSections(ofGroup: group, OfflineRequest(policy: .wholeOnly), &report) { _ in }
  }
}

@Suite struct MemoryBlockTests {
  /// Row 3f with blocks of several sections: they come and go whole, and those that host themselves singly.
  @Test(arguments: [2, 3, 4] as [UInt32])
  func sectionsComeAndGoByBlocks(unit: UInt32) throws {
    let fixture = try ArenaFixture.blocks(of: unit)
    let arena = fixture.arena
    let count = UInt(unit)
    let before = try Figures(fixture)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest()) } == .invalid)
    #expect(
      refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), count: count, at: 1) } == .invalid)
    #expect(try arena.add(AddRequest(), count: count, at: count) == count)
    #expect(try arena.add(AddRequest(), count: count) == 0)
    let both = 0..<2 * count
    for range in [0..<1, 1..<count + 1, 0..<count + 1] as [Range<UInt>] {
      #expect(refusal { () throws(Refusal) in try arena.online(range) } == .invalid)
      #expect(refusal { () throws(Refusal) in try arena.register(range) } == .invalid)
      #expect(refusal { () throws(Refusal) in try arena.remove(range) } == .invalid)
      #expect(refusal { () throws(Refusal) in try fixture.offline(range) } == .invalid)
    }
    try arena.register(0..<count)
    try arena.online(both)
    let run = try #require(arena.allocate(pages: 900, alignment: 1))
    let block = arena.index(of: arena.knownSection(at: run.address)) / count
    let (used, other) = (block * count..<(block + 1) * count, (1 - block) * count..<(2 - block) * count)
    #expect(refusal { () throws(Refusal) in try fixture.offline(used) } == .busy)
    for index in used { #expect(fixture.record(index).it.state == .online) }
    try fixture.offline(other)
    arena.free(run)
    try fixture.offline(used)
    #expect(refusal { () throws(Refusal) in try arena.remove(both) } == .invalid, "one block at a time")
    try arena.remove(0..<count)
    try arena.remove(count..<2 * count)
    #expect(try Figures(fixture) == before)
  }

  @Test func anArenaGrowsByWholeBlocks() throws {
    let fixture = try ArenaFixture.blocks(of: 3)
    fixture.arena.it.growsByNeed = true
    #expect(fixture.addSection() == nil && fixture.arena.it.sections == 0, "part of a block")
    // Twelve places: four blocks.
    var runs: [PageRun] = []
    for number in 1...12 as ClosedRange<UInt32> {
      let run = try #require(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1))
      try check(fixture.arena.it.sections, is: (number + 2) / 3 * 3, "sections for \(number) runs")
      runs.append(run)
    }
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) == nil)
    #expect(Set(runs.map { fixture.arena.index(of: fixture.arena.knownSection(at: $0.address)) }).count == 12)
    for run in runs { fixture.arena.free(run) }
    try fixture.offline(3..<6)
    try fixture.arena.remove(3..<6)
    // What is too narrow for a block stays free.
    #expect(fixture.arena.it.sections == 9)
  }

  /// Each system call of it fails in turn, alone and with all after it: a block is there whole or not at all.
  @Test func growthByABlockFailsWhole() throws {
    for rule in [{ .nth($0) }, { .from($0) }] as [(UInt) -> FailureRule] {
      for n in 1...60 as ClosedRange<UInt> {
        let double = FailingPlatform()
        let fixture = try #require(ArenaFixture(sections: 11, double: double))
        fixture.arena.it.blockSections = 3
        let before = try Figures(fixture)
        double.arm(rule(n))
        let run = fixture.arena.allocate(pages: 9, alignment: 1)
        let failures = double.failures
        double.arm(.none)
        if run == nil {
          try check([0, 3].contains(fixture.arena.it.sections), "\(rule(n)): \(fixture.arena.it.sections)")
          if fixture.arena.it.sections == 0, double.failedUndos == 0, case .nth = rule(n) {
            try check(try Figures(fixture), is: before, "\(rule(n))")
          }
          try check(fixture.arena.allocate(pages: 9, alignment: 1) != nil, "\(rule(n)): the next try")
        }
        try check(fixture.arena.it.sections, is: 3, "\(rule(n)): sections")
        if failures == 0 { break }
        try check(n < 60, "no end")
      }
    }
  }
}

@Suite struct WithheldBlockTests {
  /// A balloon gets a memory block of three sections as it would one section: by the kernel nothing is there but the
  /// descriptors until it deflates, and then exactly that.
  @Test func aBalloonTakesBlocks() throws {
    let fixture = try #require(ArenaFixture(sections: 10))
    fixture.arena.it.blockSections = 3
    let balloon = try #require(fixture.arena.makeBalloon(BalloonTraits()))
    let pages = 3 * fixture.managedPages
    for blocks in 1...3 as ClosedRange<UInt> {
      #expect(fixture.arena.addSection(for: .balloon(balloon)) != nil)
      #expect(balloon.it.held.pages == blocks * pages && fixture.arena.it.sections == 3 * blocks)
    }
    // Two places are left, and they are no block.
    let before = try Figures(fixture)
    #expect(fixture.arena.addSection(for: .balloon(balloon)) == nil)
    #expect(try Figures(fixture) == before && balloon.it.held.pages == 3 * pages)
    #expect(fixture.residentPages().managed == 0 && fixture.residentPages().memmap == 9 * fixture.memmapPages)
    #expect(balloon.deflate(pages).pages == pages)
    #expect(fixture.residentPages().managed == pages)
    #expect(balloon.inflate(pages).pages == pages)
    #expect(fixture.residentPages().managed == 0)
    fixture.arena.retire(balloon)
  }

  /// Each system call of it fails in turn: the block comes whole or not at all, and the address space is as before.
  @Test func aBlockForABalloonFailsWhole() throws {
    for n in 1...60 as ClosedRange<UInt> {
      let double = FailingPlatform()
      let fixture = try #require(ArenaFixture(sections: 10, double: double))
      fixture.arena.it.blockSections = 3
      let balloon = try #require(fixture.arena.makeBalloon(BalloonTraits()))
      let before = try Figures(fixture)
      double.arm(.nth(n))
      let section = fixture.arena.addSection(for: .balloon(balloon))
      let (failures, failedUndos) = (double.failures, double.failedUndos)
      double.arm(.none)
      if section == nil {
        try check(failures > 0, "failed without a failure")
        if failedUndos == 0 { try check(try Figures(fixture), is: before, "call \(n)") }
        try check(balloon.it.held.pages, is: 0, "call \(n)")
        try check(fixture.arena.addSection(for: .balloon(balloon)) != nil, "the try after call \(n)")
      }
      try check(balloon.it.held.pages, is: 3 * fixture.managedPages, "call \(n)")
      fixture.arena.retire(balloon)
      if failures == 0 { return }
      try check(n < 60, "no end")
    }
  }
}

@Suite struct MemoryGroupTests {
  @Test func sizesAndEnds() throws {
    let fixture = try ArenaFixture.explicit(sections: 11)
    let arena = fixture.arena
    let section = fixture.geometry.sectionBytes
    for bytes in [0, section / 2, section + 4096] as [UInt] {
      #expect(refusal { () throws(Refusal) in _ = try arena.makeGroup(.fixed, bytes: bytes) } == .invalid)
    }
    #expect(
      refusal { () throws(Refusal) in _ = try arena.makeGroup(.dynamic, bytes: 3 * section) } == .invalid)
    #expect(
      refusal { () throws(Refusal) in _ = try arena.makeGroup(.fixed, bytes: section, node: 64) } == .invalid)
    let module = try arena.makeGroup(.fixed, bytes: 3 * section)
    let device = try arena.makeGroup(.dynamic, bytes: 2 * section, node: 0)
    #expect(module == 1 && device == 2)
    var request = AddRequest()
    request.group = 3
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request) } == .invalid)
    request.group = module
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request, count: 4) } == .noSpace)
    _ = try arena.add(request, count: 3)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request) } == .noSpace)
    request.group = device
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request) } == .invalid, "half a unit")
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request, count: 2, at: 5) } == .invalid)
    #expect(try arena.add(request, count: 2) == 4, "at a multiple of its unit")
    #expect(fixture.record(4).it.memory.node == 0 && fixture.record(5).it.memory.group == device)
    #expect(refusal { () throws(Refusal) in try arena.endGroup(device) } == .busy)
    #expect(refusal { () throws(Refusal) in try arena.endGroup(9) } == .invalid)
    for index in 4..<6 as Range<UInt> { try arena.remove(index..<(index + 1)) }
    try arena.endGroup(device)
    #expect(refusal { () throws(Refusal) in try arena.endGroup(device) } == .invalid)
    #expect(try arena.makeGroup(.fixed, bytes: section) == device, "the record is used again")
  }

  @Test func aHookOfTheGroupIsItsSections() throws {
    let fixture = try ArenaFixture.explicit()
    let count = Memory(4096)
    let group = try fixture.arena.makeGroup(
      .fixed, bytes: 8 << 20,
      hook: OnlineHook(
        function: { context, _, _, pages in
          Ref<UInt>(context).it += pages
          return 1
        }, context: count.address))
    var request = AddRequest()
    request.group = group
    _ = try fixture.arena.add(request)
    _ = try fixture.arena.add(AddRequest())
    try fixture.arena.online(0..<2)
    #expect(
      Ref<UInt>(count.address).it == fixture.managedPages && fixture.zone.freePages == fixture.managedPages)
  }

  /// All of a group goes, online or not, or nothing does.
  @Test func aGroupGoesAsOne() throws {
    let fixture = try ArenaFixture.explicit(sections: 11)
    let arena = fixture.arena
    let group = try arena.makeGroup(.fixed, bytes: 16 << 20)
    let before = try Figures(fixture)
    var request = AddRequest()
    request.group = group
    for place in [0, 2, 5, 7] as [UInt] { _ = try arena.add(request, at: place) }
    for place in [0, 2, 5] as [UInt] { try arena.online(place..<(place + 1)) }
    let run = try #require(arena.allocate(pages: 9, alignment: 1))
    let full = try Figures(fixture)
    #expect(refusal { () throws(Refusal) in try fixture.offlineAndRemove(group: group) } == .busy)
    #expect(try Figures(fixture) == full)
    #expect([0, 2, 5, 7].map { fixture.record($0).it.state } == [.online, .online, .online, .offline])
    arena.free(run)
    try fixture.offlineAndRemove(group: group)
    #expect(try Figures(fixture) == before && arena.it.sections == 0)
    try arena.endGroup(group)
    #expect(refusal { () throws(Refusal) in try fixture.offlineAndRemove(group: group) } == .invalid)
  }

  /// Each system call fails in turn.
  @Test func aGroupThatCannotGoStays() throws {
    for isLasting in [false, true] {
      for n in 1...60 as ClosedRange<UInt> {
        let double = FailingPlatform()
        let fixture = try ArenaFixture.explicit(sections: 11, double: double)
        let group = try fixture.arena.makeGroup(.fixed, bytes: 16 << 20)
        var request = AddRequest()
        request.group = group
        for place in [0, 2, 5] as [UInt] { _ = try fixture.arena.add(request, at: place) }
        for place in [0, 5] as [UInt] { try fixture.arena.online(place..<(place + 1)) }
        let before = try Figures(fixture)
        double.arm(isLasting ? .from(n) : .nth(n))
        let answer = refusal { () throws(Refusal) in try fixture.offlineAndRemove(group: group) }
        let (failures, undone) = (double.failures, double.failedUndos)
        double.arm(.none)
        if answer != nil {
          var after = try Figures(fixture)
          if isLasting || undone > 0 { after.mappings = before.mappings }
          // Nor is there memory for descriptors that were dropped.
          if isLasting { after.resident = before.resident }
          try check(after, is: before, "call \(n), lasting \(isLasting)")
          try check([0, 2, 5].map { fixture.record($0).it.state } == [.online, .offline, .online], "states")
          for place in [0, 2, 5] as [UInt] { try check(fixture.record(place).it.token, is: 0, "token") }
          try fixture.offlineAndRemove(group: group)
        }
        try check(fixture.arena.it.sections, is: 0, "sections")
        if failures == 0 { break }
        try check(n < 60, "no end")
      }
    }
  }
}

@Suite struct SpareTests {
  /// Growth by need takes what is kept before it adds: nothing is asked of the system.
  @Test(arguments: [1, 2] as [UInt32]) func growthByNeedTakesASpareFirst(unit: UInt32) throws {
    let double = FailingPlatform()
    let fixture = try ArenaFixture.blocks(of: unit, double: double)
    let arena = fixture.arena
    let count = UInt(unit)
    var request = AddRequest()
    request.isSpare = true
    _ = try arena.add(request, count: count, at: 4)
    // One whose pages somebody else wants to have first is not taken.
    request.hook = OnlineHook(function: { _, _, _, _ in 1 })
    _ = try arena.add(request, count: count, at: 0)
    arena.it.growsByNeed = true
    double.arm(.from(1))
    for index in 4..<(4 + count) {
      let run = try #require(arena.allocate(pages: fixture.managedPages, alignment: 1))
      #expect(arena.index(of: arena.knownSection(at: run.address)) == index)
      run.touch()
    }
    #expect(double.failures == 0)
    #expect(arena.allocate(pages: 1, alignment: 1) == nil && double.failures > 0)
    double.arm(.none)
    let run = try #require(arena.allocate(pages: 1, alignment: 1))
    #expect(arena.index(of: arena.knownSection(at: run.address)) == count)
    #expect(fixture.record(0).it.state == .offline && arena.it.mayHaveSpares)
    #expect(refusal { () throws(Refusal) in _ = try arena.onlineSpare() } == nil)
    #expect(fixture.record(0).it.state == .online)
  }

  @Test func aSpareIsTheLowestAndAsksForNothing() throws {
    let double = FailingPlatform()
    let fixture = try ArenaFixture.explicit(double: double)
    #expect(refusal { () throws(Refusal) in _ = try fixture.arena.onlineSpare() } == .noSpace)
    var request = AddRequest()
    _ = try fixture.arena.add(request)
    request.isSpare = true
    _ = try fixture.arena.add(request, count: 2)
    double.arm(.from(1))
    #expect(try fixture.arena.onlineSpare() == 1..<2)
    #expect(try fixture.arena.onlineSpare() == 2..<3)
    #expect(double.failures == 0)
    #expect(refusal { () throws(Refusal) in _ = try fixture.arena.onlineSpare() } == .noSpace)
  }
}
