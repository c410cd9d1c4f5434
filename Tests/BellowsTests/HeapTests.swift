import Bellows
import Glibc
import Testing

@Suite("Heap on an arena")
struct HeapTests {
  private func arena(_ capacity: ByteCount = .mebibytes(64)) throws -> Arena {
    try Arena(reserving: capacity, configuration: .init(sectionSize: .mebibytes(4)))
  }

  /// Random blocks of all sizes: aligned, zero, apart from each other, inside the arena.
  @Test(arguments: [1, 2] as [UInt64])
  func randomBlocks(seed: UInt64) throws {
    var dice = Dice(seed: seed)
    let arena = try arena()
    let heap = try arena.makeHeap()
    var live: [(box: Box, mark: UInt64)] = []
    for step in 0..<6000 {
      if live.count < 400, Int.random(in: 0..<100, using: &dice) < 60 {
        let bytes = 1 << Int.random(in: 0..<20, using: &dice)
        let byteCount = Int.random(in: max(8, bytes / 2)...max(8, bytes), using: &dice)
        let alignment = 1 << Int.random(in: 0..<18, using: &dice)
        let box = Box(
          try heap.allocate(byteCount: .bytes(byteCount), alignment: step % 3 == 0 ? .bytes(alignment) : 16))
        #expect(box.range.start % UInt(step % 3 == 0 ? alignment : 16) == 0)
        #expect(box.range.byteCount == .bytes(byteCount))
        #expect(arena.addressRange.contains(box.range))
        #expect(byteCount > 2000 ? box.holds(0) : box.isZero)
        box.fill(UInt64(step) + 1)
        live.append((box, UInt64(step) + 1))
      } else if !live.isEmpty {
        let gone = live.remove(at: Int.random(in: 0..<live.count, using: &dice))
        #expect(gone.box.holds(gone.mark))
      }
    }
    let ranges = live.map(\.box.range).sorted { $0.start < $1.start }
    for (one, next) in zip(ranges, ranges.dropFirst()) { #expect(one.end <= next.start) }
    let figures = arena.statistics()
    let resident = try Mappings(in: arena.addressRange).resident
    #expect(resident <= figures.memmap + figures.allocated + figures.freeResident)
    live = []
    heap.trim()
    #expect(arena.statistics().allocated == .zero)
    #expect(try Mappings(in: arena.addressRange).resident <= arena.statistics().memmap)
  }

  @Test func sizesAndErrors() throws {
    let heap = try arena(.mebibytes(8)).makeHeap()
    func error(_ byteCount: ByteCount, _ alignment: ByteCount = 16) -> AllocationError? {
      do { _ = try heap.allocate(byteCount: byteCount, alignment: alignment) } catch { return error }
      return nil
    }
    #expect(error(0) == .invalidByteCount)
    #expect(error(.bytes(.min)) == .invalidByteCount)
    #expect(error(1, 0) == .invalidAlignment)
    #expect(error(1, 24) == .invalidAlignment)
    #expect(error(1, .bytes(.min)) == .invalidAlignment)
    #expect(error(.mebibytes(2) + 1) == .tooLarge)
    #expect(error(1, .mebibytes(4)) == .tooLarge)
    #expect(error(.mebibytes(2), .mebibytes(2)) == nil)
    var boxes = [Box(try heap.allocate(byteCount: 1))]
    #expect(throws: AllocationError.exhausted) {
      while true { boxes.append(Box(try heap.allocate(byteCount: .kibibytes(100)))) }
    }
    #expect(boxes.count > 50 && boxes.count < 82)
    for box in boxes { #expect(heap.arena.addressRange.contains(box.range)) }
    // What is freed serves blocks of another size.
    boxes.removeLast(40)
    for _ in 0..<1000 { boxes.append(Box(try heap.allocate(byteCount: 1000))) }
  }

  @Test func heapsShareAnArena() throws {
    let arena = try arena()
    do {
      let heaps = try (0..<8).map { _ in try arena.makeHeap() }
      let boxes = try heaps.flatMap { heap in
        try (1..<60).map { Box(try heap.allocate(byteCount: .bytes($0 * 50))) }
      }
      for (place, box) in boxes.enumerated() { box.fill(UInt64(place)) }
      for (place, box) in boxes.enumerated() where box.range.byteCount >= 8 {
        #expect(box.holds(UInt64(place)))
      }
    }
    #expect(arena.statistics().allocated == .zero, "a heap that goes keeps no page")
    let metadata = arena.statistics().metadata
    for _ in 0..<2000 { _ = try arena.makeHeap().allocate(byteCount: 10) }
    #expect(arena.statistics().metadata == metadata, "the records of a heap that went serve the next one")
  }

  @Test func leakedBlocks() throws {
    let arena = try arena()
    let heap = try arena.makeHeap()
    for byteCount in [ByteCount(rawValue: 40), .kibibytes(20), .mebibytes(1)] {
      let leaked = unsafe try heap.allocate(byteCount: byteCount).leak()
      #expect(leaked.count == byteCount.rawValue)
      unsafe heap.deallocate(leaked)
    }
    heap.trim()
    #expect(arena.statistics().allocated == .zero)
  }

  @Test func doubleFreeEndsTheProgram() async {
    await #expect(processExitsWith: .signal(SIGABRT)) {
      let arena = try Arena(reserving: .mebibytes(4), configuration: .init(sectionSize: .mebibytes(4)))
      let heap = try arena.makeHeap()
      let leaked = unsafe try heap.allocate(byteCount: .mebibytes(1)).leak()
      unsafe heap.deallocate(leaked)
      unsafe heap.deallocate(leaked)
    }
  }
}

@Suite("Concurrent use of an arena and its heaps")
struct ConcurrentHeapTests {
  /// Tasks allocate from two heaps and pages, and free what the others made.
  @Test func concurrentAllocations() async throws {
    let arena = try Arena(reserving: .gibibytes(1), configuration: .init(sectionSize: .mebibytes(4)))
    let heaps = [try arena.makeHeap(), try arena.makeHeap()]
    for round in 0..<3 {
      let made = try await withThrowingTaskGroup(of: [Box].self) { group in
        for task in 0..<6 {
          group.addTask {
            var dice = Dice(seed: UInt64(round * 100 + task))
            var boxes: [Box] = []
            for step in 0..<1500 {
              let byteCount = Int.random(in: 8...(step % 50 == 0 ? 200_000 : 3000), using: &dice)
              let box =
                step % 100 == 99
                ? Box(try arena.allocate(byteCount: .bytes(byteCount)))
                : Box(try heaps[step % 2].allocate(byteCount: .bytes(byteCount)))
              box.fill(UInt64(box.range.start))
              boxes.append(box)
              if boxes.count > 200 {
                let gone = boxes.remove(at: Int.random(in: 0..<boxes.count, using: &dice))
                #expect(gone.holds(UInt64(gone.range.start)))
              }
              if step % 400 == 0 { heaps[0].trim() }
            }
            return boxes
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      // Dealt out again, so that nearly all are freed where they were not made.
      await withTaskGroup(of: Void.self) { group in
        for task in 0..<6 {
          let share = made.enumerated().filter { $0.offset % 6 == task }.map(\.element)
          group.addTask { for box in share { #expect(box.holds(UInt64(box.range.start))) } }
        }
      }
    }
    for heap in heaps { heap.trim() }
    #expect(arena.statistics().allocated == .zero)
    #expect(arena.statistics().freeResident == .zero)
  }
}
