// Relocatable blocks: named by handles, not by addresses, so that they can move while nobody holds them.
//
//     handle ──► entry ──► pages               entry.word    0            free to move
//       ▲                                                    n            pinned n times
//       │ generation: a handle of a block that               2^63         being moved, or free
//       └ was freed is none
//
// They are runs of whole pages in movable zones, or in movable pageblocks, apart from what cannot move. When a section goes
// offline, the unpinned ones in it are copied elsewhere, and a pinned one is what holds the section. Pinning is one
// compare-and-exchange; who finds a block on the move waits for the table's lock, which the mover holds. A pin for long
// takes a block out of a movable zone first, so that the zone's sections can still go.
//
// A block that its owner locked in memory (mlock) was locked where it lies, and nothing would lock it elsewhere. It moves only to
// memory that is locked, too (mlockall), and else it holds its section.
//
// (Linux: movable pages and their migration; FOLL_LONGTERM.)

import CShims

package struct RelocatableBlock: BitwiseCopyable {
  /// Pins, or `Relocatables.away`. Atomic.
  package var word: UInt
  /// Where it is. Written by the mover while nobody can have a pin.
  package var address: UInt
  package var pages: UInt
  /// Of a live block, what its handle says; changes when it is freed.
  package var generation: UInt32
  /// The next free entry, plus one.
  package var nextFree: UInt32
}

package struct Relocatables: BitwiseCopyable {
  package var lockWord: UInt
  package var arena: ArenaRef
  /// Entries that were ever used, and the first free one, plus one.
  package var entries: UInt32
  package var firstFree: UInt32
  package var liveBlocks: UInt
  package var livePages: UInt
  /// Blocks that were moved, a running sum.
  package var moves: UInt
  /// Chunk k holds 64 * 2^k entries.
  package var chunks: InlineArray<24, UInt>

  package static var away: UInt { 1 &<< 63 }
  package static var firstChunk: UInt32 { 64 }
}

package typealias RelocatablesRef = Ref<Relocatables>

/// The name of a relocatable block; never 0.
package struct RelocatableHandle: Hashable, Sendable, BitwiseCopyable {
  package let bits: UInt
  package init(bits: UInt) { self.bits = bits }
  init(_ index: UInt32, _ generation: UInt32) { bits = UInt(generation) &<< 32 | UInt(index) }
  var index: UInt32 { UInt32(truncatingIfNeeded: bits) }
  var generation: UInt32 { UInt32(truncatingIfNeeded: bits &>> 32) }
}

extension Ref where Pointee == Relocatables {
  // Below the balloons, which memory for a block that moves may come from.
  private var lock: Lock { Lock(address, .huge) }

  /// Sets up an arena's table in zero-filled memory.
  package func initialise(arena: ArenaRef) {
    it.arena = arena
    bellows_store_release(arena.address &+ Arena.relocatablesOffset, address)
  }

  private func entry(_ index: UInt32) -> Ref<RelocatableBlock> {
    let place = index &+ Relocatables.firstChunk
    let chunk = 31 &- place.leadingZeroBitCount &- 6
    let first = Relocatables.firstChunk &<< UInt32(chunk)
    let stride = UInt(bitPattern: MemoryLayout<RelocatableBlock>.stride)
    return Ref<RelocatableBlock>(it.chunks[chunk] &+ UInt(place &- first) &* stride)
  }

  /// The entry of a live block; nil where the handle is none.
  private func find(_ handle: RelocatableHandle) -> Ref<RelocatableBlock>? {
    guard handle.index < bellows_load32(address &+ 16) else { return nil }
    let entry = entry(handle.index)
    return entry.it.generation == handle.generation ? entry : nil
  }

  // MARK: Blocks

  /// A block of `pages` pages; nil where there is no memory. Its bytes are zero. Takes the lock.
  package func allocate(pages: UInt) -> RelocatableHandle? {
    guard let run = it.arena.allocate(pages: pages, alignment: 1, isMovable: true) else { return nil }
    if !run.isZero { bellows_zero(run.address, run.bytes) }
    lock.acquire()
    defer { lock.release() }
    guard let index = freeEntry() else {
      it.arena.free(run)
      return nil
    }
    let entry = entry(index)
    entry.it.address = run.address
    entry.it.pages = pages
    bellows_store_release(entry.address, 0)
    it.liveBlocks = it.liveBlocks &+ 1
    it.livePages = it.livePages &+ pages
    return RelocatableHandle(index, entry.it.generation)
  }

  /// Under the lock.
  private func freeEntry() -> UInt32? {
    if it.firstFree != 0 {
      let index = it.firstFree &- 1
      it.firstFree = entry(index).it.nextFree
      return index
    }
    let index = it.entries
    let place = index &+ Relocatables.firstChunk
    if place & (place &- 1) == 0 {
      let stride = UInt(bitPattern: MemoryLayout<RelocatableBlock>.stride)
      let chunk = 31 &- place.leadingZeroBitCount &- 6
      guard chunk < 24, let memory = it.arena.allocateMetadata(UInt(place) &* stride) else { return nil }
      it.chunks[chunk] = memory
    }
    entry(index).it.generation = 1
    bellows_store32(address &+ 16, index &+ 1)
    return index
  }

  /// Frees a block; false where it is pinned, or the handle is none. Takes the lock.
  package func free(_ handle: RelocatableHandle) -> Bool {
    lock.acquire()
    guard let entry = find(handle), bellows_compare_exchange(entry.address, 0, Relocatables.away) else {
      lock.release()
      return false
    }
    let run = PageRun(address: entry.it.address, pages: entry.it.pages, isZero: false)
    entry.it.generation = max(entry.it.generation &+ 1, 1)
    entry.it.address = 0
    entry.it.nextFree = it.firstFree
    it.firstFree = handle.index &+ 1
    it.liveBlocks = it.liveBlocks &- 1
    it.livePages = it.livePages &- run.pages
    lock.release()
    it.arena.free(run)
    return true
  }

  /// Keeps a block where it is, and answers where that is; nil where the handle is none. Waits while it is moved.
  package func pin(_ handle: RelocatableHandle) -> UInt? {
    while let entry = find(handle) {
      let word = bellows_load(entry.address)
      if word & Relocatables.away != 0 {
        // The mover holds the lock until it is done.
        lock.acquire()
        lock.release()
      } else if bellows_compare_exchange(entry.address, word, word &+ 1) {
        return entry.it.address
      }
    }
    return nil
  }

  /// The same for long, as for a device that knows the address: a block in a movable zone is moved to a normal one
  /// first. Where somebody has it pinned already, it is locked, or no normal zone has room, it stays where it is. Takes the lock; costs a
  /// copy of the block.
  package func pinForLong(_ handle: RelocatableHandle) -> UInt? {
    lock.acquire()
    defer { lock.release() }
    guard let entry = find(handle) else { return nil }
    if bellows_compare_exchange(entry.address, 0, Relocatables.away) {
      let section = it.arena.knownSection(at: entry.it.address)
      if it.arena.zone(of: section).it.kind == .movable { move(entry, isMovable: false) }
      bellows_store_release(entry.address, 1)
      return entry.it.address
    }
    while true {
      // Nobody moves it while this thread has the lock.
      let word = bellows_load(entry.address)
      if bellows_compare_exchange(entry.address, word, word &+ 1) { return entry.it.address }
    }
  }

  /// Copies a block that nobody has pinned, and marked as away, elsewhere. Where there is no room, or the block would not be
  /// locked any more, it stays. Under the lock.
  private func move(_ entry: Ref<RelocatableBlock>, isMovable: Bool) {
    let old = PageRun(address: entry.it.address, pages: entry.it.pages, isZero: false)
    // No section is added for a block that would not be let into it.
    let isLocked = isLocked(old)
    guard
      let target = it.arena.allocate(
        pages: old.pages, alignment: 1, mayGrow: !isLocked, isMovable: isMovable)
    else { return }
    guard !isLocked || self.isLocked(target) else {
      return it.arena.free(target, isAbsent: target.isZero)
    }
    bellows_copy(target.address, old.address, old.bytes)
    entry.it.address = target.address
    it.moves = it.moves &+ 1
    it.arena.free(old)
  }

  private func isLocked(_ run: PageRun) -> Bool {
    if case .success(1) = it.arena.it.platform.perform(.isLocked, run.address, run.bytes) {
      true
    } else {
      false
    }
  }

  /// Takes one pin back.
  package func unpin(_ handle: RelocatableHandle) {
    guard let entry = find(handle) else { return }
    while true {
      let word = bellows_load(entry.address)
      precondition(word != 0 && word & Relocatables.away == 0)
      if bellows_compare_exchange(entry.address, word, word &- 1) { return }
    }
  }

  package func isPinned(_ handle: RelocatableHandle) -> Bool {
    guard let entry = find(handle) else { return false }
    return bellows_load(entry.address) & ~Relocatables.away != 0
  }

  // MARK: Offline

  /// Calls `body` with each live block that lies in a section. Takes the lock for each entry.
  private func forEach(_ section: SectionRef, _ body: (Ref<RelocatableBlock>, UInt32) -> Void) {
    let bytes = it.arena.it.geometry.sectionBytes
    for index in 0..<bellows_load32(address &+ 16) {
      lock.acquire()
      let entry = entry(index)
      if entry.it.address != 0, entry.it.address &- section.it.base < bytes { body(entry, index) }
      lock.release()
    }
  }

  /// Moves the unpinned blocks of a section, which is on its way offline, elsewhere. Costs a look at each entry and
  /// a copy of each block.
  func leave(_ section: SectionRef) {
    forEach(section) { entry, _ in
      guard bellows_compare_exchange(entry.address, 0, Relocatables.away) else { return }
      move(entry, isMovable: true)
      bellows_store_release(entry.address, 0)
    }
  }

  /// Names the pinned blocks of a section and those that are locked; answers the pages that they take, and where nothing was
  /// tried those of the others. A system call for each block that is not pinned.
  func explain(_ section: SectionRef, isTried: Bool, _ report: inout OfflineReport) -> UInt {
    var pinned = Kept()
    var locked = Kept()
    var movable: UInt = 0
    forEach(section) { entry, index in
      let handle = RelocatableHandle(index, entry.it.generation)
      if bellows_load(entry.address) != 0 {
        pinned.add(handle, entry.it.pages)
      } else if isLocked(PageRun(address: entry.it.address, pages: entry.it.pages, isZero: false)) {
        locked.add(handle, entry.it.pages)
      } else {
        movable = movable &+ entry.it.pages
      }
    }
    pinned.report(.pinned, &report)
    locked.report(.locked, &report)
    return pinned.pages &+ locked.pages &+ (isTried ? 0 : movable)
  }

  /// Blocks that stay for one reason.
  private struct Kept {
    var first: UInt = 0
    var count: UInt = 0
    var pages: UInt = 0

    mutating func add(_ handle: RelocatableHandle, _ pages: UInt) {
      if first == 0 { first = handle.bits }
      count = count &+ 1
      self.pages = self.pages &+ pages
    }

    func report(_ kind: Blocker.Kind, _ report: inout OfflineReport) {
      if count != 0 { report.add(kind, first, count: count, bytes: pages &<< Page.shift) }
    }
  }
}
