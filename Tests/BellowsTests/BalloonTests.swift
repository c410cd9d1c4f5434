import Bellows
import Glibc
import SystemPackage
import Testing

/// An arena of so many sections, and one more that stays inaccessible: the kernel makes one mapping of accessible
/// memory that touches, so what smaps says of the arena would be said of a neighbour too.
private final class Fenced {
  let arena: Arena
  private let fence: DeviceMemory

  init(_ sections: Int, of size: ByteCount = .mebibytes(4)) throws {
    arena = try Arena(
      reserving: .bytes((sections + 1) * size.rawValue), configuration: .init(sectionSize: size))
    fence = try arena.addDevice(.none(size), configuration: .init(section: SectionIndex(rawValue: sections)))
  }
}

@Suite("Balloon")
struct BalloonTests {

  /// What a section has behind its descriptors.
  private static let usable = ByteCount.bytes((4 << 20) / 64 * 63)

  @Test func row0gASectionComesOnlineIntoTheBalloon() throws {
    let fenced = try Fenced(1)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(answersShortage: false))
    #expect(try balloon.addSection() == SectionIndex(rawValue: 0))
    #expect(balloon.statistics().held == Self.usable && balloon.statistics().managed == .zero)
    #expect(arena.statistics().withheld == Self.usable)
    #expect(arena.statistics().present == .mebibytes(4))
    #expect(try Mappings(in: arena.addressRange).resident == .kibibytes(64), "descriptors, and nothing else")
    #expect(throws: AllocationError.exhausted) { _ = try arena.allocate(pages: 1) }
    #expect(throws: Errno.noMemory) { try balloon.addSection() }
  }

  @Test func row1cTheRangesOwnRssGrowsByExactlyWhatIsDeflated() throws {
    let fenced = try Fenced(1)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(answersShortage: false))
    try balloon.addSection()
    var dice = Dice(seed: 1)
    while balloon.statistics().held > .zero {
      let before = try Mappings(in: arena.addressRange).resident
      let change = balloon.deflate(by: .pages(Int.random(in: 1...300, using: &dice)))
      #expect(try Mappings(in: arena.addressRange).resident - before == change.byteCount)
    }
    #expect(balloon.deflate(by: 1) == Balloon.Change(byteCount: .zero, reason: .noSpace))
    let box = Box(try arena.allocate(pages: 1008))
    box.fill(3)
    #expect(box.holds(3))
  }

  @Test func inflatingGivesTheMemoryBack() throws {
    let fenced = try Fenced(1)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(floor: .mebibytes(1)))
    do {
      let box = Box(try arena.allocate(pages: 1008))
      box.fill(9)
      #expect(balloon.inflate(by: .mebibytes(1)) == Balloon.Change(byteCount: .zero, reason: .resourceBusy))
    }
    let change = balloon.inflate(by: .mebibytes(64))
    #expect(change == Balloon.Change(byteCount: Self.usable - .mebibytes(1), reason: .noSpace))
    let resident = try Mappings(in: arena.addressRange).resident
    #expect(resident >= .mebibytes(1) && resident <= .mebibytes(1) + .kibibytes(64))
    #expect(residentPages(of: arena.addressRange) * 4096 == resident.rawValue)
  }

  @Test func anAllocationAboutToFailDeflates() throws {
    let fenced = try Fenced(2)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(kept: .mebibytes(1)))
    try balloon.addSection()
    try balloon.addSection()
    let heap = try arena.makeHeap()
    var boxes: [Box] = []
    while let block = try? heap.allocate(byteCount: 20000) { boxes.append(Box(block)) }
    for (place, box) in boxes.enumerated() { box.fill(UInt64(place)) }
    for (place, box) in boxes.enumerated() { #expect(box.holds(UInt64(place))) }
    let figures = balloon.statistics()
    #expect(
      figures.held >= .mebibytes(1) && figures.held < .mebibytes(1) + .kibibytes(256), "\(figures.held)")
    #expect(figures.relieved == figures.managed && figures.inflated == .zero)
  }

  @Test func row1aTwoBalloonsADeviceAndAHeapNeverMeet() throws {
    let fenced = try Fenced(12)
    let arena = fenced.arena
    let balloons = try (0..<2).map { _ in try arena.makeBalloon(.init(answersShortage: false)) }
    let places = try (0..<4).map { try balloons[$0 % 2].addSection() }
    let device = try arena.addDevice(.memory(.mebibytes(3)))
    let heap = try arena.makeHeap()
    let subBlocks = try arena.subBlocks()
    let plugged = try subBlocks.addSection()
    func range(_ section: SectionIndex) -> AddressRange {
      AddressRange(start: arena.addressRange.start + UInt(section.rawValue) << 22, byteCount: .mebibytes(4))
    }
    var dice = Dice(seed: 8)
    var blocks: [Box] = []
    for step in 0..<4000 {
      switch Int.random(in: 0..<12, using: &dice) {
      case 0: balloons[0].deflate(by: .pages(Int.random(in: 1...40, using: &dice)))
      case 1: balloons[1].deflate(by: .pages(Int.random(in: 1...40, using: &dice)))
      case 2: balloons[step % 2].inflate(by: .pages(Int.random(in: 1...40, using: &dice)))
      case 3:
        var unit = try device.acquire(step % device.unitCount)
        var bytes = unit.mutableBytes
        bytes.storeBytes(of: step, toByteOffset: 0, as: Int.self)
        let start = unit.addressRange.start
        #expect(device.addressRange.contains(start))
      case 4...8:
        if blocks.count < 300,
          let block = try? heap.allocate(byteCount: .bytes(Int.random(in: 1...30000, using: &dice)))
        {
          blocks.append(Box(block))
          blocks.last?.fill(UInt64(blocks.last?.range.start ?? 0))
          #expect(!device.addressRange.contains(blocks[blocks.count - 1].range.start))
          #expect(!range(plugged).contains(blocks[blocks.count - 1].range.start), "unplugged")
        }
      default:
        if let place = blocks.indices.randomElement(using: &dice) {
          #expect(blocks[place].holds(UInt64(blocks[place].range.start)))
          blocks.swapAt(place, blocks.count - 1)
          blocks.removeLast()
        }
      }
    }
    for box in blocks { #expect(box.holds(UInt64(box.range.start))) }
    let held = balloons.reduce(ByteCount.zero) { $0 + $1.statistics().held }
    let figures = arena.statistics()
    #expect(figures.withheld == held + subBlocks.unplugged)
    #expect(figures.present == .mebibytes(4 * figures.sections) && places.count == 4)
  }

  @Test func itFollowsATarget() throws {
    let fenced = try Fenced(4)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(grows: true))
    balloon.setTarget(.mebibytes(10))
    #expect(balloon.credit == .mebibytes(10) && arena.statistics().sections == 0)
    #expect(balloon.advance() == Balloon.Change(byteCount: .mebibytes(10), reason: nil))
    #expect(arena.statistics().sections == 3 && balloon.credit == .zero && balloon.nextRound == nil)
    balloon.setTarget(.mebibytes(1))
    #expect(balloon.advance() == Balloon.Change(byteCount: .mebibytes(9), reason: nil))
    #expect(try Mappings(in: arena.addressRange).resident == .mebibytes(1) + .kibibytes(3 * 64))
    balloon.setTarget(.mebibytes(30))
    #expect(balloon.advance().reason == .noMemory, "more than the capacity")
    #expect(balloon.statistics().held == .zero && balloon.nextRound != nil)
    #expect(balloon.advance().reason == .resourceTemporarilyUnavailable, "not due")
  }

  @Test func followingEndsWithItsTask() async throws {
    let fenced = try Fenced(1)
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(grows: true))
    balloon.setTarget(.mebibytes(2))
    let task = Task { try await balloon.follow() }
    while balloon.statistics().managed < .mebibytes(2) { await Task.yield() }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func theRecordsOfBalloonsThatAreGoneServeAgain() throws {
    let fenced = try Fenced(4)
    let arena = fenced.arena
    let first = arena.statistics().metadata
    for _ in 0..<10000 { _ = try arena.makeBalloon() }
    #expect(arena.statistics().metadata <= first + .mebibytes(2))
    do {
      let balloon = try arena.makeBalloon()
      try balloon.addSection()
      _ = balloon.deflate(by: .pages(10))
    }
    // Its pages are ordinary free pages now.
    #expect(arena.statistics().withheld == .zero)
    let box = Box(try arena.allocate(pages: 900))
    #expect(box.isZero)
  }
}

@Suite("Huge page pool")
struct HugePagePoolTests {
  @Test func row0eFreshHugePagesAreClaimedBeforeTheAllocatorSeesThem() throws {
    let fenced = try Fenced(1, of: .mebibytes(128))
    let arena = fenced.arena
    let pool = try arena.makeHugePagePool()
    try pool.addSection()
    #expect(pool.count == 63 && pool.pageSize == .mebibytes(2))
    #expect(throws: AllocationError.exhausted) { _ = try arena.allocate(pages: 1) }
    do {
      var page = try pool.take()
      var bytes = page.mutableBytes
      bytes.storeBytes(of: 5, toByteOffset: 4096, as: Int.self)
      let range = page.addressRange
      #expect(range.start % (2 << 20) == 0 && pool.count == 62)
      #expect(try Mappings(in: arena.addressRange).resident == .mebibytes(4), "the page, and the descriptors")
      _ = consume page
    }
    #expect(pool.count == 63)
    #expect(try Mappings(in: arena.addressRange).resident == .mebibytes(2))
    #expect(pool.release(2) == 2 && pool.count == 61)
    let box = Box(try arena.allocate(pages: 512))
    box.fill(1)
    #expect(box.holds(1))
  }

  @Test func pageblocksMustBeHugePages() throws {
    let arena = try Arena(reserving: .mebibytes(16), configuration: .init(sectionSize: .mebibytes(4)))
    #expect(throws: Errno.invalidArgument) { _ = try arena.makeHugePagePool() }
    let pool = try Arena(reserving: .mebibytes(128)).makeHugePagePool(of: .reserved)
    #expect(throws: Errno.noSpace) { _ = try pool.take() }
  }

  @Test func aBalloonOfPageblocks() throws {
    let fenced = try Fenced(2, of: .mebibytes(128))
    let arena = fenced.arena
    let balloon = try arena.makeBalloon(.init(unit: .pageblock))
    try balloon.addSection()
    #expect(balloon.deflate(by: .mebibytes(3)).byteCount == .mebibytes(4))
    #expect(balloon.inflate(by: .mebibytes(4)).byteCount == .mebibytes(4))
    #expect(try Mappings(in: arena.addressRange).resident == .mebibytes(2))
  }
}

@Suite("Sub-blocks")
struct SubBlocksTests {
  @Test func row1gOneSubBlockIsUnplugged() throws {
    let fenced = try Fenced(1, of: .mebibytes(128))
    let arena = fenced.arena
    let subBlocks = try arena.subBlocks()
    let boxes = try (0..<63).map { _ in Box(try arena.allocate(pages: 512)) }
    for (place, box) in boxes.enumerated() { box.fill(UInt64(place)) }
    #expect(subBlocks.all.count == 63 && subBlocks.all.allSatisfy { $0.isPlugged && $0.usedPages == 512 })
    #expect(throws: Errno.resourceBusy) { try subBlocks.unplug(boxes[9].range.start) }
    var rest = boxes
    let range = rest.remove(at: 9).range
    _ = consume boxes
    #expect(subBlocks.all.filter { $0.usedPages == 0 }.map(\.addressRange) == [range])
    let before = try Mappings(in: arena.addressRange)
    try subBlocks.unplug(range.start)
    let after = try Mappings(in: arena.addressRange)
    // At most the page of descriptors that says so is new.
    let fallen = before.resident - after.resident
    #expect(fallen <= .mebibytes(2) && fallen >= .mebibytes(2) - .kibibytes(32), "\(fallen)")
    #expect(before.count == after.count || KernelFeature.guardInstall.probe() != nil)
    #expect(subBlocks.unplugged == .mebibytes(2) && arena.statistics().withheld == .mebibytes(2))
    #expect(throws: AllocationError.exhausted) { _ = try arena.allocate(pages: 1) }
    try subBlocks.plug(range.start)
    #expect(throws: Errno.fileExists) { try subBlocks.plug(range.start) }
    #expect(throws: Errno.invalidArgument) { try subBlocks.plug(arena.addressRange.start) }
    let again = Box(try arena.allocate(pages: 512))
    #expect(again.range == range && again.isZero)
    for (place, box) in rest.enumerated() { #expect(box.holds(UInt64(place < 9 ? place : place + 1))) }
  }

  @Test func row1gAnAccessToWhatIsUnpluggedFaults() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let arena = try Arena(reserving: .mebibytes(128))
      let subBlocks = try arena.subBlocks()
      do { _ = try arena.allocate(pages: 512) }
      guard let first = subBlocks.all.first else { exit(1) }
      try subBlocks.unplug(first.addressRange.start)
      unsafe UnsafeMutablePointer<UInt8>(bitPattern: first.addressRange.start + 100)?.pointee = 1
    }
  }
}
