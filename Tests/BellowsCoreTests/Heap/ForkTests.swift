// What the child of a fork does with the heaps of threads that it does not have. The fork itself is left out:
// the other threads' heaps are caught in the states that a fork may find them in.

import BellowsCore
import CShims
import Testing

@Suite struct ForkTests {
  private func users(_ count: Int, _ fixture: ArenaFixture) throws -> [HeapUser] {
    var users: [HeapUser] = []
    for _ in 0..<count { users.append(try #require(HeapUser(fixture.heap))) }
    return users
  }

  @Test func locksAreTakenAndOpened() throws {
    let fixture = try #require(ArenaFixture())
    let users = try users(3, fixture)
    users[0].free(users[0].malloc(100))
    fixture.heap.lockForFork()
    #expect(!fixture.heap.registry.tryAcquire())
    #expect(!fixture.zone.lock.tryAcquire())
    #expect(!fixture.arena.growth.tryAcquire())
    for user in users { #expect(!user.own!.lock.tryAcquire()) }
    fixture.heap.unlockAfterFork()
    for lock in [fixture.heap.registry, fixture.zone.lock, fixture.arena.growth] + users.map({ $0.own!.lock })
    {
      #expect(lock.tryAcquire())
      lock.release()
    }
    #expect(bellows_ranks_held() == 0)
    for user in users { user.leave() }
    try fixture.compareEmptyHeap()
  }

  /// Frees that got as far as the list's head, but not to the count.
  @Test(arguments: [16, 64, 512, 2048] as [UInt])
  func countsAreTakenFromTheLists(bytes: UInt) throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 4))
    let users = try users(3, fixture)
    let own = users[0]
    var live: [UInt] = []
    for user in users {
      var mine = (0..<900).map { _ in user.malloc(bytes) }
      for _ in 0..<500 { user.free(mine.removeLast()) }
      // The link and the head are written, the count is not.
      if user.own != own.own {
        for _ in 0..<20 {
          let block = mine.removeLast()
          guard let shard = fixture.heap.shard(of: block), shard.owner.bits == user.own!.address else {
            user.free(block)
            continue
          }
          shard.pushLocal(block)
        }
      }
      live += mine
    }
    fixture.heap.lockForFork()
    fixture.heap.adoptAfterFork(own.own)
    for user in users.dropFirst() { #expect(user.own!.it.isIdle) }
    #expect(!own.own!.it.isIdle)
    // The child goes on: everything can be freed and allocated again.
    for block in live { own.free(block) }
    let again = (0..<2000).map { _ in own.malloc(bytes) }
    #expect(Set(again).count == again.count)
    for block in again { own.free(block) }
    own.leave()
    try fixture.compareEmptyHeap()
  }

  @Test func aChildWithoutAHeapAdoptsAll() throws {
    let fixture = try #require(ArenaFixture())
    let users = try users(2, fixture)
    let live = users.flatMap { user in (0..<300).map { _ in user.malloc(200) } }
    fixture.heap.lockForFork()
    fixture.heap.adoptAfterFork(nil)
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for block in live { sweeper.free(block) }
    try fixture.compareEmptyHeap()
  }

  // MARK: In a signal handler

  /// What the thread holds already it keeps: in the parent, in the child, and in a fork within a fork.
  @Test func whatIsHeldIsKept() throws {
    let fixture = try #require(ArenaFixture())
    let users = try users(2, fixture)
    let own = try #require(users[0].own)
    let self0 = bellows_self()
    own.lock.acquire()
    fixture.zone.lock.acquire()
    fixture.heap.lockForFork()
    fixture.heap.lockForFork()
    fixture.heap.unlockAfterFork()
    #expect(fixture.heap.registry.isOwn, "the outer fork still holds it")
    #expect(users[1].own!.lock.isOwn)
    fixture.heap.unlockAfterFork()
    #expect(bellows_self() == self0)
    #expect(own.lock.isOwn && fixture.zone.lock.isOwn && !fixture.heap.registry.isOwn)
    #expect(!users[1].own!.lock.isOwn)
    fixture.zone.lock.release()
    own.lock.release()
    for user in users { user.leave() }
    try fixture.compareEmptyHeap()
  }

  /// The child takes over what is not its own when the interrupted slow path has ended, and not before.
  @Test func adoptionWaitsForTheSlowPath() throws {
    let fixture = try #require(ArenaFixture())
    let users = try users(3, fixture)
    let own = try #require(users[0].own)
    let live = users.flatMap { user in (0..<300).map { _ in user.malloc(200) } }
    own.lock.acquire()
    fixture.heap.lockForFork()
    fixture.heap.adoptAfterFork(own)
    #expect(own.lock.isOwn && !fixture.heap.registry.isOwn && !fixture.zone.lock.isOwn)
    #expect(!users[1].own!.it.isIdle)
    fixture.heap.adoptIfDue()
    #expect(!users[1].own!.it.isIdle, "the slow path still holds a lock")
    own.lock.release()
    fixture.heap.adoptIfDue()
    #expect(users[1].own!.it.isIdle && users[2].own!.it.isIdle && !own.it.isIdle)
    for block in live { users[0].free(block) }
    users[0].leave()
    try fixture.compareEmptyHeap()
  }

  /// A thread that waits for a lock which the interrupted one holds is not waited for; in the child, what it has is left.
  @Test func whoWaitsForTheForkerIsLeft() throws {
    let fixture = try #require(ArenaFixture())
    let users = try users(3, fixture)
    let own = try #require(users[0].own)
    let other = try #require(users[1].own)
    let stranger = bellows_self() ^ 1
    fixture.zone.lock.acquire()
    bellows_store32(other.lock.word, stranger)
    fixture.heap.lockForFork()
    #expect(bellows_load32(other.lock.word) == stranger)
    #expect(users[2].own!.lock.isOwn)
    fixture.heap.adoptAfterFork(own)
    #expect(bellows_load32(other.lock.word) == 0)
    fixture.zone.lock.release()
    fixture.heap.adoptIfDue()
    #expect(other.it.isLost && !other.it.isIdle && users[2].own!.it.isIdle)
    let again = (0..<2000).map { _ in users[0].malloc(64) }
    for block in again { users[0].free(block) }
  }

  /// While a thread returns pages it holds no lock. The purge goes on in the child, which must not hand the pageblock out before it
  /// has ended; what other threads were returning comes back.
  @Test func aPurgeGoesOnInTheChild() throws {
    let double = FailingPlatform()
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, double: double))
    let user = try #require(HeapUser(fixture.heap))
    let other = try #require(HeapUser(fixture.heap))
    let blocks = (0..<12).map { _ in user.malloc(300_000) }
    let kept = other.malloc(300_000)
    for block in blocks { user.free(block) }
    var wasSeen = false
    double.beforeNextDiscard = {
      let own = PageblockRef(bellows_purging())
      // Another thread's purge, caught at the same moment.
      let section = fixture.section(0)
      let stranger = section.block(UInt(section.it.committedBlocks) &- 1)
      wasSeen = own.address != 0 && own.address != stranger.address && own.has(Pageblock.isolated)
      stranger.set(Pageblock.isolated)
      fixture.zone.settle(stranger)
      fixture.heap.lockForFork()
      fixture.heap.adoptAfterFork(user.own)
      #expect(own.has(Pageblock.isolated) && !own.has(Pageblock.orphaned), "its purge has not ended")
      #expect(!stranger.has(Pageblock.isolated | Pageblock.orphaned), "its thread is not there")
      #expect(other.own!.it.isIdle)
    }
    fixture.heap.trim(user.own)
    #expect(wasSeen && bellows_purging() == 0)
    #expect(fixture.zone.dirtyPagesNow() == 0)
    user.free(kept)
    user.leave()
    try fixture.compareEmptyHeap()
  }
}
