import Bellows
import Glibc
import Testing

@Suite("Errors and ends of an arena")
struct ArenaErrorTests {
  @Test(arguments: [ByteCount.zero, -1, .tebibytes(64) + 1, .bytes(.max), .bytes(.min)])
  func capacities(capacity: ByteCount) {
    #expect(throws: ArenaError.invalidCapacity) { try Arena(reserving: capacity) }
  }

  @Test(arguments: [0, -1, .mebibytes(2), .mebibytes(6), .mebibytes(128) + 1, .gibibytes(2), .bytes(.min)])
  func sectionSizes(size: ByteCount) {
    #expect(throws: ArenaError.invalidSectionSize) {
      try Arena(reserving: .gibibytes(4), configuration: .init(sectionSize: size))
    }
  }

  @Test func requests() throws {
    let arena = try small(of: .mebibytes(16))
    func error(_ body: () throws(AllocationError) -> Allocation) -> AllocationError? {
      do { _ = try body() } catch { return error }
      return nil
    }
    for count in [0, -1, Int.min] {
      #expect(error { () throws(AllocationError) in try arena.allocate(pages: count) } == .invalidByteCount)
      #expect(
        error { () throws(AllocationError) in try arena.allocate(byteCount: .bytes(count)) }
          == .invalidByteCount)
    }
    for alignment in [0, -4096, 3, 12288, Int.min] {
      #expect(
        error { () throws(AllocationError) in try arena.allocate(pages: 1, alignment: .bytes(alignment)) }
          == .invalidAlignment)
    }
    // 1024 pages a section, 16 of them for descriptors.
    for count in [1009, 1024, Int.max] {
      #expect(error { () throws(AllocationError) in try arena.allocate(pages: count) } == .tooLarge)
    }
    #expect(
      error { () throws(AllocationError) in try arena.allocate(pages: 1008, alignment: .kibibytes(128)) }
        == .tooLarge)
    for alignment in [ByteCount.mebibytes(4), .bytes(1 << 62)] {
      #expect(
        error { () throws(AllocationError) in try arena.allocate(pages: 1, alignment: alignment) }
          == .tooLarge)
    }
    #expect(arena.sections.isEmpty, "no refused request takes memory")
    #expect(error { () throws(AllocationError) in try arena.allocate(pages: 1008) } == nil)
  }

  @Test func capacityIsTheLimit() throws {
    let arena = try small(of: .mebibytes(16))
    var boxes = try (0..<4).map { _ in Box(try arena.allocate(pages: 1008)) }
    #expect(throws: AllocationError.exhausted) { Box(try arena.allocate(pages: 1)) }
    boxes.removeLast()
    boxes.append(Box(try arena.allocate(pages: 1008)))
    #expect(arena.statistics().allocated == .pages(4 * 1008))
  }

  /// In processes of their own, where nothing else maps memory.
  @Test func nothingIsLeftBehind() async {
    await #expect(processExitsWith: .success) {
      func use() throws {
        let arena = try Arena(reserving: .tebibytes(1), configuration: .init(sectionSize: .mebibytes(4)))
        let heap = try arena.makeHeap()
        // Enough sections for several chunks of records.
        let boxes = try (0..<300).map { _ in Box(try arena.allocate(byteCount: .mebibytes(3))) }
        let blocks = try (1..<300).map { Box(try heap.allocate(byteCount: .bytes($0 * 100))) }
        for box in boxes.prefix(3) + blocks { box.fill(9) }
        precondition(arena.statistics().sections >= 300)
        precondition(arena.statistics().metadata > .mebibytes(2))
      }
      let arena = try small(of: .gibibytes(1))
      let range = arena.addressRange
      try use()
      let before = try Mappings.all()
      for _ in 0..<10 { try use() }
      let after = try Mappings.all()
      // malloc may have moved its own border by a little; ten of the arenas left behind would be 10 TiB, and
      // their records 20 MiB.
      precondition(after.count <= before.count + 2, "\(before) \(after)")
      precondition(after.bytes <= before.bytes + 1 << 20, "\(before) \(after)")
      precondition(arena.addressRange == range)
    }
  }

  @Test func rangeIsUnmapped() async {
    await #expect(processExitsWith: .success) {
      var arena: Arena? = try small(of: .gibibytes(1))
      guard let range = arena?.addressRange else { preconditionFailure() }
      let before = try Mappings(in: range).count
      arena = nil
      let after = try Mappings(in: range).count
      precondition(before > 0 && after == 0)
    }
  }

  @Test func addressSpaceRunsOut() async {
    await #expect(processExitsWith: .success) {
      try limit(RLIMIT_AS, to: (ProcessStatus(reading: SystemFiles())?.virtualBytes ?? 0) + 100 << 20)
      let before = try Mappings.all()
      do {
        _ = try Arena(reserving: .gibibytes(1))
        preconditionFailure("1 GiB of address space is not there")
      } catch let error as ArenaError {
        precondition(error == .noAddressSpace)
      }
      let after = try Mappings.all()
      precondition(after == before)
      _ = try small(of: .mebibytes(32)).allocate(pages: 1)
    }
  }

  @Test func memoryRunsOut() async {
    await #expect(processExitsWith: .success) {
      let arena = try Arena(reserving: .gibibytes(4))
      try limit(RLIMIT_DATA, to: (ProcessStatus(reading: SystemFiles())?.dataBytes ?? 0) + 64 << 20)
      var boxes: [Box] = []
      do {
        while boxes.count < 1000 { boxes.append(Box(try arena.allocate(byteCount: .mebibytes(2)))) }
        preconditionFailure("2 GB of memory are not there")
      } catch let error as AllocationError {
        precondition(error == .exhausted && boxes.count > 20)
      }
      let count = boxes.count
      precondition(arena.statistics().allocated == .mebibytes(2 * count))
      boxes.removeLast(10)
      for _ in 0..<10 { boxes.append(Box(try arena.allocate(byteCount: .mebibytes(2)))) }
    }
  }
}

private func small(of capacity: ByteCount) throws -> Arena {
  try Arena(reserving: capacity, configuration: .init(sectionSize: .mebibytes(4)))
}

private func limit(_ resource: __rlimit_resource, to bytes: Int) throws {
  var limit = rlimit(rlim_cur: rlim_t(bytes), rlim_max: rlim_t(bytes))
  precondition(unsafe setrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0)
}
