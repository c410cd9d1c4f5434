import Bellows
import Glibc
import Testing

@Suite("Arena")
struct ArenaTests {
  @Test func reservesNothingButAddresses() throws {
    let arena = try Arena(reserving: .mebibytes(300))
    #expect(arena.addressRange.byteCount == .mebibytes(384), "rounded up to sections of 128 MiB")
    #expect(arena.addressRange.start % (128 << 20) == 0)
    #expect(arena.sections.isEmpty)
    #expect(try Mappings(in: arena.addressRange).resident == .zero)
    let figures = arena.statistics()
    #expect(figures.reserved == .mebibytes(384))
    #expect(figures.committed == .zero && figures.sections == 0)
  }

  /// One after the other: a process has addresses for one of these at a time.
  @Test(
    "64 TiB, by sections of", .serialized,
    arguments: [ByteCount.mebibytes(4), .mebibytes(128), .gibibytes(1)])
  func largestCapacity(sectionSize: ByteCount) throws {
    let arena = try Arena(reserving: .tebibytes(64), configuration: .init(sectionSize: sectionSize))
    #expect(arena.addressRange.byteCount == .tebibytes(64))
    let first = Box(try arena.allocate(byteCount: 100))
    first.fill(1)
    #expect(first.holds(1))
    // No two of these fit into one section.
    let more = try (0..<3).map { _ in Box(try arena.allocate(byteCount: .bytes(sectionSize.rawValue / 8 * 5)))
    }
    for box in more { #expect(arena.addressRange.contains(box.range)) }
    #expect(arena.sections.map(\.index.rawValue) == [0, 1, 2])
    for section in arena.sections {
      let start = arena.addressRange.start + UInt(section.index.rawValue * sectionSize.rawValue)
      #expect(section.addressRange == AddressRange(start: start, byteCount: sectionSize))
    }
    #expect(
      try Mappings(in: arena.addressRange).resident < .mebibytes(1), "only what was written is resident")
  }

  @Test func severalAtOnce() throws {
    let sizes: [ByteCount] = [.mebibytes(4), .mebibytes(8), .mebibytes(128), .gibibytes(1)]
    let arenas = try sizes.map { try Arena(reserving: .gibibytes(4), configuration: .init(sectionSize: $0)) }
    var boxes: [[Box]] = arenas.map { _ in [] }
    for round in 0..<40 {
      for (place, arena) in arenas.enumerated() {
        boxes[place].append(Box(try arena.allocate(pages: 1 + round * 7)))
        boxes[place][round].fill(UInt64(place * 1000 + round))
      }
    }
    for (place, arena) in arenas.enumerated() {
      for (round, box) in boxes[place].enumerated() {
        #expect(box.holds(UInt64(place * 1000 + round)))
        #expect(arenas.filter { $0.addressRange.contains(box.range) }.count == 1)
      }
      #expect(arena.statistics().allocated == .pages((0..<40).reduce(0) { $0 + 1 + $1 * 7 }))
    }
  }

  @Test func allocationsKeepTheirArena() throws {
    weak var arena: Arena?
    var box: Box?
    do {
      let made = try Arena(reserving: .mebibytes(4), configuration: .init(sectionSize: .mebibytes(4)))
      arena = made
      box = Box(try made.allocate(pages: 3))
    }
    #expect(arena != nil)
    box?.fill(7)
    #expect(box?.holds(7) == true)
    box = nil
    #expect(arena == nil)
  }

  @Test func bytesAreZeroAgain() throws {
    let arena = try Arena(reserving: .mebibytes(4), configuration: .init(sectionSize: .mebibytes(4)))
    for _ in 0..<3 {
      var allocation = try arena.allocate(byteCount: 10000)
      var bytes = allocation.mutableBytes
      #expect(bytes.byteCount == 10000)
      for offset in bytes.byteOffsets {
        #expect(unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self) == 0)
        bytes.storeBytes(of: 0xff, toByteOffset: offset, as: UInt8.self)
      }
    }
  }

  @Test func leakedPagesStay() throws {
    let arena = try Arena(reserving: .mebibytes(8), configuration: .init(sectionSize: .mebibytes(4)))
    let leaked = unsafe try arena.allocate(byteCount: 5000).leak()
    #expect(leaked.count == 5000)
    #expect(arena.statistics().allocated == .pages(2))
    unsafe arena.deallocate(leaked)
    #expect(arena.statistics().allocated == .zero)
  }

  @Test func trimReturnsWhatIsFree() throws {
    let arena = try Arena(reserving: .mebibytes(128))
    let kept = Box(try arena.allocate(pages: 100))
    kept.fill(1)
    do {
      let freed = Box(try arena.allocate(pages: 1000))
      freed.fill(2)
    }
    #expect(arena.statistics().freeResident == .pages(1000))
    #expect(residentPages(of: kept.range) == 100)
    #expect(try Mappings(in: arena.addressRange).resident == .pages(1100))
    // Whole pageblocks go, so a little less than what may stay does stay.
    let first = arena.trim(keeping: .pages(600))
    #expect(first >= .pages(400) && first < .pages(1000))
    #expect(try Mappings(in: arena.addressRange).resident == .pages(1100) - first)
    #expect(arena.trim() == .pages(1000) - first)
    #expect(try Mappings(in: arena.addressRange).resident == .pages(100))
    #expect(arena.statistics().returned == .pages(1000))
    #expect(kept.holds(1))
  }
}
