// What holds a section is named: exactly that, and nothing else.

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct BlockerTests {
  /// Blockers without an order.
  private struct Named: Hashable {
    var kind: Blocker.Kind
    var detail: UInt
    var count: UInt
    var bytes: UInt

    init(_ kind: Blocker.Kind, _ detail: UInt = 0, _ count: UInt, _ bytes: UInt) {
      self.kind = kind
      self.detail = detail
      self.count = count
      self.bytes = bytes
    }
  }

  private func named(_ report: OfflineReport) -> Set<Named> {
    Set(report.list.map { Named($0.kind, $0.detail, $0.count, $0.bytes) })
  }

  @Test func plantedBlockersAreNamedAndNoOthers() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let table = try fixture.makeRelocatables()
    let user = try #require(HeapUser(fixture.heap))
    // 1, 2: three live blocks of one class, ten of another, in shards that had many more.
    let small = (0..<1000).map { _ in user.malloc(100) }
    let larger = (0..<100).map { _ in user.malloc(3000) }
    // 3: two live runs. 4: pages without a block.
    let runs = [user.malloc(100_000), user.malloc(1 << 20)]
    let pages = fixture.writtenRun(5)
    // 5: a thread that does not come by a slow path.
    let other = try #require(HeapUser(fixture.heap))
    let foreign = other.malloc(500)
    // 6: a block that could move, was it not locked in memory.
    let handle = try #require(table.allocate(pages: 3))
    guard let locked = try locked(table, handle, pages: 3) else { return }
    let place = small[0]
    for (number, block) in small.enumerated() where number >= 3 { user.free(block) }
    for (number, block) in larger.enumerated() where number >= 10 { user.free(block) }
    let announcements = Announcements()
    let (error, report) = fixture.takeOffline(at: place, .stay, user.own, telling: announcements)
    #expect(error == HotplugErrno.busy)
    let shard = Page.granuleBytes
    let thread = UInt(other.own!.it.threadID)
    #expect(
      named(report) == [
        // 3000-byte blocks are of the class 3072, whose shards are 32 KiB.
        Named(.blocks, 112, 3, shard), Named(.blocks, 3072, 10, 2 * shard),
        Named(.runs, 0, 2, 26 << Page.shift + 1 << 20), Named(.pages, 0, 5, 5 << Page.shift),
        Named(.thread, thread, 1, shard), Named(.locked, handle.bits, 1, 3 << Page.shift),
      ])
    #expect(report.leftPages == 4 + 8 + 26 + 256 + 5 + 4 + 3)
    #expect(try Kernel.lockedBytes(locked, 3 << Page.shift) == 3 << Page.shift)
    // One by one they go.
    Kernel.unlock(locked, 3 << Page.shift)
    for block in small.prefix(3) + larger.prefix(10) + runs { user.free(block) }
    fixture.arena.free(pages)
    let (fourth, last) = fixture.takeOffline(at: place, .stay, user.own)
    #expect(fourth == HotplugErrno.busy)
    #expect(named(last) == [Named(.thread, thread, 1, shard)])
    fixture.heap.acknowledgeIfDue(other.own!)
    #expect(named(fixture.takeOffline(at: place, .stay, user.own).report) == [Named(.blocks, 512, 1, shard)])
    other.free(foreign)
    let (done, none) = fixture.takeOffline(at: place, .stay, user.own)
    #expect(done == 0 && named(none) == [])
    #expect(table.free(handle))
    user.leave()
    other.leave()
  }

  /// Writes a relocatable block and locks it where it lies; nil: this user may not.
  private func locked(_ table: RelocatablesRef, _ handle: RelocatableHandle, pages: UInt) throws -> UInt? {
    let place = try #require(table.pin(handle))
    for page in 0..<pages { Ref<UInt>(place + page << Page.shift).it = page + 1 }
    let isLocked = try Kernel.lock(place, pages << Page.shift)
    table.unpin(handle)
    return isLocked ? place : nil
  }

  /// Seven kinds in one section, when a listener objects: what it says comes first, and all else is named beside it.
  @Test func sevenBlockersInOneOffline() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let table = try fixture.makeRelocatables()
    let user = try #require(HeapUser(fixture.heap))
    // 1: live blocks, of two classes. 2: runs. 3: pages.
    let blocks = (0..<3).map { _ in user.malloc(100) } + (0..<10).map { _ in user.malloc(3000) }
    let runs = [user.malloc(100_000), user.malloc(1 << 20)]
    let pages = fixture.writtenRun(5)
    // 4: a thread that has not acknowledged.
    let other = try #require(HeapUser(fixture.heap))
    let foreign = other.malloc(500)
    // 5: two pinned blocks; a third one can move, and holds nothing.
    let pinned = try (0..<3).map { _ in try #require(table.allocate(pages: 4)) }
    for handle in pinned.prefix(2) { _ = table.pin(handle) }
    // 6: a block that is locked in memory, by the kernel's word.
    let secret = try #require(table.allocate(pages: 2))
    guard let locked = try locked(table, secret, pages: 2) else { return }
    #expect(try Kernel.lockedBytes(locked, 2 << Page.shift) == 2 << Page.shift)
    // 7: a listener.
    let announcements = Announcements()
    announcements.answers = [2 << 32 | Int(EPERM)]
    let place = try #require(table.pin(pinned[2]))
    table.unpin(pinned[2])
    fixture.readMemmaps()
    let before = try Figures(fixture)
    let (error, report) = fixture.takeOffline(at: blocks[0], .stay, user.own, telling: announcements)
    #expect(error == EPERM)
    let shard = Page.granuleBytes
    let expected: Set<Named> = [
      Named(.blocks, 112, 3, shard), Named(.blocks, 3072, 10, 2 * shard),
      Named(.runs, 0, 2, 26 << Page.shift + 1 << 20), Named(.pages, 0, 5, 5 << Page.shift),
      Named(.thread, UInt(other.own!.it.threadID), 1, shard),
      Named(.pinned, pinned[0].bits, 2, 8 << Page.shift), Named(.locked, secret.bits, 1, 2 << Page.shift),
      Named(.vetoed, UInt(EPERM), 2, fixture.managedPages << Page.shift),
    ]
    #expect(named(report) == expected)
    #expect(try Figures(fixture) == before && fixture.section(0).it.state == .online)
    #expect(table.pin(pinned[2]) == place, "nothing was moved for a question")
    table.unpin(pinned[2])
    for handle in pinned.prefix(2) { table.unpin(handle) }
    Kernel.unlock(locked, 2 << Page.shift)
    for handle in pinned + [secret] { #expect(table.free(handle)) }
    for block in blocks + runs { user.free(block) }
    other.free(foreign)
    fixture.arena.free(pages)
    fixture.heap.acknowledgeIfDue(other.own!)
    user.leave()
    other.leave()
    #expect(fixture.takeOffline(at: pages.address, .stay).error == 0)
  }

  /// Two sections in one offline: a listener keeps one, and of the other one a locked block is named beside all else.
  @Test func oneReportForAllSections() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20))
    let table = try fixture.makeRelocatables()
    let full = fixture.writtenRun(fixture.managedPages)
    let user = try #require(HeapUser(fixture.heap))
    let block = user.malloc(100)
    let run = user.malloc(100_000)
    let handle = try #require(table.allocate(pages: 2))
    _ = table.pin(handle)
    let secret = try #require(table.allocate(pages: 3))
    guard let locked = try locked(table, secret, pages: 3) else { return }
    let announcements = Announcements()
    announcements.answers = [1 << 32 | Int(EACCES)]
    let (first, second) = (fixture.section(0), fixture.section(1))
    #expect(fixture.arena.knownSection(at: block).address == second.address)
    #expect(fixture.arena.beginTransition() == 0)
    first.it.chain = second.address
    second.it.chain = 0
    var report = OfflineReport()
    let request = OfflineRequest(policy: .stay, deadline: 0)
    let error = fixture.arena.takeOffline(first, request, &report, fixture.client(user.own, announcements))
    fixture.arena.endTransition()
    #expect(error == EACCES || error == HotplugErrno.busy)
    #expect(
      named(report) == [
        Named(.vetoed, UInt(EACCES), 1, fixture.managedPages << Page.shift),
        Named(.pages, 0, fixture.managedPages, fixture.managedPages << Page.shift),
        Named(.blocks, 112, 1, Page.granuleBytes), Named(.runs, 0, 1, 26 << Page.shift),
        Named(.pinned, handle.bits, 1, 2 << Page.shift), Named(.locked, secret.bits, 1, 3 << Page.shift),
      ])
    #expect(first.it.state == .online && second.it.state == .goingOffline)
    Kernel.unlock(locked, 3 << Page.shift)
    table.unpin(handle)
    user.free(block)
    user.free(run)
    user.leave()
    #expect(table.free(handle) && table.free(secret))
    fixture.arena.free(full)
    #expect(fixture.takeOffline(at: block, .stay).error == 0)
  }

  /// A section of which the system does not drop all that is free comes back, or stays on its way, and nothing is lost. So it
  /// was with locked pages before Linux 5.18.
  @Test func pagesThatTheSystemDoesNotDropKeepTheirSection() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, double: double))
    let run = fixture.writtenRun(100)
    fixture.arena.free(run)
    double.arm(.within(.discard, run.address..<run.end))
    let (error, report) = fixture.takeOffline(at: run.address, .wholeOnly)
    #expect(error == HotplugErrno.busy)
    #expect(report.blocker(.locked)?.count == 100)
    #expect(fixture.section(0).it.state == .online && fixture.zone.it.dirtyPages == 100)
    #expect(fixture.takeOffline(at: run.address, .stay).error == HotplugErrno.busy)
    double.arm(.none)
    #expect(fixture.takeOffline(at: run.address, .stay).error == 0)
  }

  /// What is free goes, locked or not, where the kernel can drop locked pages; with the section the lock is gone, too.
  @Test func freeLockedPagesGoWhereTheKernelLetsThem() throws {
    let fixture = try #require(ArenaFixture())
    let run = fixture.writtenRun(8)
    guard try Kernel.lock(run.address, run.bytes) else { return }
    #expect(try Kernel.lockedBytes(run.address, run.bytes) == run.bytes)
    fixture.arena.free(run)
    let (error, report) = fixture.takeOffline(at: run.address, .stay)
    if error == 0 {
      #expect(Kernel.residentPages(run.address, run.bytes) == 0)
      #expect(report.returnedPages == 8 && report.blocker(.locked) == nil)
      #expect(fixture.bringBack(at: run.address) == 0)
      let again = fixture.writtenRun(fixture.managedPages)
      #expect(try Kernel.lockedBytes(again.address, again.bytes) == 0)
    } else {
      #expect(report.blocker(.locked)?.count == 8 && report.blocker(.locked)?.detail == 0)
      Kernel.unlock(run.address, run.bytes)
      #expect(fixture.takeOffline(at: run.address, .stay).error == 0)
    }
  }

  /// A locked block holds its section, and nothing grows for it, until there is locked memory that it can move to; the kernel
  /// says where it is locked.
  @Test(arguments: [OfflinePolicy.wholeOnly, .stay])
  func lockedBlocksMoveToLockedMemoryAlone(policy: OfflinePolicy) throws {
    let fixture = try #require(ArenaFixture(sections: 2))
    let table = try fixture.makeRelocatables()
    let handle = try #require(table.allocate(pages: 4))
    guard let place = try locked(table, handle, pages: 4) else { return }
    let bytes = 4 << Page.shift as UInt
    let full = fixture.writtenRun(fixture.managedPages)
    #expect(
      fixture.arena.knownSection(at: full.address).address != fixture.arena.knownSection(at: place).address)
    var room = full
    room.address = full.end - bytes
    room.pages = 4
    fixture.arena.free(room)
    fixture.zone.purge(dirtySince: .max)
    fixture.readMemmaps()
    let before = try Figures(fixture)
    let (error, report) = fixture.takeOffline(at: place, policy)
    #expect(error == HotplugErrno.busy)
    #expect(named(report) == [Named(.locked, handle.bits, 1, bytes)])
    #expect(table.pin(handle) == place && table.it.moves == 0)
    table.unpin(handle)
    #expect(try Kernel.lockedBytes(place, bytes) == bytes)
    if policy == .wholeOnly { #expect(try Figures(fixture) == before) }
    guard try Kernel.lock(room.address, room.bytes) else { return }
    #expect(fixture.takeOffline(at: place, policy).error == 0)
    #expect(table.pin(handle) == room.address && table.it.moves == 1)
    #expect(try Kernel.lockedBytes(room.address, bytes) == bytes)
    #expect(try Kernel.lockedBytes(place, bytes) == 0 && Kernel.residentPages(place, bytes) == 0)
    for page in 0..<4 as Range<UInt> { #expect(Ref<UInt>(room.address + page << Page.shift).it == page + 1) }
    table.unpin(handle)
    Kernel.unlock(room.address, room.bytes)
    #expect(table.free(handle))
  }
}

@Suite struct NothingCrossesTests {
  /// Sections side by side, of one memory block, with nothing between their pages: a run fills one at most.
  @Test func aRunLiesInOneSection() throws {
    let fixture = try ArenaFixture.explicit(sections: 4)
    let arena = fixture.arena
    arena.it.blockSections = 2
    var request = AddRequest()
    request.placement = .outside
    let first = try arena.add(request, count: 4)
    try arena.online(first..<first + 4)
    let section = fixture.geometry.sectionPages
    #expect(fixture.zone.freePages == 4 * section)
    for pages in [section + 1, section + 512, 2 * section, 4 * section] as [UInt] {
      #expect(arena.allocate(pages: pages, alignment: 1) == nil, "\(pages)")
    }
    var random = Random(stream: 93)
    var runs: [PageRun] = []
    for _ in 0..<400 {
      if random.chance(oneIn: 2), let run = arena.allocate(pages: random.spread(1...section), alignment: 1) {
        #expect(arena.knownSection(at: run.address).address == arena.knownSection(at: run.end - 1).address)
        runs.append(run)
      } else if !runs.isEmpty {
        arena.free(runs.remove(at: Int(random.below(UInt(runs.count)))))
      }
    }
    for run in runs { arena.free(run) }
    for _ in 0..<4 { #expect(arena.allocate(pages: section, alignment: 1) != nil) }
  }
}

@Suite struct OfflineFailureTests {
  /// Each system call of an offline and of what follows fails in turn: the answer says so or it does not matter, the
  /// counters agree with the kernel, and all can be had again.
  @Test(arguments: [OfflinePolicy.wholeOnly, .keepPartial, .stay])
  func everyCallMayFail(policy: OfflinePolicy) throws {
    var failed = true
    var call: UInt = 0
    while failed {
      call += 1
      let double = FailingPlatform()
      let fixture = try #require(ArenaFixture(sections: 2, double: double))
      let user = try #require(HeapUser(fixture.heap))
      let blocks = (0..<3000).map { number in
        let block = Block(address: user.malloc(700), bytes: 700, cookie: UInt8(truncatingIfNeeded: number))
        block.fill()
        return block
      }
      let kept = blocks.enumerated().filter { $0.offset % 300 == 0 && policy != .wholeOnly }.map(\.element)
      for (number, block) in blocks.enumerated() where number % 300 != 0 || policy == .wholeOnly {
        user.free(block.address)
      }
      double.arm(.nth(call))
      let (error, report) = fixture.takeOffline(at: blocks[0].address, policy, user.own)
      failed = double.failures > 0
      double.arm(.none)
      try check(error == 0 || error == HotplugErrno.busy, "call \(call): \(error)")
      try check(report.takenPages + report.leftPages, is: fixture.managedPages, "pages, call \(call)")
      let now = fixture.heap.statistics()
      let resident = fixture.residentPages().managed
      try check(resident <= now.usedPages + now.dirtyPages - now.holePages, "resident pages, call \(call)")
      for block in kept { try check(block.isIntact, "content, call \(call)") }
      let present = UInt(fixture.arena.it.sections) * fixture.geometry.sectionPages
      if fixture.zone.it.presentPages < present || fixture.zone.it.cagedPages != 0 {
        try check(fixture.bringBack(at: blocks[0].address, user.own), is: 0, "coming back, call \(call)")
      }
      for block in kept { user.free(block.address) }
      user.leave()
      try fixture.compareEmptyHeap()
    }
    #expect(call > 2)
  }
}
