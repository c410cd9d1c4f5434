// What fails leaves nothing behind, and who is told of what in which order.

import BellowsCore
import CShims
import Testing

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

/// Writes down what it is told, and answers what it is to.
final class Recorder: @unchecked Sendable {
  private(set) var events: [HotplugEvent] = []
  private(set) var notices: [HotplugNotice] = []
  var answers: [HotplugEvent: Int32] = [:]
  var body: ((HotplugEvent) -> Void)?

  func forget() { events = [] }

  /// The recorder has to outlive the arena.
  func join(_ arena: ArenaRef, priority: Int = 0) throws(Refusal) -> ObserverRef {
    let context = unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    return try arena.observe(priority: priority, context: context) { context, notice in
      let raw = unsafe UnsafeRawPointer(bitPattern: context)!
      let recorder = unsafe Unmanaged<Recorder>.fromOpaque(raw).takeUnretainedValue()
      let notice = Ref<HotplugNotice>(notice).it
      let event = HotplugEvent(rawValue: notice.event)!
      recorder.events.append(event)
      recorder.notices.append(notice)
      recorder.body?(event)
      return recorder.answers[event] ?? 0
    }
  }
}

private final class Told: @unchecked Sendable {
  var answers: [Refusal?] = []
}

@Suite struct TransactionTests {
  /// Each system call of an addition fails in turn, alone and with all after it; with every placement, for several
  /// sections in one call.
  @Test(arguments: [.required, .outside, .reserve] as [MemmapPlacement])
  func everyStepOfAnAdditionFails(placement: MemmapPlacement) throws {
    for isLasting in [false, true] {
      for n in 1...80 as ClosedRange<UInt> {
        let double = FailingPlatform()
        let fixture = try ArenaFixture.explicit(double: double)
        try fixture.arena.online(0..<fixture.arena.add(AddRequest()) + 1)
        let kept = fixture.arena.it.spareMemmapCount
        if placement == .reserve { try fixture.arena.reserveMemmaps(2) }
        var request = fixture.request(placement)
        request.node = 0
        let before = try Figures(fixture)
        let mapped = double.mappedBytes - fixture.arena.it.metadata.mappedBytes
        double.arm(isLasting ? .from(n) : .nth(n))
        let answer = refusal { () throws(Refusal) in _ = try fixture.arena.add(request, count: 2) }
        let failures = double.failures
        let undone = double.failedUndos
        double.arm(.none)
        if answer != nil {
          try check(answer == .noMemory, "\(placement), call \(n): \(String(describing: answer))")
          var after = try Figures(fixture)
          // What a refused giving-back leaves cannot be restored.
          if undone > 0 || isLasting { after.mappings = before.mappings }
          if undone > 0 { after.resident = before.resident }
          try check(after, is: before, "\(placement), call \(n)")
          if undone == 0 {
            let left = double.mappedBytes - fixture.arena.it.metadata.mappedBytes
            try check(left, is: mapped, "address space, call \(n)")
          }
          try check(fixture.arena.it.births, is: 1, "numbers, call \(n)")
          if placement == .reserve { try check(fixture.arena.it.spareMemmapCount, is: kept + 2, "reserve") }
          try check(try fixture.arena.add(request, count: 2), is: 1, "the next try")
        }
        try fixture.arena.online(1..<3)
        try check(fixture.arena.allocate(pages: 900, alignment: 1) != nil, "usable")
        if failures == 0 { break }
        try check(n < 80, "no end")
      }
    }
  }

  @Test func refusals() throws {
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    _ = try arena.add(AddRequest(), count: 2, at: 1)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), count: 0) } == .invalid)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), at: 2) } == .exists)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), count: 2, at: 0) } == .exists)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), at: 7) } == .tooBig)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(AddRequest(), count: 5) } == .noSpace)
    #expect(refusal { () throws(Refusal) in _ = try arena.add(fixture.request(.reserve)) } == .noMemory)
    var nowhere = AddRequest()
    nowhere.node = 63
    #expect(refusal { () throws(Refusal) in _ = try arena.add(nowhere) } == .invalid)
    #expect(refusal { () throws(Refusal) in try arena.online(0..<1) } == .noDevice)
    #expect(refusal { () throws(Refusal) in try fixture.offline(1..<2) } == .invalid)
    try arena.online(1..<2)
    #expect(refusal { () throws(Refusal) in try arena.online(1..<3) } == .invalid)
    #expect(fixture.record(2).it.state == .offline)
    #expect(refusal { () throws(Refusal) in try arena.remove(1..<2) } == .busy)
    #expect(refusal { () throws(Refusal) in try arena.setHook(1..<2, OnlineHook()) } == .busy)
  }

  /// A pageblock that the memmap does not fill: refused, or outside, never bent.
  @Test func sizesThatCannotHostThemselves() throws {
    let memory = Memory(16384)
    let arena = ArenaRef(memory.address)
    let geometry = try #require(Geometry(sectionBytes: 4 << 20, pageblockBytes: 1 << 20))
    #expect(!geometry.canSelfHost)
    #expect(Geometry(sectionBytes: 1 << 30, pageblockBytes: 1 << 20) == nil, "more than 512 pageblocks")
    try #require(
      arena.initialise(
        geometry: geometry, platform: .system, zone: ZoneRef(memory.address + 1024), capacity: 8 << 20))
    defer {
      arena.releaseMemmaps()
      arena.releaseReservation()
    }
    var request = AddRequest()
    request.placement = .required
    #expect(refusal { () throws(Refusal) in _ = try arena.add(request) } == .invalid)
    request.placement = .preferred
    _ = try arena.add(request)
    let section = arena.knownSection(at: arena.it.reservation)
    #expect(section.it.memory.placement == .outside && section.it.memory.altmap == Altmap())
    try arena.online(0..<1)
    #expect(arena.it.zone.freePages == 1024)
  }

  // MARK: Events

  @Test func orderOfEvents() throws {
    let recorder = Recorder()
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    _ = try recorder.join(arena)
    _ = try arena.add(AddRequest(), count: 2)
    #expect(recorder.events.isEmpty)
    try arena.online(0..<1)
    #expect(recorder.events == [.nodeAddingFirst, .goingOnline, .nodeAddedFirst, .online])
    let notice = recorder.notices[1]
    #expect(notice.start == fixture.reservation + fixture.geometry.memmapBytes && notice.section == 0)
    #expect(notice.bytes == fixture.managedPages << Page.shift && notice.node == -1)
    recorder.forget()
    try arena.online(1..<2)
    #expect(recorder.events == [.goingOnline, .online])
    recorder.forget()
    try fixture.offline(1..<2)
    #expect(recorder.events == [.goingOffline, .offline])
    recorder.forget()
    try fixture.offline(0..<1)
    #expect(recorder.events == [.nodeRemovingLast, .goingOffline, .nodeRemovedLast, .offline])
  }

  @Test func vetoes() throws {
    let recorder = Recorder()
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    _ = try recorder.join(arena)
    _ = try arena.add(AddRequest())
    let offline = try Figures(fixture)
    recorder.answers = [.nodeAddingFirst: -1]
    #expect(refusal { () throws(Refusal) in try arena.online(0..<1) } == .notPermitted)
    // Called off although the question of it was never put.
    #expect(recorder.events == [.nodeAddingFirst, .cancelOnline, .nodeCancelAddingFirst])
    recorder.forget()
    recorder.answers = [.goingOnline: -12]
    #expect(refusal { () throws(Refusal) in try arena.online(0..<1) } == .noMemory)
    #expect(recorder.events == [.nodeAddingFirst, .goingOnline, .cancelOnline, .nodeCancelAddingFirst])
    #expect(try Figures(fixture) == offline && fixture.record(0).it.state == .offline)
    recorder.answers = [:]
    try arena.online(0..<1)
    let online = try Figures(fixture)
    recorder.forget()
    recorder.answers = [.goingOffline: -28]
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<1) } == .noSpace)
    #expect(recorder.events == [.nodeRemovingLast, .goingOffline, .cancelOffline, .nodeCancelRemovingLast])
    recorder.forget()
    recorder.answers = [.nodeRemovingLast: -1]
    #expect(refusal { () throws(Refusal) in try fixture.offline(0..<1) } == .notPermitted)
    #expect(recorder.events == [.nodeRemovingLast, .cancelOffline, .nodeCancelRemovingLast])
    #expect(try Figures(fixture) == online && fixture.record(0).it.state == .online)
    // What is no question is told, not asked.
    recorder.answers = [.offline: -1, .nodeRemovedLast: -1]
    try fixture.offline(0..<1)
  }

  @Test func prioritiesAndCancelsForEverybody() throws {
    let (high, middle, low) = (Recorder(), Recorder(), Recorder())
    var order: [Int] = []
    high.body = { if $0 == .goingOnline { order.append(0) } }
    middle.body = { if $0 == .goingOnline { order.append(1) } }
    low.body = { if $0 == .goingOnline { order.append(2) } }
    let fixture = try ArenaFixture.explicit()
    _ = try low.join(fixture.arena, priority: -5)
    _ = try high.join(fixture.arena, priority: 100)
    let observer = try middle.join(fixture.arena, priority: 10)
    _ = try fixture.arena.add(AddRequest())
    middle.answers = [.goingOnline: -16]
    #expect(refusal { () throws(Refusal) in try fixture.arena.online(0..<1) } == .busy)
    #expect(order == [0, 1])
    #expect(low.events == [.nodeAddingFirst, .cancelOnline, .nodeCancelAddingFirst])
    fixture.arena.endObserving(observer)
    try fixture.arena.online(0..<1)
    #expect(order == [0, 1, 0, 2])
  }

  /// The records of observers that ended are used again, wherever they lie: of equals the one that came first is asked first.
  @Test func observersThatComeAndGoAreAskedInOrder() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest())
    var random = Random(stream: 11)
    var known: [(recorder: Recorder, observer: ObserverRef, priority: Int, number: Int)] = []
    var order: [Int] = []
    let mapped = fixture.arena.it.metadata.mappedBytes
    for number in 0..<600 {
      if known.count > 6 || !known.isEmpty && random.below(3) == 0 {
        fixture.arena.endObserving(known.remove(at: Int(random.below(UInt(known.count)))).observer)
      }
      let recorder = Recorder(), priority = Int(random.below(3))
      recorder.body = { if $0 == .goingOnline { order.append(number) } }
      known.append((recorder, try recorder.join(fixture.arena, priority: priority), priority, number))
      order = []
      try fixture.arena.online(0..<1)
      try fixture.offline(0..<1)
      let expected = known.sorted {
        $0.priority == $1.priority ? $0.number < $1.number : $0.priority > $1.priority
      }
      #expect(order == expected.map(\.number))
    }
    #expect(fixture.arena.it.metadata.mappedBytes == mapped, "records of those that ended are used again")
    for entry in known { fixture.arena.endObserving(entry.observer) }
  }

  /// Sections of one call that were let in come out again.
  @Test func aVetoUndoesEarlierSectionsOfTheCall() throws {
    let recorder = Recorder()
    let fixture = try ArenaFixture.explicit()
    _ = try recorder.join(fixture.arena)
    _ = try fixture.arena.add(AddRequest(), count: 3)
    let before = try Figures(fixture)
    var asked = 0
    recorder.body = { event in
      guard event == .goingOnline else { return }
      asked += 1
      recorder.answers = asked == 3 ? [.goingOnline: -1] : [:]
    }
    #expect(refusal { () throws(Refusal) in try fixture.arena.online(0..<3) } == .notPermitted)
    #expect(recorder.events.filter { $0 == .cancelOnline }.count == 3)
    #expect(recorder.events.filter { $0 == .online }.isEmpty)
    #expect(try Figures(fixture) == before)
    for index in 0..<3 as Range<UInt> { #expect(fixture.record(index).it.state == .offline) }
  }

  @Test func reentryAndConcurrency() throws {
    let recorder = Recorder()
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    _ = try recorder.join(arena)
    _ = try arena.add(AddRequest(), count: 2)
    var answers: [Refusal?] = []
    var others: [Refusal?] = []
    recorder.body = { event in
      guard event == .goingOnline else { return }
      answers.append(refusal { () throws(Refusal) in _ = try arena.add(AddRequest()) })
      answers.append(refusal { () throws(Refusal) in try arena.online(1..<2) })
      answers.append(refusal { () throws(Refusal) in try arena.register(1..<2) })
      // Another thread: the section is taken, its neighbour is not.
      recorder.body = nil
      let told = Told()
      let thread = TestThread {
        told.answers.append(refusal { () throws(Refusal) in try arena.remove(0..<1) })
        told.answers.append(refusal { () throws(Refusal) in try arena.remove(1..<2) })
      }
      try? thread.join()
      others = told.answers
      // An observer may allocate.
      _ = arena.allocate(pages: 1, alignment: 1)
    }
    try arena.online(0..<1)
    #expect(answers == [.deadlock, .deadlock, .deadlock])
    #expect(others == [.busy, nil])
  }
}

@Suite struct AltmapTests {
  @Test func againstAModel() throws {
    var random = Random(stream: 40)
    for _ in 0..<2000 {
      let base = random.below(1 << 20)
      var altmap = Altmap(base: base, reserve: random.below(600), free: random.below(3000))
      let (reserve, free) = (altmap.reserve, altmap.free)
      var cursor = base + reserve
      var given: [UInt] = []
      for _ in 0..<20 {
        let pages = random.spread(1...700)
        var unit: UInt = 1
        while pages % (unit * 2) == 0 { unit *= 2 }
        let start = (cursor + unit - 1) / unit * unit
        let fits = start + pages <= base + reserve + free
        let before = altmap
        let answer = altmap.allocate(pages)
        try check(answer == (fits ? start : nil), "\(before) for \(pages): \(String(describing: answer))")
        if fits {
          cursor = start + pages
          given.append(pages)
        } else {
          try check(altmap, is: before, "a refusal changes nothing")
        }
        try check(altmap.alloc, is: given.reduce(0, +), "alloc")
        try check(base + reserve + altmap.alloc + altmap.align, is: cursor, "cursor")
      }
      while !given.isEmpty {
        try check(altmap.release(given.remove(at: Int(random.below(UInt(given.count))))), "release")
      }
      try check(altmap.isBalanced, "balance")
      try check(!altmap.release(1), "more than was given")
      try check(altmap.offset, is: reserve + free, "the first page that can be used")
    }
  }
}
