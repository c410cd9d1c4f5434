// Sub-blocks of an online section, plugged and unplugged. What must fault is touched in a child process.

import BellowsCore
import CShims
import Glibc
import Testing

/// Where guard markers can be had: everywhere, as the system is; not in every other sub-block, as where memory is locked;
/// nowhere, as before Linux 6.13.
enum GuardMarkers: UInt, CaseIterable, Sendable {
  case asTheyAre, inSome, none

  var platform: Platform {
    Platform(context: rawValue) { context, call, a, b, c, d in
      let isMarker = call == SystemCall.guardInstall.rawValue || call == SystemCall.guardRemove.rawValue
      let isInstalled = call == SystemCall.guardInstall.rawValue
      if isMarker, context == GuardMarkers.none.rawValue { return -Int(EINVAL) }
      if isInstalled, context == GuardMarkers.inSome.rawValue, a &>> 21 & 1 == 0 { return -Int(EINVAL) }
      return bellows_system(0, call, a, b, c, d)
    }
  }

  /// Whether this machine's kernel has them.
  static var isKnown: Bool { bellows_probe_guard_install() == 0 }
}

@Suite struct SubBlockTests {
  private static let size: UInt = 2 << 20

  /// 63 sub-blocks of 2 MiB, each of its pages allocated and written.
  private static func full() throws -> (BalloonBench, SectionRef, [PageRun]) {
    guard let bench = BalloonBench(sectionBytes: 128 << 20, sections: 1),
      let section = bench.fixture.addSection()
    else { throw Violation(description: "no arena") }
    bench.populateMemmap(section)
    let runs = try (1..<64).map {
      try bench.zone.allocateRange(section, address: section.it.base + $0 * size, pages: 512)
    }
    for run in runs { run.touch() }
    return (bench, section, runs)
  }

  @Test func row1gASubBlockIsUnpluggedInAnOnlineSection() throws {
    let (bench, section, runs) = try Self.full()
    let start = runs[20].address
    let mappings = try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity)
    #expect(errorNumber { () throws(Refusal) in try bench.subBlocks.unplug(start) } == .busy)
    bench.arena.free(runs[20])
    let resident = try Kernel.rss(section.it.base, 128 << 20)
    try bench.subBlocks.unplug(start)
    #expect(resident - (try Kernel.rss(section.it.base, 128 << 20)) == Self.size)
    if GuardMarkers.isKnown {
      #expect(try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity) == mappings)
    }
    #expect(bench.subBlocks.isUnplugged(start + 5) && !bench.subBlocks.isUnplugged(start - 1))
    #expect(bench.zone.it.managedPages == 62 * 512 && bench.zone.it.presentPages == 64 * 512)
    for run in [runs[19], runs[21]] {
      for page in 0..<run.pages {
        try check(
          Ref<UInt>(run.address + page << Page.shift).it, is: run.address + page, "a neighbour's content")
      }
    }
    #expect(errorNumber { () throws(Refusal) in try bench.subBlocks.unplug(start) } == .exists)
    try bench.subBlocks.plug(start)
    #expect(errorNumber { () throws(Refusal) in try bench.subBlocks.plug(start) } == .exists)
    let run = try #require(bench.zone.run(pages: 512, alignment: 512))
    #expect(run.address == start && run.isZero)
    #expect(Ref<UInt>(start).it == 0)
    run.touch()
  }

  @Test(arguments: [0, 777, 2_097_151] as [UInt])
  func row1gAnAccessToAnUnpluggedSubBlockFaults(_ offset: UInt) async {
    await #expect(processExitsWith: .signal(SIGSEGV)) { [offset] in
      let (bench, _, runs) = try Self.full()
      bench.arena.free(runs[7])
      try bench.subBlocks.unplug(runs[7].address)
      Ref<UInt8>(runs[7].address + offset).it = 1
    }
  }

  @Test func anAccessFaultsWithoutGuardMarkersToo() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let (bench, _, runs) = try Self.full()
      bench.arena.it.platform = GuardMarkers.none.platform
      bench.arena.free(runs[7])
      try bench.subBlocks.unplug(runs[7].address)
      guard Ref<UInt>(runs[6].address).it == runs[6].address else { exit(1) }
      Ref<UInt8>(runs[7].address).it = 1
    }
  }

  /// The kernel refuses a marker in locked memory, which says nothing of others, and leaves those that are there.
  @Test func aSubBlockThatIsLockedIsUnpluggedAnotherWay() throws {
    let (bench, _, runs) = try Self.full()
    for place in [5, 9] { bench.arena.free(runs[place]) }
    try bench.subBlocks.unplug(runs[5].address)
    let locked = unsafe UnsafeRawPointer(bitPattern: runs[8].address)
    #expect(unsafe mlock(locked, 4 * Int(Self.size)) == 0)
    try bench.subBlocks.unplug(runs[9].address)
    #expect(Kernel.residentPages(runs[9].address, Self.size) == 0)
    for place in [5, 9] {
      try bench.subBlocks.plug(runs[place].address)
      let run = try #require(bench.zone.run(pages: 512, alignment: 512))
      #expect(run.address == runs[place].address)
      run.touch()
    }
    #expect(unsafe munlock(locked, 4 * Int(Self.size)) == 0)
  }

  @Test func anUnpluggedSubBlockAboveWhichOneIsPluggedFaults() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let bench = BalloonBench(sectionBytes: 128 << 20, sections: 1)!
      let range = try bench.onlineUnplugged()
      try bench.subBlocks.plug(range.lowerBound + 9 * (2 << 20))
      Ref<UInt>(range.lowerBound + 9 * (2 << 20)).it = 1
      Ref<UInt>(range.lowerBound + 8 * (2 << 20)).it = 1
    }
  }

  @Test func aSectionMayComeOnlineUnplugged() throws {
    let bench = try #require(BalloonBench(sectionBytes: 128 << 20, sections: 1))
    let range = try bench.onlineUnplugged()
    #expect(bench.subBlocks.it.unpluggedPages == 63 * 512 && bench.zone.it.managedPages == 0)
    for place in [5, 62, 0] as [UInt] {
      try bench.subBlocks.plug(range.lowerBound + place * Self.size)
      let run = try #require(bench.zone.run(pages: 512, alignment: 512))
      #expect(run.address == range.lowerBound + place * Self.size)
      run.touch()
    }
    #expect(Kernel.residentPages(range.lowerBound, UInt(range.count)) == 3 * 512)
  }

  @Test(arguments: GuardMarkers.allCases) func randomPlugAndUnplug(markers: GuardMarkers) throws {
    let (bench, section, runs) = try Self.full()
    bench.arena.it.platform = markers.platform
    var random = Random(stream: 7)
    enum Content { case used, free, unplugged }
    var model = [Content](repeating: .used, count: 63)
    let mappings = try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity)
    for step in 0..<1500 {
      let place = Int(random.below(63))
      let run = runs[place]
      switch (model[place], random.below(3)) {
      case (.used, 0):
        for page in 0..<run.pages {
          try check(Ref<UInt>(run.address + page << Page.shift).it, is: run.address + page, "content")
        }
        bench.arena.free(run)
        model[place] = .free
      case (.used, _):
        let refusal = errorNumber { () throws(Refusal) in try bench.subBlocks.unplug(run.address) }
        try check(refusal == .busy, "in use")
      case (.free, 0):
        let again = try bench.zone.allocateRange(section, address: run.address, pages: 512)
        again.touch()
        model[place] = .used
      case (.free, _):
        try bench.subBlocks.unplug(run.address)
        model[place] = .unplugged
      case (.unplugged, 0):
        let refusal = errorNumber { () throws(Refusal) in
          _ = try bench.zone.allocateRange(section, address: run.address, pages: 1)
        }
        try check(refusal == .busy, "unplugged pages are nobody's to take")
      case (.unplugged, _):
        try bench.subBlocks.plug(run.address)
        model[place] = .free
      }
      if step % 50 == 0 {
        let unplugged = model.count { $0 == .unplugged }
        try check(bench.subBlocks.it.unpluggedPages, is: UInt(unplugged) * 512, "unplugged")
        try check(bench.zone.it.managedPages, is: UInt(63 - unplugged) * 512, "managed")
        if markers == .asTheyAre, GuardMarkers.isKnown {
          try check(
            try Kernel.mappings(bench.fixture.reservation, bench.fixture.capacity), is: mappings, "mappings")
        }
        for (place, content) in model.enumerated() where content == .unplugged {
          try check(Kernel.residentPages(runs[place].address, Self.size), is: 0, "resident")
        }
        for (place, content) in model.enumerated() where content == .used {
          try check(
            Ref<UInt>(runs[place].address + 511 << Page.shift).it, is: runs[place].address + 511, "content")
        }
      }
    }
  }

  @Test func whatIsNoSubBlockIsRefused() throws {
    let (bench, section, _) = try Self.full()
    for (address, reason) in [
      (section.it.base, Refusal.invalid), (section.it.base + 4096, .invalid),
      (section.it.base + 128 << 20, .noDevice),
      (0x1000_0000, .noDevice),
    ] {
      #expect(errorNumber { () throws(Refusal) in try bench.subBlocks.unplug(address) } == reason)
      #expect(errorNumber { () throws(Refusal) in try bench.subBlocks.plug(address) } == reason)
    }
  }

  @Test func aFailedStepChangesNothing() throws {
    for n in 1... as PartialRangeFrom<UInt> {
      let double = FailingPlatform()
      let bench = try #require(BalloonBench(sections: 1, double: double))
      let section = try #require(bench.fixture.addSection())
      bench.populateMemmap(section)
      let size = bench.fixture.geometry.pageblockBytes
      let run = try bench.zone.allocateRange(
        section, address: section.it.base + 9 * size, pages: size >> Page.shift)
      bench.arena.free(run)
      let before = try Figures(bench.fixture)
      double.arm(.nth(n))
      let refusal = errorNumber { () throws(Refusal) in try bench.subBlocks.unplug(run.address) }
      if refusal != nil {
        try check(refusal == .noMemory, "\(refusal!)")
        var after = try Figures(bench.fixture)
        after.dirty = before.dirty
        try check(after, is: before, "call \(n)")
        double.arm(.none)
        try bench.subBlocks.unplug(run.address)
      } else {
        double.arm(.nth(n))
        let before = try Figures(bench.fixture)
        let refusal = errorNumber { () throws(Refusal) in try bench.subBlocks.plug(run.address) }
        if refusal != nil {
          try check(try Figures(bench.fixture), is: before, "plug, call \(n)")
          double.arm(.none)
          try bench.subBlocks.plug(run.address)
        } else if double.failures == 0 {
          break
        }
      }
    }
  }
}
