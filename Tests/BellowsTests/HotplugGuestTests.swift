import Bellows
import Synchronization
import Testing

private func makeArena(
  sections: Int = 8, size: ByteCount = .mebibytes(4), perBlock: Int = 1
) throws -> Arena {
  var configuration = Arena.Configuration(sectionSize: size)
  configuration.growsByNeed = false
  configuration.sectionsPerBlock = perBlock
  return try Arena(reserving: .bytes(sections * size.rawValue), configuration: configuration)
}

private func index(_ value: Int) -> SectionIndex { SectionIndex(rawValue: value) }

private func range(_ first: Int, _ end: Int) -> Range<SectionIndex> { index(first)..<index(end) }

/// What was seen, in order.
private final class Log<Entry: Sendable>: Sendable {
  private let entries = Mutex<[Entry]>([])
  func note(_ entry: Entry) { entries.withLock { $0.append(entry) } }
  var all: [Entry] { entries.withLock { $0 } }
  func take() -> [Entry] {
    entries.withLock { entries in
      defer { entries = [] }
      return entries
    }
  }
}

@Suite("Who has a hand in sections")
struct HotplugGuestTests {
  // MARK: Hooks

  @Test func row0eAHookMayTakeFreshPagesBeforeTheAllocator() throws {
    let arena = try makeArena(sections: 2, size: .mebibytes(128))
    let runs = Log<AddressRange>()
    var options = Arena.AddOptions()
    options.hook = OnlineHook { run in
      runs.note(run)
      return run.byteCount == .mebibytes(64) ? .release : .keep
    }
    let added = try arena.add(options: options)
    try arena.online(added)
    #expect(runs.all.map { $0.byteCount.rawValue >> 20 } == [2, 4, 8, 16, 32, 64])
    #expect(runs.all.allSatisfy { $0.start % UInt($0.byteCount.rawValue) == 0 })
    let known = try #require(arena.memorySection(index(0)))
    #expect(known.present == .mebibytes(128) && known.managed == .mebibytes(64) && known.used == .zero)
    #expect(residentPages(of: known.addressRange) == 512, "the descriptors alone")
    #expect(throws: HotplugError.busy) { try arena.offline(added) }
    #expect(throws: HotplugError.busy) { try arena.setHook(nil, of: added) }
    for run in runs.all.dropLast() { try arena.supply(run) }
    #expect(throws: HotplugError.invalid) { try arena.supply(runs.all[0]) }
    #expect(arena.memorySection(index(0))?.managed == .mebibytes(126))
    try arena.offline(added)
    try arena.setHook(nil, of: added)
    try arena.online(added)
    #expect(runs.all.count == 6)
  }

  /// Two who keep pages, sections alternating: each gets its own alone.
  @Test func row1aTwoHooksNeverMeet() throws {
    let arena = try makeArena()
    let logs = [Log<AddressRange>(), Log<AddressRange>()]
    for place in 0..<6 {
      var options = Arena.AddOptions()
      let log = logs[place % 2]
      options.hook = OnlineHook { run in
        log.note(run)
        return .keep
      }
      try arena.add(options: options)
    }
    try arena.online(range(0, 6))
    for (parity, log) in logs.enumerated() {
      let sections = Set(log.all.map { Int($0.start - arena.addressRange.start) >> 22 })
      #expect(sections == [parity, parity + 2, parity + 4])
      #expect(log.all.reduce(0) { $0 + $1.byteCount.rawValue } == 3 * (4 << 20 - 64 << 10))
    }
  }

  // MARK: Strategies

  @Test func row2bStrategies() throws {
    let arena = try makeArena()
    let steps = Log<String>()
    let answer = Mutex<HotplugError?>(.noSpace)
    var options = Arena.AddOptions()
    options.strategy = SectionStrategy(
      setUp: { plan throws(HotplugError) in
        steps.note("set up \(plan.memmap == nil)")
        plan.altmap?.reserve = 32
      },
      construct: { plan throws(HotplugError) in
        let memmap = plan.memmap
        steps.note("construct \(residentPages(of: memmap ?? plan.addressRange))")
        if let refusal = answer.withLock({ $0 }) { throw refusal }
      }, tearDown: { steps.note("tear down \($0.memmap == nil)") })
    let before = try Mappings(in: arena.addressRange)
    #expect(throws: HotplugError.noSpace) { try arena.add(options: options) }
    #expect(steps.take() == ["set up true", "construct 16", "tear down true"])
    #expect(arena.memorySection(index(0)) == nil)
    #expect(try Mappings(in: arena.addressRange).resident == before.resident)
    answer.withLock { $0 = nil }
    let added = try arena.add(options: options)
    let known = try #require(arena.memorySection(index(0)))
    #expect(known.altmap?.reserve == 32 && known.memmap.start == arena.addressRange.start + 32 * 4096)
    try arena.online(added)
    #expect(arena.memorySection(index(0))?.managed == .bytes(4 << 20 - 48 * 4096))
    try arena.offline(added)
    try arena.remove(added)
    #expect(steps.take() == ["set up true", "construct 16", "tear down true"])
  }

  // MARK: Storage and spares

  @Test func row0cStorageOfTheCallers() throws {
    let owner = try makeArena(sections: 2)
    try owner.online(try owner.add())
    let storage = try owner.allocate(byteCount: .kibibytes(128))
    let arena = try makeArena()
    var options = Arena.AddOptions()
    options.memmap = .storage(AddressRange(start: storage.addressRange.start, byteCount: .kibibytes(127)))
    #expect(throws: HotplugError.invalid) { try arena.add(sections: 2, options: options) }
    options.memmap = .storage(storage.addressRange)
    let added = try arena.add(sections: 2, options: options)
    let known = try #require(arena.memorySection(index(1)))
    #expect(known.memmap.start == storage.addressRange.start + 65536 && known.altmap == nil)
    #expect(known.outsideMemmap == .kibibytes(64))
    try arena.online(added)
    #expect(try Mappings(in: arena.addressRange).resident == .zero)
    #expect(Box(try arena.allocate(pages: 1024)).holds(0), "all of its pages are for use")
    try arena.offline(added)
    try arena.remove(added)
    _ = storage.byteCount
  }

  @Test func row0bSparesAreKept() throws {
    let arena = try makeArena()
    try arena.keepSpares(3)
    #expect(arena.spares == 3 && arena.memorySection(index(2))?.isSpare == true)
    #expect(try Mappings(in: arena.addressRange).resident == .kibibytes(3 * 64), "their descriptors")
    #expect(throws: AllocationError.exhausted) { Box(try arena.allocate(pages: 1)) }
    let metadata = arena.statistics().metadata
    #expect(try arena.onlineSpare() == range(0, 1))
    #expect(arena.statistics().metadata == metadata && arena.spares == 2)
    let box = Box(try arena.allocate(pages: 1008))
    box.fill(3)
    try arena.keepSpares(3)
    #expect(arena.spares == 3)
    try arena.keepSpares(0)
    #expect(arena.spares == 0 && arena.memorySection(index(1)) == nil && box.holds(3))
    #expect(throws: HotplugError.noSpace) { try arena.onlineSpare() }
  }

  // MARK: Where descriptors are

  /// Descriptors inside cost nothing elsewhere; outside 2 MiB a section; both are on the section's node.
  @Test func row3aMemmapsInsideAndOutsideAndTheirNodes() throws {
    let arena = try makeArena(sections: 4, size: .mebibytes(128))
    let node = 0
    var options = Arena.AddOptions()
    options.node = node
    for memmap in [.selfHosted, .outside()] as [Arena.Memmap] {
      options.memmap = memmap
      let before = try Mappings(in: arena.addressRange).resident
      let place = try arena.add(options: options).lowerBound
      let known = try #require(arena.memorySection(place))
      let isInside = memmap == .selfHosted
      #expect(known.outsideMemmap == (isInside ? .zero : .mebibytes(2)))
      #expect(arena.addressRange.contains(known.memmap) == isInside)
      #expect(
        try Mappings(in: arena.addressRange).resident.rawValue - before.rawValue == (isInside ? 2 << 20 : 0))
      let placement = PagePlacement(of: known.memmap)
      #expect(placement.absentPages == 0 && placement.pages == [NodeNumber(rawValue: node): 512])
      try arena.online(place..<place.advanced(by: 1))
      var box: Box? = Box(try arena.allocate(pages: 600))
      box?.fill(9)
      let pages = PagePlacement(of: arena.memorySection(place)?.addressRange ?? arena.addressRange)
      #expect(pages.nodes == [NodeNumber(rawValue: node)])
      #expect(box?.holds(9) == true)
      box = nil
      try arena.offline(place..<place.advanced(by: 1))
    }
  }

  // MARK: Observers

  @Test func observersAreAskedAndMayObject() throws {
    let arena = try makeArena()
    let (high, low) = (Log<HotplugNotice>(), Log<HotplugEvent>())
    let objection = Mutex<(HotplugEvent, HotplugError)?>(nil)
    let second = try arena.observe(priority: -1) { low.note($0.event) }
    let first = try arena.observe(priority: 7) { [weak arena] notice throws(HotplugError) in
      high.note(notice)
      var answers: [HotplugError] = []
      do throws(HotplugError) { try arena?.online(range(1, 2)) } catch { answers.append(error) }
      #expect(answers == [.deadlock])
      if let (event, error) = objection.withLock({ $0 }), event == notice.event { throw error }
    }
    let added = try arena.add()
    #expect(high.all.isEmpty)
    objection.withLock { $0 = (.nodeAddingFirst, .notPermitted) }
    #expect(throws: HotplugError.notPermitted) { try arena.online(added) }
    #expect(high.take().map(\.event) == [.nodeAddingFirst, .cancelOnline, .nodeCancelAddingFirst])
    #expect(low.take() == [.cancelOnline, .nodeCancelAddingFirst], "told of what it was not asked")
    objection.withLock { $0 = (.goingOnline, .noMemory) }
    #expect(throws: HotplugError.noMemory) { try arena.online(added) }
    objection.withLock { $0 = nil }
    _ = (high.take(), low.take())
    try arena.online(added)
    let told = high.take()
    #expect(told.map(\.event) == [.nodeAddingFirst, .goingOnline, .nodeAddedFirst, .online])
    #expect(told[1].section == index(0) && told[1].node == nil && told[1].event.isQuestion)
    #expect(
      told[1].addressRange
        == AddressRange(start: arena.addressRange.start + 65536, byteCount: .bytes(4 << 20 - 65536)))
    #expect(low.take() == told.map(\.event))
    second.end()
    objection.withLock { $0 = (.goingOffline, HotplugError(errno: 5)) }
    #expect(throws: HotplugError(errno: 5)) { try arena.offline(added) }
    #expect(arena.memorySection(index(0))?.state == .online && low.all.isEmpty)
    objection.withLock { $0 = nil }
    first.end()
    try arena.offline(added)
    #expect(high.all.last?.event == .nodeCancelRemovingLast)
  }

  /// An observation that nobody keeps has ended, and keeps nobody.
  @Test func whatIsLetGoOfEnds() throws {
    weak var kept: Log<HotplugEvent>?
    weak var released: Arena?
    do {
      let arena = try makeArena()
      released = arena
      do {
        let log = Log<HotplugEvent>()
        kept = log
        let observation = try arena.observe { log.note($0.event) }
        try arena.online(try arena.add())
        #expect(log.all.last == .online)
        observation.end()
      }
      #expect(kept == nil)
      try arena.offline(range(0, 1))
    }
    #expect(released == nil)
  }

  /// Hooks that were replaced are let go of, those that sections and groups have stay.
  @Test func hooksThatNobodyHasGo() throws {
    final class Alive: Sendable {
      let count: Log<Int>
      init(_ count: Log<Int>) {
        self.count = count
        count.note(1)
      }
      deinit { count.note(-1) }
    }
    let arena = try makeArena()
    let alive = Log<Int>()
    func hook() -> OnlineHook {
      let mark = Alive(alive)
      return OnlineHook { _ in
        _ = mark
        return .keep
      }
    }
    let group = try arena.makeGroup(.static(byteCount: .mebibytes(128)), hook: hook())
    let added = try arena.add(sections: 2)
    for _ in 0..<1000 { try arena.setHook(hook(), of: added) }
    #expect(alive.all.reduce(0, +) < 100)
    try arena.online(added)
    #expect(arena.memorySection(added.lowerBound)?.managed == .zero, "the last hook is asked")
    try arena.endGroup(group)
    for _ in 0..<1000 { try arena.observe { _ in }.end() }
  }

  @Test(.timeLimit(.minutes(1))) func eventsAreABoundedSequence() async throws {
    let arena = try makeArena()
    let events = try arena.hotplugEvents(keeping: 3)
    let added = try arena.add()
    for _ in 0..<5 {
      try arena.online(added)
      try arena.offline(added)
    }
    // 5 times 4 and 4; the last three are kept.
    var iterator = events.makeAsyncIterator()
    var seen: [HotplugNotice] = []
    for _ in 0..<3 { if let notice = await iterator.next() { seen.append(notice) } }
    #expect(seen.map(\.number) == [37, 38, 39])
    #expect(seen.map(\.event) == [.goingOffline, .nodeRemovedLast, .offline])
    try arena.online(added)
    let next = await iterator.next()
    #expect(next?.number == 40 || next?.number == 41, "none is lost but what was dropped")
  }

  @Test func sequencesThatNobodyReadsEnd() throws {
    weak var released: Arena?
    do {
      let arena = try makeArena()
      released = arena
      do {
        let events = try arena.hotplugEvents()
        _ = events.makeAsyncIterator()
      }
      try arena.online(try arena.add())
    }
    #expect(released == nil)
  }

  // MARK: Blocks and groups

  @Test func memoryBlocksOfSeveralSections() throws {
    #expect(throws: ArenaError.invalidBlockSize) { try makeArena(perBlock: 0) }
    #expect(throws: ArenaError.invalidBlockSize) { try makeArena(sections: 2, perBlock: 3) }
    let arena = try makeArena(perBlock: 2)
    #expect(throws: HotplugError.invalid) { try arena.add() }
    #expect(throws: HotplugError.invalid) { try arena.add(sections: 2, at: index(1)) }
    try arena.add(sections: 2, at: index(4))
    try arena.add(sections: 2)
    #expect(throws: HotplugError.invalid) { try arena.online(range(4, 5)) }
    try arena.register(range(4, 6))
    try arena.online(range(4, 6))
    let blocks = arena.memoryBlocks
    #expect(blocks.map(\.number) == [0, 2] && blocks.map(\.state) == [.offline, .online])
    #expect(blocks.map(\.isRegistered) == [false, true])
    #expect(blocks[1].addressRange.start == arena.addressRange.start + 16 << 20)
    #expect(blocks[1].addressRange.byteCount == .mebibytes(8))
    #expect(arena.memorySection(index(5))?.block == 2 && arena.block(of: index(5)) == range(4, 6))
    try arena.offline(range(4, 6))
    try arena.remove(range(4, 6))
    try arena.keepSpares(2)
    #expect(arena.spares == 2)
    #expect(try arena.onlineSpare() == range(2, 4))
  }

  @Test func memoryGroupsGoAsOne() throws {
    let arena = try makeArena()
    let count = Log<AddressRange>()
    let module = try arena.makeGroup(.static(byteCount: .mebibytes(12)), node: 0)
    let device = try arena.makeGroup(
      .dynamic(unit: .mebibytes(8)),
      hook: OnlineHook { run in
        count.note(run)
        return .release
      })
    #expect(throws: HotplugError.invalid) { try arena.makeGroup(.dynamic(unit: .mebibytes(12))) }
    var options = Arena.AddOptions()
    options.group = module
    try arena.add(sections: 3, options: options)
    #expect(throws: HotplugError.noSpace) { try arena.add(options: options) }
    options.group = device
    #expect(throws: HotplugError.invalid) { try arena.add(options: options) }
    #expect(try arena.add(sections: 2, options: options) == range(4, 6))
    #expect(arena.memorySection(index(1))?.node == 0 && arena.memorySection(index(1))?.group == module)
    try arena.online(range(0, 2))
    #expect(count.all.isEmpty)
    try arena.online(range(4, 6))
    #expect(count.all.reduce(0) { $0 + $1.byteCount.rawValue } == 2 * (4 << 20 - 65536))
    try arena.offline(range(4, 6))
    #expect(throws: HotplugError.busy) { try arena.endGroup(module) }
    var box: Box? = Box(try arena.allocate(pages: 700))
    box?.fill(1)
    #expect(throws: HotplugError.busy) { try arena.removeSections(of: module) }
    #expect(arena.memoryBlocks.map(\.state) == [.online, .online, .offline, .offline, .offline])
    #expect(box?.holds(1) == true)
    box = nil
    try arena.removeSections(of: module)
    #expect(arena.memoryBlocks.map(\.number) == [4, 5])
    try arena.endGroup(module)
    #expect(throws: HotplugError.invalid) { try arena.removeSections(of: module) }
  }
}
