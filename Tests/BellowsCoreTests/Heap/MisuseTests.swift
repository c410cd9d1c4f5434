// Bad input ends the process with one line on standard error. Each case runs in a process of its own.

import BellowsCore
import CShims
import Glibc
import Testing

/// A heap for one case.
private func bench(isChecking: Bool) -> (ArenaFixture, HeapUser) {
  let fixture = ArenaFixture(sectionBytes: 128 << 20, sections: 2, isChecking: isChecking)!
  return (fixture, HeapUser(fixture.heap)!)
}

/// Whether a process ended with SIGABRT and this line.
private func expectLine(
  _ result: ExitTest.Result?, _ text: String, sourceLocation: SourceLocation = #_sourceLocation
) {
  let error = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
  let lines = error.split(separator: "\n").filter { $0.hasPrefix("bellows: ") }
  #expect(lines.count == 1, "\(error)", sourceLocation: sourceLocation)
  #expect(lines.first?.contains(text) == true, "\(error)", sourceLocation: sourceLocation)
}

@Suite struct MisuseTests {
  // MARK: Always on

  @Test func doubleFreeOfTheBlockFreedLast() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let block = user.malloc(100)
      user.free(block)
      user.free(block)
      _ = fixture
    }
    expectLine(result, "double free of the block freed last")
  }

  @Test func doubleFreeOfTheBlockFreedLastByAnother() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let block = user.malloc(100)
      let other = HeapUser(withoutHeap: fixture.heap)
      other.free(block)
      other.free(block)
    }
    expectLine(result, "double free of the block freed last")
  }

  @Test func doubleFreeOfALargeBlock() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let block = user.malloc(100_000)
      user.free(block)
      user.free(block)
      _ = fixture
    }
    expectLine(result, "double free of a large block")
  }

  @Test func doubleFreeOfALargeBlockThatWasGivenBack() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let block = user.malloc(10 << 20)
      user.free(block)
      fixture.heap.trim(user.own)
      user.free(block)
    }
    expectLine(result, "double free, or never allocated: the page is free")
  }

  @Test func interiorPointerOfARun() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      user.free(user.malloc(100_000) + 40_000)
      _ = fixture
    }
    expectLine(result, "interior pointer to a large block")
  }

  @Test func interiorPointerOfARunsFirstGranule() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      user.free(user.malloc(100_000) + 16)
      _ = fixture
    }
    expectLine(result, "interior pointer to a large block")
  }

  @Test func interiorPointerOfAHugeBlock() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      user.free(user.malloc(100 << 20) + 4096)
      _ = fixture
    }
    expectLine(result, "interior pointer to a large block")
  }

  @Test func foreignPointer() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let memory = Memory(4096)
      user.free(memory.address)
      _ = fixture
    }
    expectLine(result, "no section is at this address")
  }

  @Test func pointerIntoTheMemmap() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      _ = user.malloc(1)
      user.free(fixture.reservation + 64)
    }
    expectLine(result, "the address lies in the memmap")
  }

  @Test func reallocOfAFreedBlock() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: false)
      let block = user.malloc(100_000)
      user.free(block)
      _ = user.realloc(block, 200_000)
      _ = fixture
    }
    expectLine(result, "realloc(")
  }

  // MARK: Checking mode

  @Test func anyDoubleFree() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: true)
      let blocks = (0..<100).map { _ in user.malloc(48) }
      for block in blocks { user.free(block) }
      user.free(blocks[17])
      _ = fixture
    }
    expectLine(result, "double free")
  }

  @Test func anyInteriorPointer() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: true)
      user.free(user.malloc(48) + 16)
      _ = fixture
    }
    expectLine(result, "interior pointer: no block starts here")
  }

  @Test func wrongSize() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: true)
      fixture.heap.checkSize(user.malloc(48), bytes: 49, alignment: 16, "free_sized")
    }
    expectLine(result, "wrong size")
  }

  @Test func sizeOfAFreedBlock() async {
    let result = await #expect(
      processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
    ) {
      let (fixture, user) = bench(isChecking: true)
      let block = user.malloc(48)
      _ = user.malloc(48)
      user.free(block)
      _ = user.usable(block)
      _ = fixture
    }
    expectLine(result, "use of a freed block")
  }

  /// Correct programs run in checking mode as they do without.
  @Test func checkingFindsNothingInACorrectProgram() throws {
    let fixture = try #require(ArenaFixture(sections: 60, isChecking: true))
    let user = try #require(HeapUser(fixture.heap))
    var model = HeapModel(user, stream: 10, largest: 1 << 20)
    for _ in 0..<60_000 { try model.takeStep() }
    try model.freeAll()
    for bytes in [0, 1, 100, 32768, 40000, 3 << 20] as [UInt] {
      let block = user.malloc(bytes)
      fixture.heap.checkSize(block, bytes: bytes, alignment: 16, "free_sized")
      user.free(block)
      let aligned = user.aligned(bytes, 4096)
      fixture.heap.checkSize(aligned, bytes: bytes, alignment: 4096, "free_aligned_sized")
      user.free(aligned)
    }
    user.leave()
    try fixture.compareEmptyHeap()
  }
}
