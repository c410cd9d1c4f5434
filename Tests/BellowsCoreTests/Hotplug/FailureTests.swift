// Every memory system call fails once, alone and with all after it: the operation fails and leaves state,
// counters, resident set and mappings as before, or succeeds without it; the next try succeeds.

import BellowsCore
import CShims
import Testing

@Suite struct FailureTests {
  /// Puts an operation, which answers an address or 0, under every failure. `prepare` runs before calls fail
  /// and answers what the operation needs; `verify` runs once it has succeeded.
  private func forEachFailure<Prepared>(
    _ what: String, prepare: (ArenaFixture) throws -> Prepared,
    operation: (ArenaFixture, Prepared) -> UInt,
    verify: (ArenaFixture, Prepared, UInt) throws -> Void = { _, _, _ in }
  ) throws {
    let kinds = (0...SystemCall.resident.rawValue).compactMap { SystemCall(rawValue: $0) }
    try sweep(what, { .nth($0) }, prepare, operation, verify)
    try sweep(what, { .from($0) }, prepare, operation, verify)
    for kind in kinds { try sweep(what, { .nthOf(kind, $0) }, prepare, operation, verify) }
  }

  /// Tries n = 1, 2, ... until a try meets no failure.
  private func sweep<Prepared>(
    _ what: String, _ rule: (UInt) -> FailureRule, _ prepare: (ArenaFixture) throws -> Prepared,
    _ operation: (ArenaFixture, Prepared) -> UInt,
    _ verify: (ArenaFixture, Prepared, UInt) throws -> Void
  ) throws {
    for n in 1... as PartialRangeFrom<UInt> {
      let double = FailingPlatform()
      let fixture = try #require(ArenaFixture(double: double))
      let prepared = try prepare(fixture)
      let before = try Figures(fixture)
      let mapped = double.mappedBytes - fixture.arena.it.metadata.mappedBytes
      double.arm(rule(n))
      var result = operation(fixture, prepared)
      let failures = double.failures
      let note = "\(what), \(rule(n))"
      if result == 0 {
        try check(failures > 0, "\(note): failed without a failure")
        var after = try Figures(fixture)
        // What a refused munmap leaves mapped cannot be restored; it costs address space, no memory.
        if double.failedUndos > 0 { after.mappings = before.mappings }
        // The arena may have grown before a later step failed. The section stays for the next try: address
        // space without a resident page.
        try check(after.sections <= before.sections + 1, "\(note): sections")
        if after.sections > before.sections { after.dropSection(fixture, before) }
        try check(after, is: before, note)
        if double.failedUndos == 0 {
          let left = double.mappedBytes - fixture.arena.it.metadata.mappedBytes
          try check(left, is: mapped, "\(note): address space")
        }
        double.arm(.none)
        result = operation(fixture, prepared)
        try check(result != 0, "\(note): the next try")
        try check(try Figures(fixture).sections <= before.sections + 1, "\(note): sections of the next try")
      }
      double.arm(.none)
      try verify(fixture, prepared, result)
      if failures == 0 { return }
      try check(n < 60, "\(note): no end")
    }
  }

  @Test func initialise() throws {
    for rule in [{ .nth($0) }, { .from($0) }] as [(UInt) -> FailureRule] {
      for n in 1...20 as ClosedRange<UInt> {
        let double = FailingPlatform()
        double.arm(rule(n))
        let fixture = ArenaFixture(double: double)
        if fixture == nil, double.failedUndos == 0 {
          try check(double.mappedBytes, is: 0, "address space, \(rule(n))")
        }
        try check(fixture != nil || double.failures > 0, "failed without a failure")
        let failures = double.failures
        double.arm(.none)
        try check(ArenaFixture(double: double) != nil, "the next try, \(rule(n))")
        if failures == 0 { break }
      }
    }
  }

  @Test func addSection() throws {
    try forEachFailure(
      "first section", prepare: { _ in }, operation: { fixture, _ in fixture.addSection()?.address ?? 0 })
    try forEachFailure(
      "second section", prepare: { fixture in _ = try #require(fixture.addSection()) },
      operation: { fixture, _ in fixture.addSection()?.address ?? 0 },
      verify: { fixture, _, _ in
        try check(fixture.section(1).it.base, is: fixture.reservation + 4 << 20, "place")
        let run = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
        try check(run.isZero, "a fresh page")
      })
  }

  @Test func growth() throws {
    try forEachFailure(
      "growth",
      prepare: { fixture in try #require(fixture.arena.allocate(pages: fixture.managedPages, alignment: 1)) },
      operation: { fixture, _ in fixture.arena.allocate(pages: 17, alignment: 4)?.address ?? 0 },
      verify: { fixture, first, _ in
        try check(fixture.zone.it.usedPages, is: first.pages + 17, "used")
        try check(fixture.arena.it.sections, is: 2, "sections")
      })
  }

  /// Where the system refuses the lowest hole, one that is accessible already does.
  @Test func aRefusedHoleIsPassedBy() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(double: double))
    _ = try #require(fixture.arena.allocate(pages: 20, alignment: 1))
    let rest = try #require(fixture.arena.allocate(pages: fixture.managedPages - 20, alignment: 1))
    let further = try #require(fixture.arena.allocate(pages: 100, alignment: 1))
    #expect(fixture.arena.it.sections == 2)
    fixture.arena.free(rest)
    fixture.zone.purge(dirtySince: .max)
    fixture.zone.decommitTails()
    fixture.arena.free(further)
    let start = fixture.section(0).it.base
    double.arm(.within(.commit, start..<(start + fixture.geometry.sectionBytes)))
    let run = fixture.zone.run(pages: 100, alignment: 1)
    #expect(run?.address == further.address && double.failures == 1)
    double.arm(.none)
    let lower = try #require(fixture.zone.run(pages: 100, alignment: 1))
    #expect(lower.address == rest.address, "and the next try has it")
  }

  @Test func extendingARun() throws {
    try forEachFailure(
      "extend",
      prepare: { fixture in try #require(fixture.arena.allocate(pages: 10, alignment: 1)) },
      operation: { fixture, run in
        let section = fixture.section(0)
        return fixture.zone.extend(section, address: run.address, pages: 10, extra: 500) ? 1 : 0
      },
      verify: { fixture, _, _ in try check(fixture.zone.it.usedPages, is: 510, "used") })
  }

  // MARK: The heap

  @Test func threadsAndSmallBlocks() throws {
    try forEachFailure(
      "first thread", prepare: { _ in },
      operation: { fixture, _ in
        guard let user = HeapUser(fixture.heap) else { return 0 }
        defer { user.leave() }
        let block = user.malloc(100)
        if block != 0 { user.free(block) }
        return block
      },
      verify: { fixture, _, _ in try check(fixture.zone.it.usedPages, is: 0, "used") })
  }

  /// A user, and blocks that fill the section that is there.
  private func prepareFull(_ fixture: ArenaFixture) throws -> (HeapUser, Block) {
    let user = try #require(HeapUser(fixture.heap))
    let block = Block(address: user.malloc(20000), bytes: 20000, cookie: 77)
    block.fill()
    while fixture.zone.run(pages: 1, alignment: 1) != nil {}
    return (user, block)
  }

  @Test func reallocThatNeedsASection() throws {
    try forEachFailure(
      "realloc to a run", prepare: prepareFull,
      operation: { fixture, prepared in
        let (user, block) = prepared
        return block.isIntact ? user.realloc(block.address, 300_000) : 0
      },
      verify: { _, prepared, moved in
        var block = prepared.1
        block.address = moved
        try check(block.isIntact, "content")
        try check(prepared.0.usable(block.address) >= 300_000, "room")
      })
  }

  @Test func hugeBlocks() throws {
    try forEachFailure(
      "huge block", prepare: { fixture in try #require(HeapUser(fixture.heap)) },
      operation: { _, user in user.malloc(9 << 20) },
      verify: { fixture, _, _ in
        try check(fixture.heap.statistics().hugeBlocks, is: 1, "blocks")
        try check(fixture.heap.statistics().hugeBytes, is: 9 << 20, "bytes")
      })
  }

  @Test func alignedHugeBlocks() throws {
    try forEachFailure(
      "aligned huge block", prepare: { fixture in try #require(HeapUser(fixture.heap)) },
      operation: { _, user in user.aligned(5 << 20, 64 << 20) },
      verify: { _, _, block in try check(block.isAligned(to: 64 << 20), "alignment") })
  }

  /// Grows a huge block until it has to move; its content stays through every failure.
  @Test func hugeBlocksThatMove() throws {
    try forEachFailure(
      "huge realloc",
      prepare: { fixture -> (HeapUser, Block) in
        let user = try #require(HeapUser(fixture.heap))
        let block = Block(address: user.malloc(9 << 20), bytes: 9 << 20, cookie: 3)
        block.fill()
        return (user, block)
      },
      operation: { _, prepared in prepared.0.realloc(prepared.1.address, 40 << 20) },
      verify: { fixture, prepared, moved in
        var block = prepared.1
        block.address = moved
        try check(block.isIntact, "content")
        try check(fixture.heap.statistics().hugeBlocks, is: 1, "blocks")
        try check(fixture.heap.statistics().hugeBytes, is: 40 << 20, "bytes")
        prepared.0.free(block.address)
        try check(fixture.heap.statistics().hugeBytes, is: 0, "bytes")
      })
  }

  @Test func runsThatBecomeHuge() throws {
    try forEachFailure(
      "run to huge",
      prepare: { fixture -> (HeapUser, Block) in
        let user = try #require(HeapUser(fixture.heap))
        let block = Block(address: user.malloc(300_000), bytes: 300_000, cookie: 9)
        block.fill()
        // Reading its descriptor maps the zero page, which counts as resident.
        try check(user.usable(block.address) >= block.bytes, "its room")
        return (user, block)
      },
      operation: { _, prepared in prepared.0.realloc(prepared.1.address, 5 << 20) },
      verify: { _, prepared, moved in
        var block = prepared.1
        block.address = moved
        try check(block.isIntact, "content")
        prepared.0.free(block.address)
      })
  }

  /// In the standard geometry runs are large enough for their page tables to move, and what has moved out of
  /// a section is two mappings when it moves again.
  @Test func pageTablesThatMove() throws {
    for kind in [.remap, .movePages, .reserve, .commit, .release] as [SystemCall] {
      for n in 1...6 as ClosedRange<UInt> {
        let double = FailingPlatform()
        let fixture = try #require(
          ArenaFixture(sectionBytes: 128 << 20, sections: 1, double: double))
        let user = try #require(HeapUser(fixture.heap))
        var block = Block(address: user.malloc(5 << 20), bytes: 5 << 20, cookie: 5)
        block.fill()
        // Right behind it, so that it cannot grow in place.
        let neighbour = user.malloc(100_000)
        try check(neighbour, is: block.address + 5 << 20, "the neighbour's place")
        for bytes in [9 << 20, 20 << 20, 50 << 20] as [UInt] {
          let before = try Figures(fixture)
          let mapped = double.mappedBytes
          double.arm(.nthOf(kind, n))
          var moved = user.realloc(block.address, bytes)
          let note = "to \(bytes >> 20) MiB, call \(n) of kind \(kind) fails"
          if moved == 0 {
            try check(block.isIntact, "content of the old block, \(note)")
            var after = try Figures(fixture)
            after.mappings = before.mappings
            try check(after, is: before, note)
            if kind != .release { try check(double.mappedBytes, is: mapped, "address space, \(note)") }
            double.arm(.none)
            moved = user.realloc(block.address, bytes)
          }
          double.arm(.none)
          try check(moved != 0, "the next try, \(note)")
          block.address = moved
          try check(block.isIntact, "content, \(note)")
          block.bytes = bytes
          block.fill()
        }
        try check(fixture.heap.statistics().hugeBlocks, is: 1, "huge blocks")
        user.free(block.address)
        user.free(neighbour)
        user.leave()
        fixture.heap.trim(nil)
        try check(fixture.heap.statistics().hugeBytes, is: 0, "huge bytes")
        try check(fixture.zone.it.usedPages, is: 0, "used")
        try check(fixture.residentPages().managed, is: 0, "resident")
      }
    }
  }

  /// No address space at all: each size fails with 0, and what is live stays whole.
  @Test func exhaustion() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sections: 0, double: double))
    let user = try #require(HeapUser(fixture.heap))
    var blocks: [Block] = []
    var random = Random(stream: 5)
    while blocks.count < 100_000 {
      if blocks.count == 500 { double.arm(.from(1)) }
      let bytes = random.spread(1...3000)
      let address = user.malloc(bytes)
      if address == 0 { break }
      let block = Block(address: address, bytes: bytes, cookie: UInt8(truncatingIfNeeded: blocks.count))
      block.fill()
      blocks.append(block)
    }
    #expect(blocks.count >= 500)
    for bytes in [1 << 20, 50 << 20, 1 << 40, UInt(Int.max)] as [UInt] {
      #expect(user.malloc(bytes) == 0)
      #expect(user.calloc(bytes) == 0)
      #expect(user.aligned(bytes, 1 << 20) == 0)
      #expect(user.realloc(blocks[0].address, bytes) == 0)
    }
    for block in blocks { try check(block.isIntact, "content") }
    for block in blocks { user.free(block.address) }
    double.arm(.none)
    #expect(user.malloc(1 << 20) != 0)
  }
  /// Where small commits succeed and large ones do not, each failed request leaves the arena as it was.
  @Test func refusedCommitsDoNotMakeTheArenaGrow() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 12, double: double))
    _ = try #require(fixture.arena.allocate(pages: 1, alignment: 1))
    double.arm(.sized(.commit, (1 << 20) + 1...UInt.max))
    for _ in 0..<10 { #expect(fixture.arena.allocate(pages: 2000, alignment: 1) == nil) }
    #expect(fixture.arena.it.sections == 1)
    #expect(fixture.arena.allocate(pages: 8, alignment: 1) != nil)
    double.arm(.none)
    #expect(fixture.arena.allocate(pages: 2000, alignment: 1) != nil)
  }

  /// Where address space is short, less of a section will do, and no page beyond its end is given.
  @Test(arguments: [1 << 20, 2 << 20, 4 << 20] as [UInt])
  func shortSections(bytes: UInt) throws {
    let double = FailingPlatform()
    let memory = Memory(16384)
    let arena = ArenaRef(memory.address)
    let zone = ZoneRef(memory.address + 1024)
    let geometry = try #require(Geometry(sectionBytes: 16 << 20))
    try #require(
      arena.initialise(geometry: geometry, platform: double.platform, zone: zone, capacity: 0))
    // Larger ones are tries with slack for the alignment.
    double.arm(.sized(.reserve, bytes + 1...16 << 20))
    var random = Random(stream: 11)
    var runs: [PageRun] = []
    for _ in 0..<200 {
      guard let run = arena.allocate(pages: random.spread(1...200), alignment: 1) else { continue }
      let base = arena.knownSection(at: run.address).it.base
      try check(run.address >= base + geometry.memmapBytes, "a page of the memmap")
      try check(run.end <= base + bytes, "beyond the end of a short section")
      bellows_zero(run.address, run.bytes)
      runs.append(run)
    }
    #expect(zone.it.presentPages == UInt(arena.it.sections) * bytes >> Page.shift)
    let section = try #require(arena.section(at: runs[0].address))
    let last = runs.filter { $0.address >= section.it.base && $0.end <= section.it.base + bytes }
    if let end = last.max(by: { $0.end < $1.end })?.end {
      let beyond = (section.it.base + bytes - end) >> Page.shift + 1
      #expect(!zone.extend(section, address: end - Page.bytes, pages: 1, extra: beyond))
    }
    for run in runs { zone.free(arena.knownSection(at: run.address), address: run.address, pages: run.pages) }
    #expect(zone.it.usedPages == 0)
    #expect(zone.purge(dirtySince: .max) == runs.reduce(0) { $0 + $1.pages })
  }
}
