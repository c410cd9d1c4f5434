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
}
