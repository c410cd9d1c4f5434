import Bellows
import Testing

@Suite("Memory comes and goes by sections")
struct HotplugTests {
  @Test func lifecycle() throws {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    let arena = try Arena(reserving: .mebibytes(64), configuration: configuration)
    #expect(throws: AllocationError.exhausted) { Box(try arena.allocate(pages: 1)) }
    let before = try Mappings(in: arena.addressRange)
    let sections = try arena.add(sections: 3)
    #expect(throws: AllocationError.exhausted) { Box(try arena.allocate(pages: 1)) }
    let middle = SectionIndex(rawValue: 1)
    let known = try #require(arena.memorySection(middle))
    #expect(known.state == .offline && known.number == 1 && !known.isRegistered && known.node == nil)
    #expect(known.altmap?.base == 1024 && known.altmap?.free == 16 && known.altmap?.alloc == 16)
    #expect(known.memmap == AddressRange(start: known.addressRange.start, byteCount: .kibibytes(64)))
    try arena.register(sections)
    try arena.online(sections)
    var box: Box? = Box(try arena.allocate(pages: 1000))
    box?.fill(7)
    #expect(throws: HotplugError.busy) { try arena.offline(sections) }
    #expect(box?.holds(7) == true)
    #expect(arena.memorySection(middle)?.state == .online)
    box = nil
    try arena.offline(sections)
    #expect(try Mappings(in: arena.addressRange).resident == .kibibytes(3 * 64), "the descriptors")
    #expect(throws: HotplugError.invalid) { try arena.remove(sections) }
    for index in sections { try arena.remove(index..<index.advanced(by: 1)) }
    let after = try Mappings(in: arena.addressRange)
    #expect(after.resident == .zero && after.count == before.count)
    #expect(arena.memorySection(middle) == nil)
  }

  @Test func memmapsOutside() throws {
    let arena = try Arena(reserving: .mebibytes(64), configuration: .init(sectionSize: .mebibytes(4)))
    var options = Arena.AddOptions()
    options.memmap = .reserved
    #expect(throws: HotplugError.noMemory) { try arena.add(options: options) }
    try arena.reserveMemmaps(count: 1)
    try arena.add(options: options)
    options.memmap = .outside(node: 0)
    options.node = 0
    let outside = try arena.add(options: options)
    let known = try #require(arena.memorySection(outside.lowerBound))
    #expect(known.altmap == nil && known.node == 0 && !arena.addressRange.contains(known.memmap.start))
    try arena.online(outside)
    #expect(arena.statistics().memmap == .zero)
    #expect(Box(try arena.allocate(pages: 1024)).holds(0), "all of its pages are for use")
    options.node = 63
    #expect(throws: HotplugError.invalid) { try arena.add(options: options) }
  }

  @Test func movableZones() throws {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    let arena = try Arena(reserving: .mebibytes(64), configuration: configuration)
    var options = Arena.AddOptions()
    options.isEarly = true
    let first = try arena.add(options: options)
    try arena.online(first, in: .normal)
    try arena.online(try arena.add(sections: 4), in: .automatic())
    let kinds = (0..<5).map { arena.memorySection(SectionIndex(rawValue: $0))?.zone }
    #expect(kinds == [.normal, .movable, .movable, .movable, .normal])
    #expect(arena.memorySection(first.lowerBound)?.isEarly == true)
    #expect(arena.zones.map(\.kind) == [.normal, .movable])
    #expect(arena.zones[1].present == .mebibytes(12))
    let page = Box(try arena.allocate(pages: 1, isMovable: true))
    #expect(arena.zones[1].allocated == .kibibytes(4) && page.holds(0))

    var block = try arena.allocateRelocatable(byteCount: .mebibytes(1))
    block.withPinned { $0.storeBytes(of: 7, toByteOffset: 99, as: UInt8.self) }
    #expect(arena.zones[1].allocated == .kibibytes(1028), "a pin for the moment moves nothing")
    let range = block.pin()
    #expect(arena.zones[0].allocated == .mebibytes(1) && range.byteCount == .mebibytes(1))
    let isPinned = block.isPinned
    #expect(isPinned && arena.zones[1].allocated == .kibibytes(4))
    block.withBytes { #expect(unsafe $0.unsafeLoad(fromByteOffset: 99, as: UInt8.self) == 7) }
    let second = first.lowerBound.advanced(by: 2)
    try arena.offline(second..<second.advanced(by: 1))
    #expect(arena.memorySection(second)?.zone == nil)
    #expect(throws: HotplugError.busy) { try arena.offline(first) }
    block.unpin()
    try arena.offline(first)
    block.withBytes { #expect(unsafe $0.unsafeLoad(fromByteOffset: 99, as: UInt8.self) == 7) }
    _ = block.pin()
  }
}
