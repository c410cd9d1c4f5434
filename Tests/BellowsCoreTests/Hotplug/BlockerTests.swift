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
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, double: double))
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
    // 6: free pages that the system does not give up.
    let locked = fixture.writtenRun(3)
    let place = small[0]
    for (number, block) in small.enumerated() where number >= 3 { user.free(block) }
    for (number, block) in larger.enumerated() where number >= 10 { user.free(block) }
    fixture.arena.free(locked)
    double.arm(.within(.discard, locked.address..<locked.end))
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
        Named(.thread, thread, 1, shard), Named(.locked, 0, 3, 3 << Page.shift),
      ])
    #expect(report.leftPages == 4 + 8 + 26 + 256 + 5 + 4)
    // 7: a listener that objects, when asked again.
    #expect(fixture.bringBack(at: place, user.own) == 0)
    announcements.answers = [2 << 32 | Int(EPERM)]
    let (vetoed, third) = fixture.takeOffline(at: place, .stay, user.own, telling: announcements)
    #expect(vetoed == EPERM)
    #expect(named(third) == [Named(.vetoed, UInt(EPERM), 2, fixture.managedPages << Page.shift)])
    // One by one they go.
    double.arm(.none)
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
    user.leave()
    other.leave()
  }

  /// A section that the system does not let go of whole comes back, or stays on its way, and nothing is lost.
  @Test func lockedPagesKeepTheirSection() throws {
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

  /// Memory that is locked for real goes all the same where the kernel can drop locked pages.
  @Test func mlockedPagesGoWhereTheKernelLetsThem() throws {
    let fixture = try #require(ArenaFixture())
    let run = fixture.writtenRun(8)
    let pointer = unsafe UnsafeRawPointer(bitPattern: run.address)!
    guard unsafe mlock(pointer, Int(run.bytes)) == 0 else { return }
    fixture.arena.free(run)
    let (error, report) = fixture.takeOffline(at: run.address, .stay)
    if error == 0 {
      #expect(Kernel.residentPages(run.address, run.bytes) == 0)
    } else {
      #expect(report.blocker(.locked)?.count == 8)
      unsafe munlock(pointer, Int(run.bytes))
      #expect(fixture.takeOffline(at: run.address, .stay).error == 0)
    }
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
