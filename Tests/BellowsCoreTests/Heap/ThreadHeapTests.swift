// Blocks that outlive, change and lose their threads. One thread of the test stands in for several of the
// heap, so that each interleaving is the one that is written down.

import BellowsCore
import CShims
import Testing

@Suite struct ThreadHeapTests {
  private func blocks(_ user: HeapUser, _ count: Int, _ bytes: UInt) -> [Block] {
    (0..<count).map { number in
      let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(truncatingIfNeeded: number))
      block.fill()
      return block
    }
  }

  private func free(_ blocks: some Sequence<Block>, _ user: HeapUser) throws {
    for block in blocks {
      try check(block.isIntact, "content")
      user.free(block.address)
    }
  }

  @Test func heapsAreUsedAgain() throws {
    let fixture = try #require(ArenaFixture())
    for _ in 0..<50 {
      let user = try #require(HeapUser(fixture.heap))
      let other = try #require(HeapUser(fixture.heap))
      #expect(user.own != other.own)
      user.free(user.malloc(100))
      user.leave()
      other.leave()
    }
    #expect(fixture.heap.it.heapCount == 2)
    try fixture.compareEmptyHeap()
  }

  /// A producer's blocks come back to its own shards, whoever freed them: no page is added in the long run.
  @Test(arguments: [16, 96, 512, 640, 4096, 20480, 50000] as [UInt])
  func producerAndConsumer(bytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let producer = try #require(HeapUser(fixture.heap))
    let consumer = try #require(HeapUser(fixture.heap))
    var most: UInt = 0
    for round in 0..<60 {
      try free(blocks(producer, 200, bytes), consumer)
      let used = fixture.zone.it.usedPages
      if round < 10 { most = max(most, used) }
      try check(used <= most + 128, "pages in round \(round): \(used), at first \(most)")
    }
    producer.leave()
    consumer.leave()
    try fixture.compareEmptyHeap()
  }

  @Test(arguments: [16, 160, 1024, 32768, 100_000] as [UInt])
  func aThreadThatOnlyFreesNeedsNoHeap(bytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let producer = try #require(HeapUser(fixture.heap))
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for _ in 0..<10 { try free(blocks(producer, 150, bytes).shuffled(), sweeper) }
    #expect(fixture.heap.it.heapCount == 1)
    // And after the producer has gone: shards that nobody owns.
    let left = blocks(producer, 150, bytes)
    producer.leave()
    try free(left, sweeper)
    try fixture.compareEmptyHeap()
  }

  @Test func abandonedShardsAreTakenOver() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let first = try #require(HeapUser(fixture.heap))
    let all = blocks(first, 5000, 64)
    let survivors = stride(from: 0, to: all.count, by: 3).map { all[$0] }
    try free(all.indices.filter { $0 % 3 != 0 }.map { all[$0] }, first)
    let used = fixture.zone.it.usedPages
    first.leave()
    #expect(fixture.heap.abandoned(SizeClass(bytes: 64)).it.count > 0)
    let second = try #require(HeapUser(fixture.heap))
    // Two thirds of what is there is free, and serves before any page is taken.
    let more = blocks(second, 3000, 64)
    #expect(fixture.zone.it.usedPages <= used)
    try free(survivors, second)
    try free(more, second)
    second.leave()
    try fixture.compareEmptyHeap()
  }

  /// Full shards that nobody owns are claimed by the first free, and serve the thread that freed.
  @Test func fullShardsAreClaimedByTheFirstFree() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let first = try #require(HeapUser(fixture.heap))
    let second = try #require(HeapUser(fixture.heap))
    let count = Int(SizeClass(bytes: 128).blocksPerShard)
    let all = blocks(first, count * 4, 128)
    try free(all[..<count], second)
    let used = fixture.zone.it.usedPages
    let again = blocks(second, count / 2, 128)
    #expect(fixture.zone.it.usedPages <= used + 4)
    try free(all[count...], second)
    try free(again, first)
    first.leave()
    second.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func churnWithSurvivors() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 8))
    let main = try #require(HeapUser(fixture.heap))
    var random = Random(stream: 7)
    var survivors: [Block] = []
    var usedAtFirst: UInt = 0
    for thread in 0..<1000 {
      let user = try #require(HeapUser(fixture.heap))
      var own: [Block] = []
      for _ in 0..<40 {
        let bytes = random.spread(1...3000)
        let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(random.below(256)))
        block.fill()
        own.append(block)
      }
      try free(own[10...], user)
      survivors += own[..<10]
      user.leave()
      while survivors.count > 400 {
        try free([survivors.remove(at: Int(random.below(UInt(survivors.count))))], main)
      }
      if thread == 300 { usedAtFirst = fixture.zone.it.usedPages }
    }
    let used = fixture.zone.it.usedPages
    #expect(used < usedAtFirst * 3 / 2 + 64)
    try free(survivors, main)
    main.leave()
    #expect(fixture.heap.it.heapCount == 2)
    try fixture.compareEmptyHeap()
  }

  /// Several thread heaps, each block freed by any of them or by a thread without one.
  @Test func randomThreads() throws {
    let fixture = try #require(ArenaFixture(sections: 120))
    var random = Random(stream: 8)
    var users: [HeapUser] = []
    for _ in 0..<4 { users.append(try #require(HeapUser(fixture.heap))) }
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    var live: [Block] = []
    for step in 0..<150_000 {
      let user = users[Int(random.below(4))]
      if live.count < 1500, random.below(16) < 9 {
        let bytes = random.chance(oneIn: 60) ? random.spread(1...400_000) : random.spread(0...1500)
        let block = Block(address: user.malloc(bytes), bytes: bytes, cookie: UInt8(random.below(256)))
        try check(block.address != 0, "\(bytes) bytes, step \(step)")
        block.fill()
        live.append(block)
      } else if !live.isEmpty {
        let place = Int(random.below(UInt(live.count)))
        live.swapAt(place, live.count - 1)
        try free([live.removeLast()], random.chance(oneIn: 6) ? sweeper : user)
      }
      if random.chance(oneIn: 2000) {
        let place = Int(random.below(4))
        users[place].leave()
        users[place] = try #require(HeapUser(fixture.heap))
      }
      if random.chance(oneIn: 5000) { fixture.heap.trim(user.own) }
    }
    try free(live, sweeper)
    for user in users { user.leave() }
    try fixture.compareEmptyHeap()
  }
}
