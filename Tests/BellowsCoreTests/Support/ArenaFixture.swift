// An arena with its zone and heap in memory of its own: tests make them by the dozen.

import BellowsCore
import CShims

final class ArenaFixture: Sendable {
  /// The section sizes that tests run with: 64 KiB, 256 KiB and 2 MiB pageblocks.
  static let sectionSizes: [UInt] = [4 << 20, 16 << 20, 128 << 20]

  private let memory = Memory(16384)
  /// Where the arena's system calls go, if not to the system itself.
  private let double: FailingPlatform?
  /// What keeps it apart from its neighbours.
  private let fence: Fence?

  var arena: ArenaRef { ArenaRef(memory.address) }
  var zone: ZoneRef { ZoneRef(memory.address + 1024) }
  var heap: HeapRef { HeapRef(memory.address + 4096) }
  var geometry: Geometry { arena.it.geometry }
  var reservation: UInt { arena.it.reservation }
  var capacity: UInt { arena.it.capacity }

  /// Pages of one section that a zone may give, and of its memmap.
  var memmapPages: UInt { geometry.memmapBytes >> Page.shift }
  var managedPages: UInt { geometry.sectionPages - memmapPages }

  /// An arena of `sections` sections and one more that most tests leave unused. Nil where the system refuses.
  init?(
    sectionBytes: UInt = 4 << 20, sections: UInt = 4, double: FailingPlatform? = nil,
    isChecking: Bool = false
  ) {
    self.double = double
    let geometry = Geometry(sectionBytes: sectionBytes)!
    let capacity = (sections + 1) * sectionBytes
    fence = Fence(capacity, alignment: sectionBytes)
    double?.fence = fence
    let ready = ArenaRef(memory.address).initialise(
      geometry: geometry, platform: double?.platform ?? fence?.platform ?? .system,
      zone: ZoneRef(memory.address + 1024), capacity: capacity)
    guard ready else { return nil }
    heap.initialise(arena: arena, isChecking: isChecking)
  }

  deinit { arena.releaseReservation() }

  func section(_ index: UInt) -> SectionRef {
    arena.knownSection(at: reservation + index << geometry.sectionShift)
  }

  /// Adds a section, as a caller does that holds no lock.
  func addSection() -> SectionRef? {
    arena.growth.acquire()
    defer { arena.growth.release() }
    return arena.addSection()
  }

  /// Resident pages of what the zone may give, and of the memmaps.
  func residentPages() -> (managed: UInt, memmap: UInt) {
    var managed: UInt = 0
    var memmap: UInt = 0
    for index in 0..<UInt(arena.it.sections) {
      let base = reservation + index << geometry.sectionShift
      memmap += Kernel.residentPages(base, geometry.memmapBytes)
      managed += Kernel.residentPages(
        base + geometry.memmapBytes, geometry.sectionBytes - geometry.memmapBytes)
    }
    return (managed, memmap)
  }
}

extension Ref where Pointee == Zone {
  /// Pages in a row, or nil where the zone has none or the system refuses to make them accessible.
  func run(pages: UInt, alignment: UInt) -> PageRun? {
    if case .run(let run) = allocate(pages: pages, alignment: alignment) { run } else { nil }
  }
}

/// The figures of an arena that a failed operation must leave as they were.
struct Figures: Equatable {
  var sections: UInt
  var present: UInt
  var managed: UInt
  var used: UInt
  var dirty: UInt
  var hugeBlocks: UInt
  var hugeBytes: UInt
  var resident: UInt
  var mappings: UInt

  init(_ fixture: ArenaFixture) throws {
    let now = fixture.heap.statistics()
    sections = now.sections
    present = now.presentPages
    managed = now.presentPages - now.memmapPages
    used = now.usedPages
    dirty = now.dirtyPages
    hugeBlocks = now.hugeBlocks
    hugeBytes = now.hugeBytes
    resident = Kernel.residentPages(fixture.reservation, fixture.capacity)
    mappings = try Kernel.mappings(fixture.reservation, fixture.capacity)
  }
  /// Takes one section that is empty out of the figures.
  mutating func dropSection(_ fixture: ArenaFixture, _ before: Figures) {
    sections -= 1
    present -= fixture.geometry.sectionPages
    managed -= fixture.managedPages
    // Accessible and inaccessible alternate: the first section that is added makes one mapping two, each
    // further one makes at most two more.
    if mappings <= before.mappings + 2 { mappings = before.mappings }
  }
}
