// Regions with descriptors and an owner, on files in memory: what the owner is told, what the allocator never sees,
// and that a region which cannot come or go changes nothing.

import BellowsCore
import CShims
import Glibc
import Testing

/// What the owner of a device region was told.
final class DeviceLog: Sendable {
  private let memory = Memory(4096)
  /// The owner: counts the calls in the first word of `memory`, and keeps the last address in the second.
  var owner: DeviceOwner {
    DeviceOwner(context: memory.address) { context, address, _ in
      bellows_store_release(context + 8, address)
      _ = bellows_fetch_add(context, 1)
    }
  }
  var freed: UInt { bellows_load_acquire(memory.address) }
  var lastAddress: UInt { bellows_load_acquire(memory.address + 8) }
}

/// An open file in memory.
final class MemoryFile {
  let descriptor: Int32
  init?(_ bytes: UInt, huge: Bool = false) {
    let result = bellows_memory_file(bytes, huge)
    guard result >= 0 else { return nil }
    descriptor = result
  }
  deinit { close(descriptor) }

  func word(at offset: Int) -> UInt {
    var word: UInt = 0
    _ = unsafe pread(descriptor, &word, 8, offset)
    return word
  }
}

extension DeviceRequest {
  init(_ bytes: UInt, of file: MemoryFile?, _ log: DeviceLog) {
    self.init(bytes: bytes, owner: log.owner)
    self.file = file?.descriptor ?? -1
    if file == nil { kind = .unmapped }
  }
}

/// The error number of what `body` throws, or nil.
func errorNumber(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) {
    try body()
    return nil
  } catch {
    return error
  }
}

@Suite struct DeviceTests {
  @Test(arguments: ArenaFixture.sectionSizes)
  func row2dTheAllocatorNeverSeesTheRegion(_ sectionBytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: sectionBytes, sections: 3))
    let log = DeviceLog()
    let bytes = sectionBytes + 5 * Page.bytes
    let file = try #require(MemoryFile(bytes))
    let device = try fixture.arena.addDevice(DeviceRequest(bytes, of: file, log))
    #expect(fixture.zone.it.presentPages == 0 && fixture.arena.it.sections == 0)
    #expect(device.it.initialisedPages == bytes >> Page.shift)
    #expect(device.it.base == fixture.reservation + 2 * sectionBytes, "from the end of the reservation")
    for offset in stride(from: 0, to: bytes, by: Int(Page.bytes)) {
      let address = device.it.base + offset
      let descriptor = fixture.arena.knownSection(at: address).descriptor(of: address)
      try check(descriptor == device.descriptor(of: address), "one descriptor by both ways")
      try check(descriptor.it.word, is: GranuleWord.device.bits, "kind")
      try check(descriptor.it.owner, is: device.address, "owner")
      try check(descriptor.references, is: 0, "references")
    }
    // What the table leads to is no block's word.
    let granule = fixture.arena.it.table.granule(of: device.firstUnit)
    #expect(bellows_load(granule) == GranuleWord.device.bits)
    // All that the arena has.
    var given: UInt = 0
    while let run = fixture.arena.allocate(pages: 16, alignment: 1) {
      try check(!device.contains(run.address) && !device.contains(run.end - 1), "a page of the region")
      given += 16
    }
    #expect(given == 2 * fixture.managedPages, "two sections remain to the allocator")
    try fixture.arena.removeDevice(device, within: 0)
    #expect(fixture.arena.device(at: fixture.reservation + 3 * sectionBytes) == nil)
    #expect(fixture.arena.allocate(pages: 1, alignment: 1) != nil, "the place is free again")
  }

  @Test func aHeapRefusesAnAddressOfTheRegion() async {
    await #expect(processExitsWith: .signal(SIGABRT)) {
      let fixture = ArenaFixture(sections: 3)!
      let file = MemoryFile(1 << 20)!
      let device = try fixture.arena.addDevice(DeviceRequest(1 << 20, of: file, DeviceLog()))
      HeapUser(fixture.heap)!.free(device.firstUnit)
    }
  }

  @Test func row2dAnotherSectionIsAddedWhileDescriptorsAreSetUp() throws {
    // A system that waits in the middle of the set-up until the arena has grown: it would wait for ever if the
    // growth lock were held.
    let flags = Slots(2)
    let gate = Gate(flags)
    let memory = Memory(16384)
    let arena = ArenaRef(memory.address)
    let geometry = try #require(Geometry(sectionBytes: 4 << 20))
    try #require(
      arena.initialise(
        geometry: geometry, platform: gate.platform, zone: ZoneRef(memory.address + 1024), capacity: 16 << 20)
    )
    defer { arena.releaseReservation() }
    let log = DeviceLog()
    let file = try #require(MemoryFile(4 << 20))
    let request = DeviceRequest(4 << 20, of: file, log)
    let adder = TestThread { _ = try arena.addDevice(request) }
    while flags.load(0) == 0 { sched_yield() }
    let run = arena.allocate(pages: 4, alignment: 1)
    #expect(run != nil && arena.it.sections == 1)
    #expect(
      bellows_load(arena.it.table.granule(of: arena.it.reservation + 12 << 20)) == 0, "not yet published")
    flags.store(1, 1)
    try adder.join()
    #expect(
      bellows_load(arena.it.table.granule(of: arena.it.reservation + 12 << 20)) == GranuleWord.device.bits)
  }

  @Test func row2eFreeOfADevicePageCallsTheOwnerAndNeverTheBuddy() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    let file = try #require(MemoryFile(1 << 20))
    let device = try fixture.arena.addDevice(DeviceRequest(1 << 20, of: file, log))
    _ = try #require(fixture.addSection())
    let (free, used) = (fixture.zone.freePages, fixture.zone.it.usedPages)
    let page = device.firstUnit + 7 * Page.bytes
    try device.acquire(page)
    #expect(errorNumber { () throws(Refusal) in try device.acquire(page) } == .busy)
    try device.retain(page)
    Ref<UInt>(page).it = 0x1234
    #expect(file.word(at: 7 * 4096) == 0x1234, "memory is the file's")
    try device.release(page)
    #expect(log.freed == 0 && device.usedUnits == 1, "one reference is left")
    try fixture.arena.releaseDevicePages(device, address: page, bytes: Page.bytes)
    #expect(log.freed == 1 && log.lastAddress == page && device.usedUnits == 0)
    #expect(errorNumber { () throws(Refusal) in try device.release(page) } == .invalid, "freed twice")
    #expect(errorNumber { () throws(Refusal) in try device.retain(page) } == .invalid, "not in use")
    #expect(errorNumber { () throws(Refusal) in try device.acquire(page + 1) } == .invalid)
    #expect(fixture.zone.freePages == free && fixture.zone.it.usedPages == used)
    try device.acquire(page)
    try device.release(page)
    #expect(log.freed == 2)
    #expect(Ref<UInt>(page).it == 0x1234, "its content is the owner's affair")
  }

  @Test func aRegionMayHoldAReferenceToEachUnit() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    let file = try #require(MemoryFile(1 << 20))
    var request = DeviceRequest(1 << 20, of: file, log)
    request.kind = .held
    let device = try fixture.arena.addDevice(request)
    #expect(device.descriptor(of: device.firstUnit).references == 1)
    #expect(errorNumber { () throws(Refusal) in try device.release(device.firstUnit) } == .invalid)
    try device.acquire(device.firstUnit)
    #expect(device.descriptor(of: device.firstUnit).references == 2)
    try device.release(device.firstUnit)
    #expect(log.freed == 1)
    try fixture.arena.removeDevice(device, within: 0)
  }

  @Test func memoryThatTheProcessorCannotReachHasDescriptorsOnly() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    let before = try Figures(fixture)
    let device = try fixture.arena.addDevice(DeviceRequest(6 << 20, of: nil, log))
    #expect(try Figures(fixture) == before, "no mapping, nothing resident")
    try device.acquire(device.firstUnit)
    try device.release(device.firstUnit)
    #expect(log.freed == 1)
    try fixture.arena.removeDevice(device, within: 0)
  }

  @Test func theMemmapMayLieInTheRegion() throws {
    let fixture = try #require(ArenaFixture(sections: 4))
    let log = DeviceLog()
    let file = try #require(MemoryFile(8 << 20))
    var request = DeviceRequest(8 << 20, of: file, log)
    request.isMemmapInside = true
    request.reserveBytes = 3 * Page.bytes
    let resident = Kernel.residentPages(fixture.reservation, fixture.capacity)
    let device = try fixture.arena.addDevice(request)
    #expect(device.it.memmap == device.it.base + 3 * Page.bytes)
    #expect(device.firstUnit == device.it.base + 3 * Page.bytes + 2 * fixture.geometry.memmapBytes)
    #expect(
      Kernel.residentPages(fixture.reservation, fixture.capacity) == resident + 2 * fixture.geometry
        .memmapBytes >> 12,
      "its descriptors are resident, and nothing else")
    #expect(errorNumber { () throws(Refusal) in try device.acquire(device.it.base) } == .invalid)
    #expect(errorNumber { () throws(Refusal) in try device.acquire(device.it.memmap) } == .invalid)
    try device.acquire(device.it.base + device.it.bytes - Page.bytes)
    try device.release(device.it.base + device.it.bytes - Page.bytes)
    #expect(device.units == 2048 - 3 - 32)
    try fixture.arena.removeDevice(device, within: 0)
    request.reserveBytes = (8 << 20) - Page.bytes
    #expect(errorNumber { () throws(Refusal) in _ = try fixture.arena.addDevice(request) } == .invalid)
  }

  @Test func conflictsAreRefused() throws {
    let fixture = try #require(ArenaFixture(sections: 4))
    let log = DeviceLog()
    let file = try #require(MemoryFile(8 << 20))
    _ = try #require(fixture.addSection())
    var request = DeviceRequest(4 << 20, of: file, log)
    request.place = fixture.reservation + 12 << 20
    let device = try fixture.arena.addDevice(request)
    let before = try Figures(fixture)
    func refused(_ change: (inout DeviceRequest) -> Void) -> Refusal? {
      var other = DeviceRequest(4 << 20, of: file, log)
      change(&other)
      return errorNumber { () throws(Refusal) in _ = try fixture.arena.addDevice(other) }
    }
    #expect(refused { $0.place = device.it.base } == .noMemory, "another region is there")
    #expect(
      refused {
        $0.place = device.it.base - 4 << 20; $0.bytes = 8 << 20
      } == .noMemory, "in part")
    #expect(refused { $0.place = fixture.reservation } == .noDevice, "memory is there")
    #expect(refused { $0.place = fixture.reservation + fixture.capacity } == .tooBig)
    #expect(
      refused {
        $0.place = fixture.reservation + fixture.capacity - 4 << 20; $0.bytes = 8 << 20
      } == .tooBig)
    #expect(refused { $0.place = fixture.reservation - 4 << 20 } == .tooBig)
    #expect(refused { $0.place = fixture.reservation + 4096 } == .invalid)
    #expect(refused { $0.bytes = 0 } == .invalid)
    #expect(refused { $0.bytes = 4097 } == .invalid)
    #expect(refused { $0.offset = 100 } == .invalid)
    #expect(refused { $0.offset = 8 << 20 } == .invalid, "beyond the end of the file")
    #expect(refused { $0.bytes = 12 << 20 } == .invalid, "longer than the file")
    #expect(
      refused {
        $0.kind = .unmapped; $0.bytes = 1 << 40
      } == .tooBig)
    #expect(refused { $0.file = -1 } == .invalid)
    #expect(refused { $0.file = 9999 } == Refusal(EBADF))
    #expect(refused { $0.unitShift = 13 } == .invalid)
    #expect(refused { $0.reserveBytes = 4096 } == .invalid, "a reserve without a memmap inside")
    #expect(
      refused {
        $0.kind = .unmapped; $0.isMemmapInside = true
      } == .invalid)
    #expect(try Figures(fixture) == before)
    try fixture.arena.removeDevice(device, within: 0)
  }

  @Test func removalWaitsForTheLastReference() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    let file = try #require(MemoryFile(1 << 20))
    let device = try fixture.arena.addDevice(DeviceRequest(1 << 20, of: file, log))
    let page = device.firstUnit
    let arena = fixture.arena
    try device.acquire(page)
    let before = try Figures(fixture)
    #expect(errorNumber { () throws(Refusal) in try arena.removeDevice(device, within: 30) } == .busy)
    #expect(try Figures(fixture) == before && device.usedUnits == 1)
    // It is as it was: other units are handed out.
    try device.acquire(page + Page.bytes)
    try device.release(page + Page.bytes)
    let flags = Slots(1)
    let remover = TestThread {
      try arena.removeDevice(device, within: 60000)
      flags.store(0, 1)
    }
    // Until the removal has begun, a unit can be had; from then on ENXIO.
    while true {
      let refusal = errorNumber { () throws(Refusal) in try device.acquire(page + Page.bytes) }
      if refusal == .noDevice { break }
      try check(refusal == nil, "refused with \(refusal!)")
      try device.release(page + Page.bytes)
      sched_yield()
    }
    #expect(errorNumber { () throws(Refusal) in try arena.removeDevice(device, within: 0) } == .busy)
    #expect(flags.load(0) == 0)
    try device.release(page)
    try remover.join()
    #expect(flags.load(0) == 1)
    #expect(fixture.arena.section(at: page)?.it.state == .absent)
    #expect(bellows_load(fixture.arena.it.table.granule(of: page)) == 0)
  }

  @Test func huge() throws {
    guard let file = MemoryFile(4 << 20, huge: true) else { return }
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    var request = DeviceRequest(4 << 20, of: file, log)
    request.unitShift = 21
    try HugePages.with(2) { hasPages in
      guard hasPages else {
        #expect(errorNumber { () throws(Refusal) in _ = try fixture.arena.addDevice(request) } == .noMemory)
        return try HugePages.skip("no huge pages are reserved, and this user may not reserve them")
      }
      let device = try fixture.arena.addDevice(request)
      #expect(device.units == 2)
      try device.acquire(device.firstUnit + 2 << 20)
      #expect(
        errorNumber { () throws(Refusal) in try device.acquire(device.firstUnit + Page.bytes) } == .invalid)
      Ref<UInt>(device.firstUnit + 2 << 20).it = 5
      #expect(Kernel.residentPages(device.it.base, device.it.bytes) == 512, "one huge page at once")
      try device.release(device.firstUnit + 2 << 20)
      #expect(log.freed == 1)
      try fixture.arena.removeDevice(device, within: 0)
    }
  }

  @Test func manyThreadsTakeAndDropUnits() throws {
    let fixture = try #require(ArenaFixture(sections: 3))
    let log = DeviceLog()
    let file = try #require(MemoryFile(1 << 20))
    let device = try fixture.arena.addDevice(DeviceRequest(1 << 20, of: file, log))
    let arena = fixture.arena
    let sums = Slots(1)
    try inThreads(4) { thread in
      var random = Random(stream: UInt64(thread))
      var mine: [UInt: UInt] = [:]
      for step in 0..<20000 {
        let unit = device.firstUnit + random.below(device.units) << Page.shift
        if let references = mine[unit] {
          if random.chance(oneIn: 3) {
            try device.retain(unit)
            mine[unit] = references + 1
          } else {
            try device.release(unit)
            mine[unit] = references == 1 ? nil : references - 1
          }
        } else if errorNumber({ () throws(Refusal) in try device.acquire(unit) }) == nil {
          mine[unit] = 1
          sums.add(0, 1)
        }
        // Somebody has a unit nearly always: removal is refused, and disturbs nobody but acquirers.
        if thread == 0, step % 1000 == 7, !mine.isEmpty {
          let refusal = errorNumber { () throws(Refusal) in try arena.removeDevice(device, within: 1) }
          try check(refusal == .busy, "removed while in use")
        }
      }
      for (unit, references) in mine { for _ in 0..<references { try device.release(unit) } }
    }
    #expect(log.freed == sums.load(0), "the owner is told once for each unit that was taken")
    #expect(device.usedUnits == 0)
    try fixture.arena.removeDevice(device, within: 0)
  }

  /// Every system call of add and of remove fails once, alone and with all after it.
  @Test(arguments: [false, true])
  func aFailedStepChangesNothing(isMemmapInside: Bool) throws {
    let log = DeviceLog()
    let file = try #require(MemoryFile(8 << 20))
    for rule in [FailureRule.nth, FailureRule.from] {
      for n in 1... as PartialRangeFrom<UInt> {
        let double = FailingPlatform()
        let fixture = try #require(ArenaFixture(sections: 3, double: double))
        var request = DeviceRequest(8 << 20, of: file, log)
        request.isMemmapInside = isMemmapInside
        // The records' own memory stays for the next try.
        try fixture.arena.removeDevice(try fixture.arena.addDevice(request), within: 0)
        let before = try Figures(fixture)
        let mapped = double.mappedBytes
        double.arm(rule(n))
        let refusal = errorNumber { () throws(Refusal) in _ = try fixture.arena.addDevice(request) }
        let failures = double.failures
        let undone = double.failedUndos == 0
        double.arm(.none)
        if let refusal {
          try check(refusal == .noMemory, "\(rule(n)): \(refusal)")
          if undone {
            try check(try Figures(fixture), is: before, "\(rule(n))")
            try check(double.mappedBytes, is: mapped, "\(rule(n)): mapped bytes")
          }
          for address in stride(
            from: fixture.reservation, to: fixture.reservation + fixture.capacity, by: 4 << 20)
          {
            try check(fixture.arena.section(at: address)?.it.state ?? .absent == .absent, "a section stays")
            try check(!fixture.arena.it.table.covers(address), "an entry stays")
          }
          let device = try fixture.arena.addDevice(request)
          try device.acquire(device.firstUnit)
          try device.release(device.firstUnit)
        }
        if failures == 0 { break }
      }
    }
  }

  @Test func aRefusedRemovalLeavesTheRegionInUse() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sections: 3, double: double))
    let log = DeviceLog()
    let file = try #require(MemoryFile(4 << 20))
    let device = try fixture.arena.addDevice(DeviceRequest(4 << 20, of: file, log))
    Ref<UInt>(device.firstUnit).it = 77
    double.arm(.nthOf(.reset, 1))
    #expect(
      errorNumber { () throws(Refusal) in try fixture.arena.removeDevice(device, within: 0) } == .noMemory
    )
    #expect(fixture.arena.device(at: device.firstUnit) == device)
    try device.acquire(device.firstUnit)
    #expect(Ref<UInt>(device.firstUnit).it == 77)
    try device.release(device.firstUnit)
    try fixture.arena.removeDevice(device, within: 0)
    #expect(file.word(at: 0) == 77, "the file keeps what was written")
  }
}

/// A system that waits in `populate` until it is told to go on.
final class Gate: Sendable {
  let flags: Slots
  init(_ flags: Slots) { self.flags = flags }

  var platform: Platform {
    let context = unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    return Platform(context: context) { context, call, a, b, c, d in
      if call == SystemCall.populate.rawValue {
        let raw = unsafe UnsafeRawPointer(bitPattern: context)!
        let gate = unsafe Unmanaged<Gate>.fromOpaque(raw).takeUnretainedValue()
        gate.flags.store(0, 1)
        while gate.flags.load(1) == 0 { sched_yield() }
      }
      return bellows_system(0, call, a, b, c, d)
    }
  }
}
