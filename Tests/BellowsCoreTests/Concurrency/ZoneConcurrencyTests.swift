// The zone and its locks under real threads. Run under the thread sanitizer too: --filter Concurren.

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct ZoneConcurrencyTests {
  /// Two threads take and give back pages while a third returns what is dirty.
  @Test func purgeRunsBesideAllocation() throws {
    let fixture = try #require(ArenaFixture(sectionBytes: 16 << 20, sections: 6))
    let finished = Slots(1)
    try inThreads(3) { index in
      if index == 2 {
        while finished.load(0) < 2 { fixture.zone.purge(dirtySince: .max) }
        return
      }
      defer { finished.add(0, 1) }
      var random = Random(stream: 500 + UInt64(index))
      var live: [(run: PageRun, cookie: UInt)] = []
      for step in 0..<2500 {
        let isFull = live.count > 60
        if !isFull, random.below(8) < 5,
          let run = fixture.arena.allocate(pages: random.spread(1...300), alignment: 1 << random.below(4))
        {
          let cookie = UInt(truncatingIfNeeded: random.next())
          for page in 0..<run.pages {
            let place = run.address + page << Page.shift
            if run.isZero { try check(Ref<UInt>(place).it, is: 0, "a page said to be zero, step \(step)") }
            Ref<UInt>(place).it = cookie ^ page
          }
          live.append((run, cookie))
        } else if !live.isEmpty {
          let (run, cookie) = live.remove(at: Int(random.below(UInt(live.count))))
          for page in 0..<run.pages {
            let word = Ref<UInt>(run.address + page << Page.shift).it
            try check(word, is: cookie ^ page, "content, step \(step)")
          }
          let section = fixture.arena.knownSection(at: run.address)
          fixture.zone.free(section, address: run.address, pages: run.pages)
        }
      }
      for (run, _) in live {
        let section = fixture.arena.knownSection(at: run.address)
        fixture.zone.free(section, address: run.address, pages: run.pages)
      }
    }
    #expect(fixture.zone.it.usedPages == 0)
    #expect((fixture.zone.it.occupied[0] | fixture.zone.it.occupied[1]) == 0)
    #expect(fixture.residentPages().managed <= fixture.zone.it.dirtyPages)
    fixture.zone.purge(dirtySince: .max)
    #expect(fixture.zone.it.dirtyPages == 0)
    #expect(fixture.residentPages().managed == 0)
  }

  /// Threads that grow the arena at once add no section too many.
  @Test func growthIsShared() throws {
    for _ in 0..<20 {
      let fixture = try #require(ArenaFixture(sections: 8))
      try inThreads(4) { _ in
        for _ in 0..<20 {
          try check(fixture.arena.allocate(pages: 16, alignment: 16) != nil, "no pages")
        }
      }
      #expect(fixture.zone.it.usedPages == 4 * 20 * 16)
      #expect(fixture.arena.it.sections == 2)
    }
  }
}

@Suite struct LockConcurrencyTests {
  @Test func onlyOneThreadIsInside() throws {
    let memory = Memory(4096)
    // A plain counter that only the lock protects.
    let counter = Ref<UInt>(memory.address + 64)
    try inThreads(4) { _ in
      let lock = Lock(memory.address, .zone)
      for step in 0..<20_000 {
        lock.acquire()
        counter.it += 1
        if step % 512 == 0 { sched_yield() }
        lock.release()
      }
    }
    #expect(counter.it == 80_000)
    #expect(bellows_load32(memory.address) == 0)
  }

  @Test func aHeldLockCannotBeTried() throws {
    let memory = Memory(4096)
    let lock = Lock(memory.address, .list)
    lock.acquire()
    try inThreads(1) { _ in
      try check(!Lock(memory.address, .list).tryAcquire(), "a lock that is held was taken")
    }
    lock.release()
    try inThreads(1) { _ in
      let lock = Lock(memory.address, .list)
      try check(lock.tryAcquire(), "an open lock was not to be had")
      lock.release()
    }
  }

  #if DEBUG
  @Test func locksOutOfRankTrap() async {
    await #expect(processExitsWith: .failure) {
      let memory = Memory(4096)
      Lock(memory.address, .zone).acquire()
      Lock(memory.address + 64, .growth).acquire()
    }
    await #expect(processExitsWith: .failure) {
      let memory = Memory(4096)
      Lock(memory.address, .heap).acquire()
      Lock(memory.address + 64, .heap).acquire()
    }
    await #expect(processExitsWith: .success) {
      let memory = Memory(4096)
      Lock(memory.address, .growth).acquire()
      Lock(memory.address + 64, .zone).acquire()
      Lock(memory.address + 64, .zone).release()
      Lock(memory.address, .growth).release()
    }
  }
  #endif
}
