import Bellows
import Glibc
import Synchronization
import SystemPackage
import Testing

@Suite("Device memory")
struct DeviceMemoryTests {
  private func arena() throws -> Arena {
    try Arena(reserving: .mebibytes(64), configuration: .init(sectionSize: .mebibytes(4)))
  }

  @Test func row2dNoAllocationLiesInTheRegion() throws {
    let arena = try arena()
    let device = try arena.addDevice(.memory(.mebibytes(8)))
    #expect(arena.addressRange.contains(device.addressRange))
    #expect(arena.statistics().sections == 0 && device.unitCount == 2048)
    var boxes: [Box] = []
    while let allocation = try? arena.allocate(pages: 64) { boxes.append(Box(allocation)) }
    #expect(boxes.count == 14 * 15, "all of 14 sections but their descriptors")
    for box in boxes {
      #expect(box.range.end <= device.addressRange.start || box.range.start >= device.addressRange.end)
    }
    #expect(try Mappings(in: device.addressRange).resident == .zero)
  }

  @Test func row2eTheOwnerIsCalledWhenTheLastReferenceGoes() throws {
    let arena = try arena()
    let freed = Mutex<[AddressRange]>([])
    let device = try arena.addDevice(.memory(.mebibytes(1))) { unit in freed.withLock { $0.append(unit) } }
    let before = arena.statistics()
    do {
      var unit = try device.acquire(3)
      var bytes = unit.mutableBytes
      bytes.storeBytes(of: 42, toByteOffset: 8, as: Int.self)
      let other = unit.share()
      #expect(throws: Errno.resourceBusy) { _ = try device.acquire(3) }
      #expect(device.usedUnitCount == 1)
      _ = consume unit
      let soFar = freed.withLock { $0 }
      #expect(soFar.isEmpty)
      let seen = unsafe other.bytes.unsafeLoad(fromByteOffset: 8, as: Int.self)
      #expect(seen == 42)
    }
    let units = freed.withLock { $0 }
    #expect(units == [device.addressRange(ofUnit: 3)])
    #expect(arena.statistics() == before, "the page allocator has no part in it")
  }

  @Test func theOwnerMayTakeTheUnitAgain() throws {
    let arena = try arena()
    let count = Mutex(0)
    let device = Mutex<DeviceMemory?>(nil)
    let region = try arena.addDevice(.memory(.mebibytes(1))) { _ in
      let again = count.withLock { count -> Bool in
        count += 1
        return count < 3
      }
      if again { _ = try? device.withLock { $0 }?.acquire(0) }
    }
    device.withLock { $0 = region }
    _ = try region.acquire(0)
    let calls = count.withLock { $0 }
    #expect(calls == 3)
    device.withLock { $0 = nil }
    try region.remove()
  }

  @Test func aFileKeepsWhatWasWritten() throws {
    var path = Array("/tmp/bellows-device-XXXXXX".utf8CString)
    let file = FileDescriptor(rawValue: unsafe mkstemp(&path))
    try #require(file.rawValue >= 0)
    _ = unsafe unlink(path)
    defer { try? file.close() }
    try file.resize(to: 3 << 20)
    let arena = try arena()
    let device = try arena.addDevice(.file(file, offset: .mebibytes(1), byteCount: .mebibytes(2)))
    do {
      var unit = try device.acquire(1)
      var bytes = unit.mutableBytes
      bytes.storeBytes(of: 7, toByteOffset: 0, as: UInt8.self)
    }
    try device.remove()
    var byte: [UInt8] = [0]
    _ = try unsafe byte.withUnsafeMutableBytes { buffer in
      try unsafe file.read(fromAbsoluteOffset: 1 << 20 + 4096, into: buffer)
    }
    #expect(byte == [7])
    #expect(throws: Errno.noSuchAddressOrDevice) { _ = try device.acquire(0) }
    #expect(throws: Errno.noSuchAddressOrDevice) { try device.remove() }
    #expect(throws: Errno.invalidArgument) {
      _ = try arena.addDevice(.file(file, offset: .mebibytes(2), byteCount: .mebibytes(2)))
    }
  }

  @Test func removalWaitsUpToALimit() throws {
    let arena = try arena()
    let device = try arena.addDevice(
      .memory(.mebibytes(1)), configuration: .init(section: SectionIndex(rawValue: 3)))
    #expect(device.addressRange.start == arena.addressRange.start + 12 << 20)
    let unit = try device.acquire(0)
    #expect(throws: Errno.resourceBusy) { try device.remove(within: .milliseconds(20)) }
    #expect(device.usedUnitCount == 1)
    #expect(throws: Errno.noMemory) {
      _ = try arena.addDevice(
        .memory(.mebibytes(1)), configuration: .init(section: SectionIndex(rawValue: 3)))
    }
    _ = consume unit
    try device.remove(within: .seconds(10))
    _ = try arena.addDevice(.none(.mebibytes(1)), configuration: .init(section: SectionIndex(rawValue: 3)))
  }

  @Test func refusals() throws {
    let arena = try arena()
    #expect(throws: Errno.invalidArgument) { _ = try arena.addDevice(.memory(.zero)) }
    #expect(throws: Errno.invalidArgument) { _ = try arena.addDevice(.memory(.bytes(-4096))) }
    #expect(throws: Errno.invalidArgument) { _ = try arena.addDevice(.hugePages(.mebibytes(3))) }
    #expect(throws: Errno.argListTooLong) {
      _ = try arena.addDevice(
        .memory(.mebibytes(1)), configuration: .init(section: SectionIndex(rawValue: 16)))
    }
    #expect(throws: Errno.argListTooLong) { _ = try arena.addDevice(.none(.gibibytes(1))) }
    let device = try arena.addDevice(
      .memory(.mebibytes(4)), configuration: .init(memmap: .inside(reserve: .kibibytes(8)), holdsUnits: true))
    #expect(device.unitCount == 1024 - 2 - 16)
    #expect(throws: Errno.invalidArgument) { _ = try device.acquire(device.unitCount) }
    let unit = try device.acquire(0)
    let isAccessible = unit.isAccessible
    #expect(isAccessible)
  }

  @Test func aRegionGoesWithItsLastReference() throws {
    let arena = try arena()
    let before = try Mappings(in: arena.addressRange).count
    for _ in 0..<50 {
      let device = try arena.addDevice(.memory(.mebibytes(16)))
      #expect(device.addressRange.end == arena.addressRange.end)
    }
    #expect(try Mappings(in: arena.addressRange).count == before)
  }
}
