import Testing

@testable import BellowsCLI

/// Recordings as bytes, and plans made of them.
@Suite struct TraceTests {
  private static func varint(_ number: UInt64) -> [UInt8] {
    var (number, bytes) = (number, [UInt8]())
    while number >= 128 {
      bytes.append(UInt8(number & 127) | 128)
      number >>= 7
    }
    return bytes + [UInt8(number)]
  }

  private static func words(_ numbers: UInt32...) -> [UInt8] {
    numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
  }

  static let header =
    Array("BLWTRACE".utf8) + words(1, 1, 0, 0, 7, 0) + Array("program".utf8)
    + [UInt8](repeating: 0, count: 25)

  static func chunk(_ thread: UInt32, _ events: [TraceFile.Event]) -> [UInt8] {
    var bytes: [UInt8] = []
    var (time, place) = (events.first?.time ?? 0, UInt64(0))
    let start = time
    for event in events {
      let step = Int64(bitPattern: event.address / 8 &- place)
      bytes.append(event.kind.rawValue)
      bytes += varint(event.time - time) + varint(UInt64(bitPattern: step << 1 ^ step >> 63))
      if [.allocate, .moved, .allocateAligned].contains(event.kind) { bytes += varint(event.size) }
      if event.kind == .allocateAligned { bytes.append(event.alignmentShift) }
      (time, place) = (event.time, event.address / 8)
    }
    return words(
      0x4b4e_4843, UInt32(bytes.count), thread, UInt32(events.count), UInt32(truncatingIfNeeded: start),
      UInt32(start >> 32), 0, 0) + bytes
  }

  private func event(
    _ time: UInt64, _ kind: TraceFile.Kind, _ address: UInt64, _ size: UInt64 = 0, thread: UInt32 = 0
  )
    -> TraceFile.Event
  {
    TraceFile.Event(time: time, thread: thread, kind: kind, address: address, size: size)
  }

  @Test func chunksOfThreadsBecomeOneOrder() throws {
    let first = [
      event(1 << 33, .allocate, 0x7fff_ffff_f000, 24), event((1 << 33) + 900, .free, 0x7fff_ffff_f000),
    ]
    let second = [event((1 << 33) + 5, .allocate, 0x1000, 1 << 40, thread: 3)]
    let trace = try TraceFile(parsing: Self.header + Self.chunk(0, first) + Self.chunk(3, second))
    #expect(trace.events == [first[0], second[0], first[1]])
    #expect(trace.command == "program" && trace.sampled == 1 && !trace.isCutOff)
  }

  @Test func alignmentStandsBehindTheSize() throws {
    var aligned = event(5, .allocateAligned, 0x10000, 300)
    aligned.alignmentShift = 12
    let events = [aligned, event(9, .free, 0x10000)]
    var newer = Self.header
    newer[8] = 2
    newer[28] = 42
    let trace = try TraceFile(parsing: newer + Self.chunk(0, events))
    #expect(trace.events == events && trace.parent == 42)
    let plan = PreparedTrace(trace)
    #expect(plan.steps[0].map(\.operation) == [.allocateAligned, .free])
    #expect(plan.steps[0].map(\.alignmentShift) == [12, 0])
    #expect(plan.words[3 + 2 * 64 + 1] == 12 << 56 | 300 << 2 | 3)
  }

  @Test func damagedRecordingsAreErrorsOrCutOff() throws {
    #expect(throws: TraceFile.Problem.notATrace) { try TraceFile(parsing: []) }
    #expect(throws: TraceFile.Problem.notATrace) {
      try TraceFile(parsing: [UInt8](repeating: 65, count: 100))
    }
    var other = Self.header
    other[8] = 9
    #expect(throws: TraceFile.Problem.otherSchema(9)) { try TraceFile(parsing: other) }
    let whole =
      Self.header
      + Self.chunk(
        0, (0..<20).map { event($0 * 10, $0 % 2 == 0 ? .allocate : .allocateAligned, 0x1000 + $0 * 64, 64) })
    #expect(try TraceFile(parsing: whole).events.count == 20)
    for count in 65..<whole.count {
      let trace = try TraceFile(parsing: Array(whole[..<count]))
      #expect(trace.isCutOff && trace.events.isEmpty)
    }
    // Any byte may be any other: an error or fewer events, never a trap.
    var random = SystemRandomNumberGenerator()
    for _ in 0..<3000 {
      var bytes = whole
      bytes[Int.random(in: 8..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      if let trace = try? TraceFile(parsing: bytes) { _ = PreparedTrace(trace) }
    }
  }

  @Test func addressesBecomeSlots() {
    let events = [
      event(0, .free, 0x9000), event(10, .allocate, 0x1000, 100), event(20, .moving, 0x1000),
      event(21, .allocate, 0x1000, 50, thread: 1), event(30, .moved, 0x2000, 200),
      event(40, .free, 0x2000, thread: 1),
      event(50, .allocate, 0x2000, 10), event(60, .moving, 0x2000), event(61, .moved, 0x2000),
    ]
    let plan = PreparedTrace(TraceFile(events: events))
    // Lanes are numbered in the order in which their threads do something.
    #expect(plan.steps.count == 2 && plan.slots == 2 && plan.unknown == 1 && plan.duration == 61)
    #expect(
      plan.steps[0].map(\.operation) == [.allocate, .reallocate, .allocate]
        && plan.steps[0].map(\.size) == [100, 200, 10])
    #expect(plan.steps[1].map(\.operation) == [.allocate, .free])
    #expect(plan.steps[1][0].slot != plan.steps[0][0].slot && plan.steps[1][1].slot == plan.steps[0][0].slot)
  }

  // Whatever was recorded: at each slot the turns count up from 0, and blocks begin and end alternately.
  @Test func plansAreConsistent() {
    for seed in UInt64(0)..<30 {
      var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
      func random(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
      }
      let events = (0..<2000).map { time in
        event(
          UInt64(time) * random(3), [.allocate, .free, .moving, .moved][Int(random(4))], random(50) * 16,
          random(1000), thread: UInt32(random(100)))
      }.sorted { $0.time < $1.time }
      let plan = PreparedTrace(TraceFile(events: events))
      #expect(plan.lanes <= PreparedTrace.mostLanes)
      var bySlot: [UInt32: [PreparedTrace.Step]] = [:]
      for lane in plan.steps {
        #expect(zip(lane, lane.dropFirst()).allSatisfy { $0.time <= $1.time }, "seed \(seed)")
        for step in lane { bySlot[step.slot, default: []].append(step) }
      }
      for (slot, steps) in bySlot {
        let steps = steps.sorted { $0.turn < $1.turn }
        #expect(steps.map(\.turn) == (0..<UInt32(steps.count)).map { $0 }, "seed \(seed), slot \(slot)")
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.time <= $1.time }, "seed \(seed), slot \(slot)")
        var isLive = false
        for step in steps {
          #expect((step.operation == .allocate) != isLive, "seed \(seed), slot \(slot)")
          isLive = step.operation != .free
        }
      }
      #expect(plan.words.count == 3 + 2 * 64 + 3 * plan.steps.reduce(0) { $0 + $1.count })
    }
  }
}
