// The heap under real threads. Run under the thread sanitizer too: --filter Concurren.

import BellowsCore
import CShims
import Testing

/// Blocks on their way between threads. A block's first word is its size, its last one the complement.
private struct Parcel {
  static func make(_ user: HeapUser, _ bytes: UInt) throws -> UInt {
    let size = max(bytes, 16).rounded(upTo: 8)
    let block = user.malloc(size)
    try check(block != 0, "\(size) bytes")
    Ref<UInt>(block).it = size
    Ref<UInt>(block + size - 8).it = ~size
    return block
  }

  static func verify(_ block: UInt) throws {
    let size = Ref<UInt>(block).it
    try check(size >= 16 && size < 1 << 30, "size \(size)")
    try check(Ref<UInt>(block + size - 8).it, is: ~size, "content of \(size) bytes")
  }

  static func free(_ block: UInt, _ user: HeapUser) throws {
    if block == 0 { return }
    try verify(block)
    user.free(block)
  }
}

@Suite struct HeapConcurrencyTests {
  private static let threads = 4

  private func size(_ random: inout Random) -> UInt {
    random.chance(oneIn: 50) ? random.spread(1...200_000) : random.spread(1...1000)
  }

  /// Four threads allocate, free, resize and swap blocks through shared slots.
  @Test func threadsHandBlocksOver() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 30))
    let slots = Slots(256)
    try inThreads(Self.threads) { index in
      var random = Random(stream: 100 + UInt64(index))
      guard let user = HeapUser(fixture.heap) else { throw Violation(description: "no heap") }
      defer { user.leave() }
      var own: [UInt] = []
      for step in 0..<25_000 {
        switch random.below(8) {
        case 0..<3:
          try Parcel.free(slots.exchange(random.below(256), try Parcel.make(user, size(&random))), user)
        case 3..<5: own.append(try Parcel.make(user, size(&random)))
        case 5..<7:
          guard !own.isEmpty else { continue }
          own.swapAt(Int(random.below(UInt(own.count))), own.count - 1)
          try Parcel.free(own.removeLast(), user)
        default:
          guard let block = own.popLast() else { continue }
          try Parcel.verify(block)
          let bytes = max(size(&random), 16).rounded(upTo: 8)
          let moved = user.realloc(block, bytes)
          try check(moved != 0, "realloc, step \(step)")
          Ref<UInt>(moved).it = bytes
          Ref<UInt>(moved + bytes - 8).it = ~bytes
          own.append(moved)
        }
        if random.chance(oneIn: 6000) { user.heap.trim(user.own) }
      }
      for block in own { try Parcel.free(block, user) }
    }
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for slot in 0..<slots.count { try Parcel.free(slots.exchange(slot, 0), sweeper) }
    try fixture.compareEmptyHeap()
  }

  /// Two producers, one consumer with a heap, one without.
  @Test func producersAndConsumers() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 30))
    let slots = Slots(64)
    // Beyond the slots: how many producers are done.
    let finished = Slots(1)
    try inThreads(Self.threads) { index in
      var random = Random(stream: 200 + UInt64(index))
      let user = index == 3 ? HeapUser(withoutHeap: fixture.heap) : HeapUser(fixture.heap)!
      defer { user.leave() }
      if index < 2 {
        for _ in 0..<25_000 {
          let block = try Parcel.make(user, size(&random))
          try Parcel.free(slots.exchange(random.below(64), block), user)
        }
        finished.add(0, 1)
      } else {
        var idle = 0
        while finished.load(0) < 2 || idle < 1000 {
          let block = slots.exchange(random.below(64), 0)
          idle = block == 0 ? idle + 1 : 0
          try Parcel.free(block, user)
        }
      }
    }
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for slot in 0..<slots.count { try Parcel.free(slots.exchange(slot, 0), sweeper) }
    try fixture.compareEmptyHeap()
  }

  /// Short threads leave survivors that later ones free.
  @Test func shortThreads() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 30))
    let slots = Slots(128)
    for round in 0..<60 {
      try inThreads(Self.threads) { index in
        var random = Random(stream: UInt64(1000 + round * 4 + index))
        let user = HeapUser(fixture.heap)!
        defer { user.leave() }
        var own: [UInt] = []
        for _ in 0..<100 { own.append(try Parcel.make(user, size(&random))) }
        for _ in 0..<20 { try Parcel.free(slots.exchange(random.below(128), own.removeLast()), user) }
        for block in own { try Parcel.free(block, user) }
      }
    }
    #expect(fixture.heap.it.heapCount <= UInt(Self.threads))
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for slot in 0..<slots.count { try Parcel.free(slots.exchange(slot, 0), sweeper) }
    try fixture.compareEmptyHeap()
  }

  /// Huge blocks come, move and go in all threads at once.
  @Test func hugeBlocks() throws {
    let fixture = try #require(ArenaFixture(sections: 4))
    try inThreads(Self.threads) { index in
      var random = Random(stream: 300 + UInt64(index))
      let user = HeapUser(fixture.heap)!
      defer { user.leave() }
      var own: [Block] = []
      for step in 0..<150 {
        if own.count < 6 {
          let bytes = (2 << 20) + random.below(4 << 20) + 1
          let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(random.below(256)))
          try check(block.address != 0, "\(bytes) bytes, step \(step)")
          block.fill()
          own.append(block)
        } else {
          let block = own.remove(at: Int(random.below(6)))
          try check(block.isIntact, "content, step \(step)")
          user.free(block.address)
        }
      }
      for block in own { user.free(block.address) }
    }
    try fixture.compareEmptyHeap()
  }

  /// Figures and trims are asked for while others work.
  @Test func watchersDoNotDisturb() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 20))
    let finished = Slots(1)
    try inThreads(3) { index in
      if index == 2 {
        while finished.load(0) < 2 {
          let now = fixture.heap.statistics()
          try check(now.usedPages <= now.presentPages - now.memmapPages, "used \(now.usedPages)")
          try check(now.usedPages + now.dirtyPages <= now.committedPages, "dirty \(now.dirtyPages)")
          fixture.heap.trim(nil)
        }
        return
      }
      defer { finished.add(0, 1) }
      let user = HeapUser(fixture.heap)!
      defer { user.leave() }
      var random = Random(stream: 400 + UInt64(index))
      for _ in 0..<60 {
        let own = try (0..<150).map { _ in try Parcel.make(user, size(&random)) }
        for block in own { try Parcel.free(block, user) }
      }
    }
    try fixture.compareEmptyHeap()
  }
}
