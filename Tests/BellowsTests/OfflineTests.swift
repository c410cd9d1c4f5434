import Bellows
import Testing

@Suite("Sections of an arena go offline and come back")
struct OfflineTests {
  private let first = SectionIndex(rawValue: 0)

  private func arena() throws -> Arena {
    try Arena(reserving: .mebibytes(64), configuration: .init(sectionSize: .mebibytes(4)))
  }

  @Test func aSectionWithBlocksStaysAndSaysWhy() throws {
    let arena = try arena()
    let heap = try arena.makeHeap()
    let other = try arena.makeHeap()
    do {
      let block = try heap.allocate(byteCount: 100)
      let second = try other.allocate(byteCount: 3000)
      let address = block.addressRange.start
      let refused = try arena.takeOffline(first)
      #expect(!refused.isWhole && refused.taken == .zero)
      let report = try arena.takeOffline(first, policy: .stay)
      let reasons = Set(report.blockers.map(\.reason))
      #expect(reasons == [.blocks(.bytes(112)), .blocks(.bytes(3072))])
      #expect(report.blockers.allSatisfy { $0.count == 1 })
      #expect(arena.isOutOfCirculation(address))
      let elsewhere = try heap.allocate(byteCount: 100)
      #expect(!arena.isOutOfCirculation(elsewhere.addressRange.start))
      _ = block.byteCount
      _ = second.byteCount
    }
    #expect(try arena.takeOffline(first, policy: .stay).isWhole)
    #expect(arena.sections.count == 2 && arena.sections[0].usedPages == 0)
    #expect(throws: OfflineError.noSuchSection) { try arena.takeOffline(first) }
    try arena.bringBack(first)
    #expect(throws: OfflineError.noSuchSection) { try arena.bringBack(first) }
    #expect(throws: OfflineError.noSuchSection) { try arena.takeOffline(SectionIndex(rawValue: 99)) }
  }

  /// A time is whatever somebody computed: for ever, less than nothing, less than a millisecond.
  @Test(
    arguments: [
      .seconds(Int64.max), .seconds(Int64.max / 1000), .seconds(Int64.min), .zero, .nanoseconds(-1),
      .nanoseconds(1),
      .milliseconds(1),
    ] as [Duration])
  func anyDurationWillDo(limit: Duration) throws {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    let arena = try Arena(reserving: .mebibytes(64), configuration: configuration)
    let added = try arena.add(sections: 2)
    try arena.online(added)
    try arena.offline(added, within: limit)
    try arena.online(added)
    #expect(try arena.takeOffline(first, within: limit).isWhole)
    let group = try arena.makeGroup(.static(byteCount: .mebibytes(4)))
    var options = Arena.AddOptions()
    options.group = group
    try arena.online(try arena.add(options: options))
    try arena.removeSections(of: group, within: limit)
    #expect(throws: OfflineError.notInstalled) { try ProcessHeap.offline(.zero, within: limit) }
    #expect(throws: ProcessHeap.DrainError.notInstalled) {
      try ProcessHeap.drain(NodeNumber(rawValue: 0), within: limit)
    }
  }

  @Test func relocatableBlocksMove() throws {
    let arena = try arena()
    var block = try arena.allocateRelocatable(byteCount: .kibibytes(100))
    let before = block.withPinned { bytes in
      for place in 0..<bytes.byteCount {
        bytes.storeBytes(of: UInt8(place & 255), toByteOffset: place, as: UInt8.self)
      }
      return unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
    let pinned = try block.withBytes { _ in
      let isPinned = block.isPinned
      #expect(isPinned)
      return try arena.takeOffline(first)
    }
    #expect(pinned.blockers.map(\.reason) == [.pinned])
    let isPinned = block.isPinned
    #expect(!isPinned)
    #expect(try arena.takeOffline(first).isWhole)
    let (after, isIntact) = block.withBytes { bytes in
      var isIntact = true
      for place in 0..<bytes.byteCount {
        if unsafe bytes.unsafeLoad(fromByteOffset: place, as: UInt8.self) != UInt8(place & 255) {
          isIntact = false
        }
      }
      return (unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }, isIntact)
    }
    #expect(before != after && isIntact)
    #expect(throws: AllocationError.invalidByteCount) { _ = try arena.allocateRelocatable(byteCount: .zero) }
    #expect(throws: AllocationError.tooLarge) { _ = try arena.allocateRelocatable(byteCount: .mebibytes(3)) }
  }

  @Test func withoutBellowsTheProcessHeapSaysSo() {
    guard !ProcessHeap.isInstalled else { return }
    #expect(throws: OfflineError.notInstalled) { try ProcessHeap.offline(.mebibytes(128)) }
    #expect(throws: OfflineError.notInstalled) { try ProcessHeap.online(.mebibytes(128)) }
    #expect(!ProcessHeap.shouldMove(4096))
  }
}
