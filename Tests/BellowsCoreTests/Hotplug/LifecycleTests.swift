// Add, register, online, offline, unregister, remove: by rows of the memory hotplug article, on real memory.

import BellowsCore
import CShims
import Glibc
import Testing

extension ArenaFixture {
  /// An arena whose sections come by `add` alone.
  static func explicit(
    sectionBytes: UInt = 4 << 20, sections: UInt = 6, double: FailingPlatform? = nil
  ) throws -> ArenaFixture {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: sections, double: double))
    fixture.arena.it.growsByNeed = false
    return fixture
  }

  func request(_ placement: MemmapPlacement) -> AddRequest {
    var request = AddRequest()
    request.placement = placement
    return request
  }

  func offline(_ range: Range<UInt>) throws(Refusal) {
    var report = OfflineReport()
    try arena.offline(range, OfflineRequest(policy: .wholeOnly), &report) { usleep(UInt32($0) * 1000) }
  }

  func record(_ index: UInt) -> SectionRef { section(index) }

  func resident(_ index: UInt) -> UInt {
    Kernel.residentPages(reservation + index << geometry.sectionShift, geometry.sectionBytes)
  }

  /// Whether reading at an address faults, in a child that a fault kills.
  func isAccessible(_ address: UInt) -> Bool {
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { return false }
    defer { for end in ends { close(end) } }
    // The kernel reads the byte, and says EFAULT where it cannot.
    return unsafe write(ends[1], UnsafeRawPointer(bitPattern: address)!, 1) == 1
  }
}

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

@Suite struct LifecycleTests {
  @Test func row0aAddWorksWithoutFreeMemory() throws {
    let double = FailingPlatform()
    let fixture = try ArenaFixture.explicit(double: double)
    try fixture.arena.online(0..<fixture.arena.add(AddRequest(), count: 2) + 2)
    var runs: [PageRun] = []
    while let run = fixture.arena.allocate(pages: 1, alignment: 1) { runs.append(run) }
    #expect(UInt(runs.count) == 2 * fixture.managedPages)
    // Fragmented: every second page is free.
    for place in stride(from: 0, to: runs.count, by: 2) { fixture.arena.free(runs[place]) }
    #expect(fixture.arena.allocate(pages: 2, alignment: 1) == nil)
    let before = try Figures(fixture)
    // No memory for descriptors anywhere else.
    double.arm(.nthOf(.reserve, 1))
    #expect(
      refusal { () throws(Refusal) in _ = try fixture.arena.add(fixture.request(.outside)) } == .noMemory)
    #expect(try Figures(fixture) == before)
    double.arm(.nthOf(.reserve, 1))
    #expect(try fixture.arena.add(fixture.request(.required)) == 2)
    try fixture.arena.online(2..<3)
    #expect(fixture.arena.allocate(pages: 2, alignment: 1) != nil)
    #expect(double.failures == 0, "nothing was asked of the system but its own section")
  }

  @Test func row0bSpareComesOnlineWithoutMemory() throws {
    let double = FailingPlatform()
    let fixture = try ArenaFixture.explicit(double: double)
    var request = AddRequest()
    request.isSpare = true
    _ = try fixture.arena.add(request)
    let metadata = fixture.arena.it.metadata
    let mapped = double.mappedBytes
    double.arm(.from(1))
    try fixture.arena.online(0..<1)
    #expect(double.failures == 0)
    #expect(double.mappedBytes == mapped && fixture.arena.it.metadata.mappedBytes == metadata.mappedBytes)
    let run = try #require(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1))
    bellows_zero(run.address, run.bytes)
  }

  @Test func row0cMemmapLiesInTheStorageHandedIn() throws {
    let fixture = try ArenaFixture.explicit()
    let storage = Memory(2 * fixture.geometry.memmapBytes)
    var request = fixture.request(.storage)
    #expect(refusal { () throws(Refusal) in _ = try fixture.arena.add(request) } == .invalid)
    request.storage = storage.address
    request.storageBytes = storage.bytes - 1
    #expect(refusal { () throws(Refusal) in _ = try fixture.arena.add(request, count: 2) } == .invalid)
    request.storageBytes = storage.bytes
    _ = try fixture.arena.add(request, count: 2)
    try fixture.arena.online(0..<2)
    for index in 0..<2 as Range<UInt> {
      #expect(fixture.record(index).it.memmap == storage.address + index * fixture.geometry.memmapBytes)
      let address = fixture.record(index).it.base + 5 << 14
      let descriptor = fixture.arena.it.table.granule(of: address)
      #expect(storage.address <= descriptor && descriptor < storage.address + storage.bytes)
    }
    #expect(fixture.zone.it.managedPages == 2 * fixture.geometry.sectionPages, "all pages are usable")
  }

  @Test(arguments: [4 << 20, 128 << 20, 1 << 30] as [UInt])
  func row0dDescriptorsLieInTheSectionThatTheyDescribe(bytes: UInt) throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: bytes, sections: 2)
    _ = try fixture.arena.add(fixture.request(.required))
    let section = fixture.record(0)
    #expect(section.it.memmap == section.it.base)
    #expect(fixture.resident(0) == fixture.memmapPages, "descriptors are resident, nothing else")
    try fixture.arena.online(0..<1)
    #expect(fixture.zone.freePages == fixture.managedPages)
    #expect(fixture.arena.it.table.granule(of: section.it.base) == section.it.memmap)
  }

  @Test func row0eAHookMayTakeFreshPagesBeforeTheAllocator() throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: 128 << 20, sections: 2)
    let log = Memory(4096)
    var request = AddRequest()
    request.hook = OnlineHook(
      function: { context, _, address, pages in
        let log = Ref<UInt>(context)
        log.it += 1
        Ref<UInt>(context + log.it * 16).it = address
        Ref<UInt>(context + log.it * 16 + 8).it = pages
        return 1
      }, context: log.address)
    _ = try fixture.arena.add(request)
    try fixture.arena.online(0..<1)
    // 126 MiB in the largest aligned runs: 2, 4, 8, 16, 32, 64 MiB.
    #expect(Ref<UInt>(log.address).it == 6)
    var place = fixture.reservation + 2 << 20
    for run in 1...6 as ClosedRange<UInt> {
      let pages = Ref<UInt>(log.address + run * 16 + 8).it
      #expect(Ref<UInt>(log.address + run * 16).it == place && pages == 256 << run)
      #expect(place.isAligned(to: pages << Page.shift))
      place += pages << Page.shift
    }
    #expect(fixture.zone.it.managedPages == 0 && fixture.zone.freePages == 0)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) == nil)
    try fixture.arena.supply(address: fixture.reservation + 2 << 20, pages: 512, isAbsent: true)
    #expect(fixture.zone.it.managedPages == 512)
    #expect(fixture.arena.allocate(pages: 512, alignment: 512) != nil)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) == nil)
  }

  @Test func row0fRegistrationIsSeparate() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest())
    #expect(!fixture.record(0).it.memory.has(SectionMemory.registered))
    try fixture.arena.online(0..<1)
    let run = try #require(fixture.arena.allocate(pages: 3, alignment: 1))
    try fixture.arena.register(0..<1)
    #expect(fixture.record(0).it.memory.has(SectionMemory.registered))
    #expect(refusal { () throws(Refusal) in try fixture.arena.register(0..<1) } == .exists)
    #expect(refusal { () throws(Refusal) in try fixture.arena.register(1..<2) } == .noDevice)
    fixture.arena.free(run)
    try fixture.arena.unregister(0..<1)
    #expect(refusal { () throws(Refusal) in try fixture.arena.unregister(0..<1) } == .invalid)
  }

  @Test func row0hWithoutAHookPagesAreTheAllocators() throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: 128 << 20, sections: 2)
    _ = try fixture.arena.add(fixture.request(.required))
    try fixture.arena.online(0..<1)
    #expect(fixture.zone.freePages == 32256)
    _ = try fixture.arena.add(fixture.request(.outside))
    try fixture.arena.online(1..<2)
    #expect(fixture.zone.freePages == 32256 + 32768)
  }

  @Test func row1bBothGroupsOfStepsAreReversible() throws {
    let fixture = try ArenaFixture.explicit()
    for _ in 0..<3 {
      _ = try fixture.arena.add(AddRequest())
      #expect(fixture.zone.it.presentPages == 0 && fixture.zone.freePages == 0)
      #expect(bellows_load(fixture.arena.it.table.granule(of: fixture.reservation + 1 << 20)) == 0)
      try fixture.arena.online(0..<1)
      #expect(fixture.zone.it.presentPages == fixture.geometry.sectionPages)
      #expect(fixture.zone.freePages == fixture.managedPages)
      try fixture.offline(0..<1)
      #expect(fixture.zone.it.presentPages == 0 && fixture.zone.it.managedPages == 0)
      try fixture.arena.remove(0..<1)
      #expect(fixture.arena.it.sections == 0)
    }
  }

  @Test func row1ePresentAndManagedAreApart() throws {
    let fixture = try ArenaFixture.explicit()
    var request = AddRequest()
    request.hook = OnlineHook(function: { _, _, _, _ in 1 })
    _ = try fixture.arena.add(request)
    try fixture.arena.online(0..<1)
    #expect(fixture.zone.it.presentPages == fixture.geometry.sectionPages)
    #expect(fixture.zone.it.managedPages == 0)
    let start = fixture.reservation + fixture.geometry.memmapBytes
    for pages in 1...5 as ClosedRange<UInt> {
      try fixture.arena.supply(address: start + (pages - 1) << Page.shift, pages: 1, isAbsent: true)
      #expect(fixture.zone.it.managedPages == pages)
    }
    #expect(
      refusal { () throws(Refusal) in try fixture.arena.supply(address: start, pages: 1, isAbsent: true) }
        == .invalid)
  }

  /// Storage that is not to be had: refused, and nothing changed.
  @Test func storageOfTheCallersIsLookedAt() throws {
    let fixture = try ArenaFixture.explicit(sections: 8)
    let bytes = fixture.geometry.memmapBytes
    let storage = Memory(2 * bytes)
    var request = fixture.request(.storage)
    func refused(_ start: UInt, _ room: UInt = bytes, count: UInt = 1, at index: UInt) throws -> Refusal? {
      request.storage = start
      request.storageBytes = room
      let before = try Figures(fixture)
      let answer = refusal { () throws(Refusal) in _ = try fixture.arena.add(request, count: count, at: index)
      }
      if answer != nil { #expect(try Figures(fixture) == before) }
      return answer
    }
    let section = fixture.reservation + fixture.geometry.sectionBytes
    #expect(try refused(section, at: 1) == .invalid)
    #expect(try refused(section + fixture.geometry.sectionBytes - Page.bytes, at: 1) == .invalid)
    #expect(try refused(section - bytes + Page.bytes, at: 1) == .invalid)
    #expect(try refused(UInt.max & ~0xfff, at: 1) == .invalid)
    #expect(try refused(section - bytes, at: 1) == Refusal(EFAULT), "nobody has made it accessible")
    #expect(try refused(1 << 46, at: 1) == Refusal(EFAULT))
    let pages = unsafe UnsafeMutableRawPointer(bitPattern: storage.address)!
    #expect(unsafe mprotect(pages + Int(2 * bytes - Page.bytes), Int(Page.bytes), PROT_READ) == 0)
    #expect(try refused(storage.address, 2 * bytes, count: 2, at: 1) == Refusal(EFAULT))
    #expect(unsafe mprotect(pages, Int(2 * bytes), PROT_READ | PROT_WRITE) == 0)
    #expect(try refused(storage.address, at: 1) == nil)
    #expect(try refused(storage.address, at: 2) == .invalid, "it has the descriptors of another section")
    #expect(try refused(storage.address + Page.bytes, at: 2) == .invalid)
    #expect(try refused(storage.address + bytes, at: 2) == nil)
    try fixture.arena.online(1..<3)
    while case .run(let run) = fixture.arena.allocateHere(pages: 1, alignment: 1) { run.touch() }
    #expect(fixture.zone.it.usedPages == 2 * fixture.geometry.sectionPages)
    // Absurd numbers.
    let absurd = refusal { () throws(Refusal) in _ = try fixture.arena.add(AddRequest(), count: .max) }
    #expect(absurd == .tooBig)
    #expect(refusal { () throws(Refusal) in try fixture.arena.reserveMemmaps(.max) } == .tooBig)
  }

  /// What a balloon or an unplugged sub-block has is not anybody's to supply, whatever order it came to them in.
  @Test func onlyWhatAHookKeptCanBeSupplied() throws {
    let bench = try #require(BalloonBench(sectionBytes: 4 << 20, sections: 3))
    func supply(_ page: UInt, _ pages: UInt = 1) -> Refusal? {
      refusal { () throws(Refusal) in try bench.arena.supply(address: page, pages: pages, isAbsent: true) }
    }
    let balloon = try #require(bench.arena.makeBalloon(BalloonTraits()))
    let held = try #require(bench.arena.addSection(for: .balloon(balloon)))
    let end = held.it.base + 4 << 20
    #expect(
      supply(end - Page.bytes) == .invalid
        && supply(held.it.base + bench.fixture.geometry.memmapBytes) == .invalid)
    #expect(balloon.deflate(.max).reason == .noSpace)
    #expect(supply(end - Page.bytes) == .invalid, "it is the allocator's")
    #expect(balloon.inflate(16).pages == 16)
    #expect(supply(balloon.it.held.first) == .invalid)
    let subBlocks = try #require(bench.arena.subBlocks())
    let unplugged = try #require(bench.arena.addSection(for: .subBlocks(subBlocks)))
    #expect(supply(unplugged.it.base + 2 << 20, 512) == .invalid)
    try subBlocks.plug(unplugged.it.base + 2 << 20)
    #expect(bench.zone.it.withheldPages + bench.zone.it.managedPages <= bench.zone.it.presentPages)
  }

  /// Of two threads that supply the same run, or free it, one does.
  @Test func oneOfTwoThreadsSupplies() async throws {
    let fixture = try ArenaFixture.explicit()
    var request = AddRequest()
    request.hook = OnlineHook(function: { _, _, _, _ in 1 })
    _ = try fixture.arena.add(request)
    let start = fixture.reservation + fixture.geometry.memmapBytes
    let arena = fixture.arena
    for _ in 0..<300 {
      try arena.online(0..<1)
      let wins = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<2 {
          group.addTask {
            refusal { () throws(Refusal) in try arena.supply(address: start, pages: 500, isAbsent: true) }
              == nil
          }
        }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(wins == 1)
      #expect(fixture.zone.it.managedPages == 500 && fixture.zone.it.usedPages == 0)
      let run = try #require(arena.allocate(pages: 100, alignment: 1))
      let section = fixture.record(0)
      let frees = await withTaskGroup(of: Bool.self) { group in
        for _ in 0..<2 {
          group.addTask {
            ZoneRef(section.it.zone).freeAllocated(section, address: run.address, pages: run.pages)
          }
        }
        return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(frees == 1 && fixture.zone.it.usedPages == 0)
      try arena.supply(
        address: start + 500 << Page.shift, pages: fixture.managedPages - 500, isAbsent: true)
      try fixture.offline(0..<1)
    }
  }

  /// A hook that supplies what it is asked for, or part of it, and then answers for all of it.
  @Test(arguments: [0, 1, 7] as [UInt], [0, 1] as [Int32])
  func aHookMaySupplyItself(pages: UInt, answer: Int32) throws {
    let fixture = try ArenaFixture.explicit()
    let memory = Memory(4096)
    let words = Ref<InlineArray<2, UInt>>(memory.address)
    words.it[0] = pages
    words.it[1] = UInt(answer)
    var request = AddRequest()
    request.hook = OnlineHook(
      function: { context, arena, address, pages in
        let words = Ref<InlineArray<2, UInt>>(context)
        let count = min(words.it[0], pages)
        if count != 0 {
          try? ArenaRef(arena).supply(address: address, pages: count, isAbsent: true)
        }
        return Int32(words.it[1])
      }, context: memory.address)
    _ = try fixture.arena.add(request)
    try fixture.arena.online(0..<1)
    let zone = fixture.zone
    #expect(zone.it.managedPages + zone.it.withheldPages == fixture.managedPages)
    if answer == 0 { #expect(zone.it.managedPages == fixture.managedPages) }
    #expect(zone.it.usedPages == 0)
    var allocated: UInt = 0
    while case .run = fixture.arena.allocateHere(pages: 1, alignment: 1) { allocated += 1 }
    #expect(allocated == zone.it.managedPages)
  }

  /// To bring all that is registered online means nothing to a balloon: its pages stay its own, and it can do without.
  @Test func row1fABalloonNeedsNoRegistration() throws {
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    let count = Memory(4096)
    var request = AddRequest()
    request.hook = OnlineHook(
      function: { context, _, _, pages in
        Ref<UInt>(context).it += pages
        return 1
      }, context: count.address)
    _ = try arena.add(request, count: 2)
    _ = try arena.add(AddRequest())
    try arena.register(1..<3)
    // What a daemon sees, and brings online in bulk.
    var listed: [UInt] = []
    arena.forEachSection {
      if $0.it.memory.has(SectionMemory.registered) { listed.append(arena.index(of: $0)) }
    }
    #expect(listed == [1, 2])
    for index in listed { try arena.online(index..<(index + 1)) }
    #expect(Ref<UInt>(count.address).it == fixture.managedPages, "the balloon has its section's pages")
    #expect(fixture.zone.it.managedPages == fixture.managedPages, "the allocator those of the other")
    // Nobody lists the first; it works as well.
    try arena.online(0..<1)
    #expect(Ref<UInt>(count.address).it == 2 * fixture.managedPages)
    let page = fixture.reservation + fixture.geometry.memmapBytes
    #expect(Kernel.residentPages(page, Page.bytes) == 0)
    Ref<UInt>(page).it = 1
    try arena.supply(address: page, pages: 1, isAbsent: false)
    #expect(fixture.resident(0) == fixture.memmapPages + 1)
    #expect(fixture.zone.it.managedPages == fixture.managedPages + 1)
    try arena.register(0..<1)
    #expect(refusal { () throws(Refusal) in try arena.register(0..<1) } == .exists)
  }

  @Test func row2aEveryCombinationOfOptionsAddsAndRemoves() throws {
    for bytes in [4 << 20, 128 << 20] as [UInt] {
      let fixture = try ArenaFixture.explicit(sectionBytes: bytes, sections: 3)
      let storage = Memory(fixture.geometry.memmapBytes)
      let before = try Figures(fixture)
      for placement in [.required, .preferred, .outside, .storage, .reserve] as [MemmapPlacement] {
        for bits in 0..<16 {
          var request = fixture.request(placement)
          request.storage = storage.address
          request.storageBytes = storage.bytes
          request.isEager = bits & 1 != 0
          request.isHuge = bits & 2 != 0
          request.isSpare = bits & 4 != 0
          request.node = bits & 8 != 0 ? 0 : -1
          if placement == .reserve { try fixture.arena.reserveMemmaps(1) }
          _ = try fixture.arena.add(request)
          try fixture.arena.online(0..<1)
          let run = try #require(fixture.arena.allocate(pages: 9, alignment: 1))
          Ref<UInt>(run.address).it = 1
          fixture.arena.free(run)
          try fixture.offline(0..<1)
          try fixture.arena.remove(0..<1)
          fixture.arena.dropSpareMemmaps(.max)
          try check(try Figures(fixture), is: before, "\(placement) \(bits)")
        }
      }
    }
  }

  @Test func row2bConstructSeesValidDescriptorsAndMayRefuse() throws {
    let fixture = try ArenaFixture.explicit()
    let log = Memory(4096)
    var request = AddRequest()
    request.strategy = SectionStrategy(
      setUp: { context, plan in
        Ref<UInt>(context).it += 1
        // Two pageblocks at the front are the owner's.
        Ref<SectionPlan>(plan).it.altmap.reserve = 32
        return 0
      },
      construct: { context, plan in
        let plan = Ref<SectionPlan>(plan).it
        for word in 0..<(plan.memmapBytes / 8) where Ref<UInt>(plan.memmap + word * 8).it != 0 { return 5 }
        Ref<UInt>(context + 8).it += 1
        return Ref<Int32>(context + 64).it
      },
      tearDown: { context, _ in Ref<UInt>(context + 16).it += 1 }, context: log.address)
    let before = try Figures(fixture)
    Ref<Int32>(log.address + 64).it = 28
    #expect(refusal { () throws(Refusal) in _ = try fixture.arena.add(request) } == .noSpace)
    #expect(try Figures(fixture) == before)
    #expect(Ref<UInt>(log.address + 16).it == 1)
    Ref<Int32>(log.address + 64).it = 0
    _ = try fixture.arena.add(request)
    #expect(fixture.record(0).it.memmap == fixture.reservation + 32 << Page.shift)
    try fixture.arena.online(0..<1)
    let run = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    #expect(run.address == fixture.reservation + 48 << Page.shift)
    fixture.arena.free(run)
    try fixture.offline(0..<1)
    try fixture.arena.remove(0..<1)
    #expect(Ref<UInt>(log.address).it == 2 && Ref<UInt>(log.address + 8).it == 2)
    #expect(Ref<UInt>(log.address + 16).it == 2)
    #expect(try Figures(fixture) == before)
  }

  @Test func row2cAltmapSaysHowManyPagesWereUsed() throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: 128 << 20, sections: 2)
    _ = try fixture.arena.add(AddRequest(), at: 1)
    var altmap = fixture.record(1).it.memory.altmap
    #expect(altmap.base == 32768 && altmap.reserve == 0 && altmap.free == 512)
    #expect(altmap.align == 0 && altmap.alloc == 512)
    #expect(altmap.allocate(1) == nil, "page 513 is the user's")
  }

  /// The bounded form: what does not fit is ENOMEM, and the section is as if never added.
  @Test func row3bAnOverflowOfTheAltmapUnwinds() throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: 128 << 20, sections: 2)
    _ = try fixture.arena.add(fixture.request(.required))
    #expect(fixture.record(0).it.memory.altmap.alloc == fixture.memmapPages)
    var request = fixture.request(.required)
    let before = try Figures(fixture)
    // Too few pages set aside, an altmap of other memory, one that leaves no page, one that splits a pageblock.
    for (change, expected) in [(0, Refusal.noMemory), (1, .invalid), (2, .invalid), (3, .invalid)] {
      let memory = Memory(4096)
      Ref<Int>(memory.address).it = change
      request.strategy = SectionStrategy(
        setUp: { context, plan in
          let plan = Ref<SectionPlan>(plan)
          switch Ref<Int>(context).it {
          case 0:
            plan.it.altmap.free = 0
          case 1: plan.it.altmap.base += 1
          case 2: plan.it.altmap.reserve = 32768 - 512
          default: plan.it.altmap.reserve = 1
          }
          return 0
        }, context: memory.address)
      #expect(refusal { () throws(Refusal) in _ = try fixture.arena.add(request) } == expected, "\(change)")
      #expect(try Figures(fixture) == before)
    }
  }

  @Test func row3cTheAltmapSurvivesCycles() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest())
    let memory = fixture.record(0).it.memory
    for _ in 0..<3 {
      try fixture.arena.online(0..<1)
      let run = try #require(fixture.arena.allocate(pages: 40, alignment: 1))
      fixture.zone.withhold(fixture.record(0), address: run.address, pages: run.pages)
      fixture.zone.supply(fixture.record(0), address: run.address, pages: run.pages, isAbsent: false)
      try fixture.offline(0..<1)
      #expect(fixture.record(0).it.memory.altmap == memory.altmap)
      #expect(fixture.record(0).it.memmap == fixture.reservation)
      #expect(bellows_load(fixture.record(0).descriptor(of: run.address).address) == 0)
    }
  }

  @Test func row3dOfflineLeavesTheMemmap() throws {
    let fixture = try ArenaFixture.explicit(sectionBytes: 128 << 20, sections: 2)
    _ = try fixture.arena.add(AddRequest())
    try fixture.arena.online(0..<1)
    let run = try #require(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1))
    bellows_zero(run.address, run.bytes)
    #expect(fixture.resident(0) == 32768)
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<1) } == .busy)
    #expect(fixture.resident(0) == 32768, "nothing went")
    #expect(fixture.record(0).it.state == .online)
    fixture.arena.free(run)
    try fixture.offline(0..<1)
    #expect(fixture.resident(0) == 512)
    #expect(Kernel.residentPages(fixture.reservation, 2 << 20) == 512)
    #expect(!fixture.isAccessible(run.address))
    #expect(fixture.isAccessible(fixture.reservation))
    try fixture.arena.online(0..<1)
    #expect(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1) != nil)
  }

  @Test func row3eMemmapPagesAreNeverAllocated() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest(), count: 3)
    try fixture.arena.online(0..<3)
    #expect(fixture.zone.it.presentPages == 3 * fixture.geometry.sectionPages)
    while let run = fixture.arena.allocate(pages: 1, alignment: 1) {
      let offset = (run.address - fixture.reservation) % fixture.geometry.sectionBytes
      try check(offset >= fixture.geometry.memmapBytes, "a page of a memmap")
    }
  }

  @Test func row3fGranularity() throws {
    // Every pair of placements next to each other, by offset and length.
    let placements: [MemmapPlacement] = [.required, .outside]
    for first in placements {
      for second in placements {
        for (from, count) in [(0, 1), (1, 1), (0, 2)] as [(UInt, UInt)] {
          let fixture = try ArenaFixture.explicit()
          _ = try fixture.arena.add(fixture.request(first))
          _ = try fixture.arena.add(fixture.request(second))
          let hosted = count == 2 && (first == .required || second == .required)
          let before = try Figures(fixture)
          let answer = refusal { () throws(Refusal) in try fixture.arena.remove(from..<(from + count)) }
          #expect(answer == (hosted ? .invalid : nil), "\(first) \(second) \(from) \(count)")
          guard hosted else { continue }
          #expect(try Figures(fixture) == before)
          try fixture.arena.online(0..<2)
          #expect(fixture.arena.allocate(pages: 100, alignment: 1) != nil, "still usable")
          #expect(refusal { () throws(Refusal) in try fixture.arena.remove(0..<1) } == .busy, "online")
        }
      }
    }
  }

  @Test func row3gRemovalDrivesTheBalanceToZero() throws {
    let fixture = try ArenaFixture.explicit()
    let before = try Figures(fixture)
    let metadata = fixture.arena.it.metadata.mappedBytes
    _ = try fixture.arena.add(AddRequest())
    try fixture.arena.online(0..<1)
    let run = try #require(fixture.arena.allocate(pages: 500, alignment: 1))
    bellows_zero(run.address, run.bytes)
    fixture.arena.free(run)
    try fixture.offline(0..<1)
    // `releaseMemmap` stops the program where the balance is not zero.
    try fixture.arena.remove(0..<1)
    #expect(fixture.resident(0) == 0)
    #expect(!fixture.isAccessible(fixture.reservation))
    #expect(try Figures(fixture) == before)
    #expect(fixture.arena.it.metadata.mappedBytes == metadata)
  }

  @Test func row4bAnAddressFindsItsSectionAtOnce() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest(), count: 5)
    try fixture.arena.online(0..<5)
    for _ in 0..<2000 {
      guard let run = fixture.arena.allocate(pages: 2, alignment: 1) else { break }
      let section = try #require(fixture.arena.section(at: run.address))
      #expect(section.it.base <= run.address && run.address < section.it.base + fixture.geometry.sectionBytes)
    }
  }

  @Test func row4cNumbersStayWhenAMiddleSectionGoes() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest(), count: 3)
    try fixture.arena.online(0..<3)
    try fixture.offline(1..<2)
    try fixture.arena.remove(1..<2)
    _ = try fixture.arena.add(AddRequest(), at: 5)
    try fixture.arena.online(5..<6)
    #expect([0, 2, 5].map { fixture.record($0).it.number } == [0, 2, 3])
    #expect(fixture.arena.section(index: 1)?.it.state == .absent)
    #expect(fixture.zone.freePages == 3 * fixture.managedPages)
    #expect(try fixture.arena.add(AddRequest()) == 1, "the hole is used again")
    #expect(fixture.record(1).it.number == 4)
  }

  @Test func row4dAParticularRangeOrBusy() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest())
    try fixture.arena.online(0..<1)
    let section = fixture.record(0)
    let place = fixture.reservation + 3 << 20
    let run = try fixture.zone.allocateRange(section, address: place, pages: 37)
    #expect(run.address == place && run.pages == 37)
    #expect(
      refusal { () throws(Refusal) in
        _ = try fixture.zone.allocateRange(section, address: place + 36 << Page.shift, pages: 2)
      } == .busy)
  }
}
