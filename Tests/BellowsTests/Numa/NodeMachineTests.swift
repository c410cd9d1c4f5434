// Rows that need several nodes: Tests/VM/run boots emulated machines and runs them there, one machine for each name that
// BELLOWS_TEST_MACHINE takes. What the kernel says is asked of move_pages and numa_maps, never of what Bellows believes.

import Foundation
import Glibc
import Testing

@testable import Bellows

private let machine = ProcessInfo.processInfo.environment["BELLOWS_TEST_MACHINE"]

private func onMachine(_ names: String...) -> Bool { machine.map { names.contains($0) } ?? false }

@Suite(.serialized) struct NodeMachineTests {
  private func arena(_ mebibytes: Int = 64) throws -> Arena {
    try Arena(reserving: .mebibytes(mebibytes), configuration: .init(sectionSize: .mebibytes(4)))
  }

  /// Allocates pages and writes each, with a word that tells it from all others.
  private func filled(
    _ arena: Arena, pages count: Int, near node: NodeNumber? = nil, isMovable: Bool = false
  ) throws -> Allocation {
    var pages = try arena.allocate(pages: count, near: node, isMovable: isMovable)
    var bytes = pages.mutableBytes
    for page in 0..<count {
      bytes.storeBytes(of: UInt64(page) &* 0x9E37, toByteOffset: page * 4096, as: UInt64.self)
    }
    return pages
  }

  /// Whether each page has its word. By address: expectations take no values that cannot be copied.
  private func isIntact(_ range: AddressRange, _ count: Int) -> Bool {
    (0..<count).allSatisfy { page in
      let word = unsafe UnsafePointer<UInt64>(bitPattern: range.start + UInt(page) * 4096)
      return unsafe word?.pointee == UInt64(page) &* 0x9E37
    }
  }

  /// Writes a byte of each page.
  private func touch(_ pages: inout Allocation, _ count: Int) {
    var bytes = pages.mutableBytes
    for page in 0..<count { bytes.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
  }

  /// Pages of the arena on each node, as numa_maps counts them.
  private func kernelPages(_ arena: Arena) throws -> [NodeNumber: Int] {
    let maps = try #require(NumaMaps(reading: SystemFiles()))
    return maps.bytes { arena.addressRange.contains($0.start) }.mapValues { $0 / 4096 }
  }

  // libnuma is read here, and only here: it was loaded with this process, so it knows what was there then.
  @Test(.enabled(if: onMachine("two", "four"))) func topologyIsWhatLibnumaSees() throws {
    let topology = NodeTopology.current()
    let library = unsafe try #require(dlopen("libnuma.so.1", RTLD_NOW), "libnuma1 must be packed")
    func function<T>(_ name: String, _: T.Type) throws -> T {
      let found = unsafe dlsym(library, name)
      return unsafe unsafeBitCast(found, to: T.self)
    }
    let distance = try function("numa_distance", (@convention(c) (Int32, Int32) -> Int32).self)
    let nodeOfCPU = try function("numa_node_of_cpu", (@convention(c) (Int32) -> Int32).self)
    let size = unsafe try function(
      "numa_node_size64", (@convention(c) (Int32, UnsafeMutablePointer<Int64>?) -> Int64).self)
    for node in topology.nodes {
      let bytes = size(Int32(node.number.rawValue), nil)
      #expect(Int(bytes) == node.memoryBytes)
      for cpu in node.cpus { #expect(Int(nodeOfCPU(Int32(cpu))) == node.number.rawValue) }
      for other in topology.nodes {
        #expect(
          topology.distance(from: node.number, to: other.number)
            == Int(distance(Int32(node.number.rawValue), Int32(other.number.rawValue))))
      }
    }
  }

  @Test(.enabled(if: onMachine("two", "four"))) func pagesComeFromTheNodeThatWasChosen() throws {
    for node in NodeTopology.current().nodes.map(\.number) {
      for policy in [PlacementPolicy.preferred(node), .bind([node])] {
        let arena = try arena()
        try arena.place(policy)
        let pages = try filled(arena, pages: 600)
        #expect(PagePlacement(of: pages.addressRange).pages == [node: 600])
        let pagesByNode = try kernelPages(arena)
        #expect(Set(pagesByNode.keys) == [node])
      }
    }
  }

  // From node 2 it is 17 to node 3, and 25 to nodes 0 and 1.
  @Test(.enabled(if: onMachine("four"))) func aFullZoneFallsBackByDistance() throws {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    let arena = try Arena(reserving: .mebibytes(64), configuration: configuration)
    for node in [0, 1, 2, 3] {
      var options = Arena.AddOptions()
      options.node = node
      try arena.online(try arena.add(options: options))
    }
    #expect(arena.zones.map(\.node) == [nil, 0, 1, 2, 3])
    for node in [2, 3, 0, 1] as [NodeNumber] {
      // Nearly all that a section has.
      var pages = try arena.allocate(pages: 1000, near: 2)
      touch(&pages, 1000)
      #expect(PagePlacement(of: pages.addressRange).pages == [node: 1000])
      unsafe _ = pages.leak()
    }
  }

  // Two nodes with a normal and a movable section each. A movable section goes, and its blocks come to lie on the other node.
  @Test(.enabled(if: onMachine("two", "four"))) func movableZonesAreOfTheirNodes() throws {
    var configuration = Arena.Configuration(sectionSize: .mebibytes(4))
    configuration.growsByNeed = false
    let arena = try Arena(reserving: .mebibytes(64), configuration: configuration)
    var places: [Arena.ZoneKind: [AddressRange]] = [:]
    for (kind, choice) in [(.normal, .normal), (.movable, .movable)]
      as [(Arena.ZoneKind, Arena.ZoneChoice)]
    {
      for node in [0, 1] {
        var options = Arena.AddOptions()
        options.node = node
        let added = try arena.add(options: options)
        try arena.online(added, in: choice)
        let section = try #require(arena.memorySection(added.lowerBound))
        #expect(section.zone == kind && section.node == node)
        places[kind, default: []].append(section.addressRange)
      }
    }
    for node in [0, 1] {
      for kind in Arena.ZoneKind.allCases {
        let pages = try filled(
          arena, pages: 600, near: NodeNumber(rawValue: node), isMovable: kind == .movable)
        let range = pages.addressRange
        #expect(PagePlacement(of: range).pages == [NodeNumber(rawValue: node): 600], "\(kind)")
        #expect(places[kind]?[node].contains(range.start) == true, "\(kind)")
      }
    }
    let near = try #require(places[.movable]?[0])
    let far = try #require(places[.movable]?[1])
    var block = try arena.allocateRelocatable(byteCount: .mebibytes(1))
    var range = block.withPinned { bytes in
      for page in 0..<256 { bytes.storeBytes(of: UInt64(page), toByteOffset: page * 4096, as: UInt64.self) }
      return unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
    func placement(_ start: UInt) -> [NodeNumber: Int] {
      PagePlacement(of: AddressRange(start: start, byteCount: .mebibytes(1))).pages
    }
    #expect(near.contains(range) && placement(range) == [0: 256])
    let before = try kernelPages(arena)
    let index = SectionIndex(rawValue: 2)
    try arena.offline(index..<index.advanced(by: 1))
    range = block.withBytes { bytes in
      for page in 0..<256 {
        #expect(unsafe bytes.unsafeLoad(fromByteOffset: page * 4096, as: UInt64.self) == UInt64(page))
      }
      return unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
    }
    #expect(far.contains(range) && placement(range) == [1: 256])
    #expect(PagePlacement(of: near).residentPages == 16, "its descriptors alone")
    let after = try kernelPages(arena)
    #expect((before[0] ?? 0) - (after[0] ?? 0) >= 256, "\(before), \(after)")
    // It comes back to its zone, and is of its node again.
    try arena.online(index..<index.advanced(by: 1), in: .movable)
    let again = try filled(arena, pages: 600, near: 0, isMovable: true)
    let place = again.addressRange
    #expect(near.contains(place.start) && PagePlacement(of: place).pages == [0: 600])
  }

  @Test(.enabled(if: onMachine("two", "four"))) func interleavingIsEven() throws {
    let arena = try arena()
    try arena.place(.interleave([0, 1]))
    let pages = try filled(arena, pages: 600)
    let placed = PagePlacement(of: pages.addressRange).pages
    #expect(placed.keys.sorted() == [0, 1] && abs((placed[0] ?? 0) - 300) <= 2)
  }

  @Test(.enabled(if: onMachine("two", "four"))) func weightsAreBySection() throws {
    let arena = try arena()
    try arena.place(.weighted([0: 3, 1: 1]))
    var all: [UnsafeMutableRawBufferPointer] = unsafe []
    for _ in 0..<8 { unsafe all.append(try filled(arena, pages: 900).leak()) }
    let sections = arena.placement().sections
    #expect(sections.count == 8 && sections.allSatisfy { $0.pages.pages.count == 1 })
    #expect(sections.filter { $0.node == 0 }.count == 6 && sections.filter { $0.node == 1 }.count == 2)
    unsafe all.forEach { unsafe arena.deallocate($0) }
  }

  @Test(.enabled(if: onMachine("two", "four"))) func aSectionCanDiffer() throws {
    let arena = try arena()
    try arena.place(.preferred(0))
    try arena.place(.preferred(1), section: SectionIndex(rawValue: 1))
    let first = try filled(arena, pages: 900)
    let second = try filled(arena, pages: 900)
    #expect(PagePlacement(of: first.addressRange).pages == [0: 900])
    #expect(PagePlacement(of: second.addressRange).pages == [1: 900])
  }

  // The question goes to the page of the descriptor itself.
  @Test(.enabled(if: onMachine("two", "four"))) func theMemmapsNodeIsAChoiceOfItsOwn() throws {
    for (memmap, node): (Arena.MemmapPlacement, NodeNumber) in [
      (.withSection, 1), (.local, 0), (.node(0), 0),
    ] {
      try NodePinning.run(on: 0) {
        let arena = try arena()
        try arena.place(.preferred(1), memmap: memmap)
        let heap = try arena.makeHeap()
        var blocks: [UnsafeMutableRawBufferPointer] = unsafe []
        for _ in 0..<2000 {
          let block = unsafe try heap.allocate(byteCount: 512).leak()
          unsafe block.initializeMemory(as: UInt8.self, repeating: 7)
          unsafe blocks.append(block)
        }
        let section = try #require(arena.placement().sections.first)
        #expect(section.pages.nodes == [1])
        #expect(section.memmap.nodes == [node], "\(memmap)")
        let outside = arena.placement().memmapOutside
        #expect(outside == .pages(node == 1 ? 0 : section.memmap.residentPages))
        unsafe blocks.forEach { unsafe heap.deallocate($0) }
      }
    }
  }

  // Given back, decommitted, and used again: the policy is there each time.
  @Test(.enabled(if: onMachine("two", "four"))) func aPolicySurvivesDecommitAndCommit() throws {
    let arena = try arena()
    try arena.place(.preferred(1), memmap: .node(0))
    for _ in 0..<3 {
      do {
        let pages = try filled(arena, pages: 800)
        #expect(PagePlacement(of: pages.addressRange).pages == [1: 800])
      }
      arena.trim()
      arena.core.shrink()
      #expect(try kernelPages(arena)[1] ?? 0 <= 1)
    }
  }

  @Test(.enabled(if: onMachine("two"))) func hugePagesFollowThePolicy() throws {
    let memory = unsafe try #require(Platform.map(8 << 20))
    defer { unsafe munmap(memory, 8 << 20) }
    let start = (UInt(bitPattern: memory) + (2 << 20) - 1) & ~UInt((2 << 20) - 1)
    #expect(KernelPolicy.preferring(0b10).apply(start, 4 << 20) == 0)
    let pointer = unsafe try #require(UnsafeMutableRawPointer(bitPattern: start))
    unsafe madvise(pointer, 4 << 20, 14)
    unsafe memset(pointer, 1, 4 << 20)
    #expect(PagePlacement(of: AddressRange(start: start, byteCount: .mebibytes(4))).pages == [1: 1024])
  }

  // The kernel's reserve, too, each time that a page is taken out of it again.
  @Test(.enabled(if: onMachine("two"))) func reservedHugePagesFollowThePolicy() throws {
    for node in [0, 1] {
      let file = "/sys/devices/system/node/node\(node)/hugepages/hugepages-2048kB/nr_hugepages"
      try "6".write(toFile: file, atomically: false, encoding: .utf8)
    }
    defer { try? "0".write(toFile: "/proc/sys/vm/nr_hugepages", atomically: false, encoding: .utf8) }
    let arena = try Arena(reserving: .mebibytes(256))
    try arena.place(.preferred(1))
    let pool = try arena.makeHugePagePool(of: .reserved)
    try pool.addSection()
    for _ in 0..<3 {
      var page = try pool.take()
      var bytes = page.mutableBytes
      bytes.storeBytes(of: 7, toByteOffset: 0, as: UInt8.self)
      let maps = try #require(NumaMaps(reading: SystemFiles()))
      let start = page.addressRange.start
      let mapping = try #require(maps.mappings.first { $0.start == start })
      #expect(mapping.pageBytes == 2 << 20 && mapping.pages == [1: 1], "\(mapping)")
    }
    let ordinary = try filled(arena, pages: 600)
    #expect(PagePlacement(of: ordinary.addressRange).pages == [1: 600])
  }

  // Transparent ones through a pool, whose pages go back to the system and come again.
  @Test(.enabled(if: onMachine("two"))) func aPoolOfHugePagesFollowsThePolicy() throws {
    let arena = try Arena(reserving: .mebibytes(256))
    try arena.place(.preferred(1))
    let pool = try arena.makeHugePagePool()
    try pool.addSection()
    for _ in 0..<3 {
      let page = try pool.take()
      #expect(PagePlacement(of: page.addressRange).pages == [1: 512])
    }
  }

  @Test(.enabled(if: onMachine("two", "four"))) func aDrainTakesSectionsOfflineAndMovesRelocatableBlocks()
    throws
  {
    let arena = try arena()
    try arena.place(.preferred(1))
    var relocatable = try arena.allocateRelocatable(byteCount: .mebibytes(1))
    relocatable.withPinned { bytes in
      for page in 0..<256 { bytes.storeBytes(of: UInt64(page), toByteOffset: page * 4096, as: UInt64.self) }
    }
    let first = arena.sections.map(\.index)
    // A section that nothing is left in, and one with pages that cannot move.
    let held = try filled(arena, pages: 900)
    do { _ = try filled(arena, pages: 900) }
    let outcome = try arena.drain([1], within: .seconds(60))
    #expect(outcome.isComplete, "\(outcome)")
    #expect(try kernelPages(arena)[1] == nil)
    let offline = arena.sections.filter { arena.isOutOfCirculation($0.addressRange.end - 4096) }.map(\.index)
    #expect(!offline.isEmpty && Set(offline).isSuperset(of: first), "\(offline)")
    #expect(isIntact(held.addressRange, 900))
    relocatable.withBytes { bytes in
      for page in 0..<256 {
        #expect(unsafe bytes.unsafeLoad(fromByteOffset: page * 4096, as: UInt64.self) == UInt64(page))
      }
    }
    try arena.bringHome()
    #expect(arena.sections.allSatisfy { !arena.isOutOfCirculation($0.addressRange.end - 4096) })
    #expect(PagePlacement(of: held.addressRange).pages == [1: 900])
  }

  @Test(.enabled(if: onMachine("two", "four"))) func aDrainedNodeIsEmptyAndTheProgramGoesOn() throws {
    let arena = try arena()
    try arena.place(.preferred(1))
    let heap = try arena.makeHeap()
    let pages = try filled(arena, pages: 700)
    var block = try heap.allocate(byteCount: 5000)
    var bytes = block.mutableBytes
    bytes.storeBytes(of: 42, toByteOffset: 4990, as: UInt8.self)
    let address = pages.addressRange
    // A thread goes on writing while pages move under it.
    let stop = Flag()
    let writer = Thread {
      var count: UInt64 = 0
      let word = unsafe UnsafeMutablePointer<UInt64>(bitPattern: address.start + 699 * 4096 + 8)!
      while !stop.isSet {
        count += 1
        unsafe word.pointee = count
      }
      stop.finish(count)
    }
    writer.start()
    var steps = 0
    let outcome = try arena.drain([1], within: .seconds(60)) { _ in
      steps += 1
      return true
    }
    let count = stop.wait()
    #expect(outcome.isComplete && outcome.movedPages >= 700 && steps > 1, "\(outcome)")
    #expect(try kernelPages(arena)[1] == nil)
    #expect(arena.placement().records.pages[1] == nil)
    #expect(pages.addressRange == address && isIntact(pages.addressRange, 700))
    #expect(unsafe UnsafePointer<UInt64>(bitPattern: address.start + 699 * 4096 + 8)?.pointee == count)
    #expect(unsafe UnsafePointer<UInt8>(bitPattern: block.addressRange.start + 4990)?.pointee == 42)
    // What comes now does not come there.
    let more = try filled(arena, pages: 500)
    #expect(PagePlacement(of: more.addressRange).pages[1] == nil)
    // And home again.
    let home = try arena.bringHome()
    #expect(home.allSatisfy(\.isComplete) && !home.isEmpty)
    #expect(PagePlacement(of: more.addressRange).pages == [1: 500])
    #expect(isIntact(pages.addressRange, 700) && isIntact(more.addressRange, 500))
  }

  @Test(.enabled(if: onMachine("two", "four"))) func deadlineAndStopLeaveAnAccount() throws {
    let arena = try arena()
    try arena.place(.preferred(1))
    let pages = try filled(arena, pages: 900)
    let none = try PageMover(from: [1], to: [0]).move([pages.addressRange], within: .zero)
    #expect(none.movedPages == 0 && none.leftPages == 900)
    #expect(none.blockers == [PageMover.Blocker(reason: .notReached, pages: 900)])
    let one = try PageMover(from: [1], to: [0]).move([pages.addressRange]) { _ in false }
    #expect(one.movedPages > 0 && one.leftPages == 900 - one.movedPages)
    #expect(isIntact(pages.addressRange, 900))
  }

  // Node 1 is small here. A strict arena is refused, a preferring one goes on elsewhere, and nobody is killed.
  @Test(.enabled(if: onMachine("full"))) func aFullNodeRefusesOrSpillsAndNobodyIsKilled() throws {
    let strict = try arena(1024)
    try strict.place(.bind([1]))
    var held: [UnsafeMutableRawBufferPointer] = unsafe []
    var refusal: AllocationError?
    while refusal == nil {
      do throws(AllocationError) {
        var pages = try strict.allocate(pages: 256)
        touch(&pages, 256)
        unsafe held.append(pages.leak())
      } catch { refusal = error }
    }
    #expect(refusal == .exhausted)
    let onNode = strict.placement().sections.reduce(into: PagePlacement()) { $0 += $1.pages }
    #expect(onNode.nodes == [1] && onNode.residentPages > 10 * 256)

    let preferring = try arena(256)
    try preferring.place(.preferred(1))
    for _ in 0..<60 {
      var pages = try preferring.allocate(pages: 256)
      touch(&pages, 256)
      unsafe held.append(pages.leak())
    }
    #expect(preferring.placement().sections.contains { $0.pages.nodes.contains(0) })
    // No room to move what is on node 0 there, too.
    let big = try arena(256)
    try big.place(.preferred(0))
    let pages = try filled(big, pages: 1000)
    #expect(throws: PageMover.Failure.self) { try PageMover(from: [0], to: [1]).move([pages.addressRange]) }
    #expect(PagePlacement(of: pages.addressRange).pages == [0: 1000])
  }

  // The spill goes by distance: node 2 is nearest to node 3 here, and nodes 0 and 1 are not.
  @Test(.enabled(if: onMachine("four"))) func aFullNodeSpillsToTheNearest() throws {
    let fallback = NodeTopology.current().fallback(from: 3)
    let arena = try arena(512)
    try arena.place(.preferred(3))
    for _ in 0..<45 {
      var pages = try arena.allocate(pages: 900)
      touch(&pages, 900)
      unsafe _ = pages.leak()
    }
    let total = arena.placement().sections.reduce(into: PagePlacement()) { $0 += $1.pages }
    #expect(total.nodes == [2, 3], "\(total.pages)")
    #expect(fallback[1] == 2)
    #expect(fallback.first == 3 && NodeTopology.current()[3]?.isMemoryOnly == true)
  }

  // The group may use node 0 alone for a while: pages go there, and the choice of node 1 is not forgotten.
  @Test(.enabled(if: onMachine("cpuset"))) func aChangeOfTheCpusetDoesNotRewriteThePlacement() throws {
    let group = "/sys/fs/cgroup/rows"
    func set(_ nodes: String) throws {
      try nodes.write(toFile: "\(group)/cpuset.mems", atomically: false, encoding: .utf8)
    }
    try FileManager.default.createDirectory(atPath: group, withIntermediateDirectories: true)
    try set("0-1")
    try "\(getpid())".write(toFile: "\(group)/cgroup.procs", atomically: false, encoding: .utf8)
    let arena = try arena()
    try arena.place(.preferred(1))
    let first = try filled(arena, pages: 300)
    #expect(PagePlacement(of: first.addressRange).pages == [1: 300])
    try set("0")
    #expect(PagePlacement(of: first.addressRange).pages == [0: 300])
    #expect(isIntact(first.addressRange, 300))
    let meanwhile = try filled(arena, pages: 300)
    #expect(PagePlacement(of: meanwhile.addressRange).pages == [0: 300])
    try set("0-1")
    let after = try filled(arena, pages: 300)
    #expect(PagePlacement(of: after.addressRange).pages == [1: 300])
  }

  // Node 2 has no memory when this process starts.
  @Test(.enabled(if: onMachine("hotplug"))) func aNodeIsPluggedInUsedDrainedAndTakenAway() throws {
    func monitor(_ command: String) throws {
      try "@@MONITOR \(command)\n".write(toFile: "/dev/ttyS2", atomically: false, encoding: .utf8)
    }
    func wait(_ condition: () throws -> Bool) rethrows -> Bool {
      for _ in 0..<150 {
        if try condition() { return true }
        usleep(100_000)
      }
      return false
    }
    func blocks() -> [String] {
      SystemFiles().names(in: "sys/devices/system/node/node2").filter {
        $0.hasPrefix("memory") && $0 != "memory_failure"
      }
      .filter { Int($0.dropFirst(6)) != nil }.map { "/sys/devices/system/node/node2/\($0)/state" }
    }
    #expect(NodeTopology.current()[2] == nil)
    let arena = try arena()
    #expect(throws: PlacementError.self) { try arena.place(.preferred(2)) }
    let watch = NodeWatch()
    try monitor("object_add memory-backend-ram,id=plugged,size=256M")
    try monitor("device_add pc-dimm,id=slot,memdev=plugged,node=2")
    #expect(wait { blocks().count == 2 })
    for block in blocks() { try "online_movable".write(toFile: block, atomically: false, encoding: .utf8) }
    #expect(wait { watch.poll().contains(.appeared(2)) })
    #expect((NodeTopology.current()[2]?.memoryBytes ?? 0) >= 200 << 20)

    try arena.place(.preferred(2))
    let pages = try filled(arena, pages: 900)
    #expect(PagePlacement(of: pages.addressRange).pages == [2: 900])

    let outcome = try arena.drain([2])
    #expect(outcome.isComplete && isIntact(pages.addressRange, 900))
    for block in blocks() { try "offline".write(toFile: block, atomically: false, encoding: .utf8) }
    try monitor("device_del slot")
    #expect(wait { watch.poll().contains(.disappeared(2)) })
    #expect(isIntact(pages.addressRange, 900) && PagePlacement(of: pages.addressRange).residentPages == 900)
  }
}

private enum Platform {
  static func map(_ bytes: Int) -> UnsafeMutableRawPointer? {
    let got = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return unsafe got == MAP_FAILED ? nil : got
  }
}

/// A signal from one thread to another and back.
private final class Flag: @unchecked Sendable {
  private let condition = NSCondition()
  private var stopping = false
  private var count: UInt64?

  var isSet: Bool {
    condition.lock()
    defer { condition.unlock() }
    return stopping
  }

  func finish(_ value: UInt64) {
    condition.lock()
    count = value
    condition.broadcast()
    condition.unlock()
  }

  func wait() -> UInt64 {
    condition.lock()
    defer { condition.unlock() }
    stopping = true
    while count == nil { condition.wait() }
    return count ?? 0
  }
}
