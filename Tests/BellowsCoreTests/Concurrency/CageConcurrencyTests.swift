// Sections cycle while threads allocate and free. Run under the thread sanitizer too: --filter Concurren.

import BellowsCore
import CShims
import Glibc
import Testing

@Suite struct CageConcurrencyTests {
  /// Half a minute where continuous integration runs the debug build, unless the thread sanitizer, which finds more in
  /// less time, is at work.
  private var isLong: Bool {
    #if DEBUG
    unsafe Glibc.getenv("CI") != nil && dlsym(nil, "__tsan_init") == nil
    #else
    false
    #endif
  }

  /// What is published: the section that is out of circulation with every thread's acknowledgement, and a count that
  /// is odd while that changes.
  private struct Away {
    let slots = Slots(2)

    func change(_ body: () -> UInt) {
      slots.add(1, 1)
      slots.store(0, body())
      slots.add(1, 1)
    }

    /// Runs `allocate`, and answers its block and whether it lay in the section while nothing changed.
    func observe(_ sectionShift: UInt, _ allocate: () -> UInt) -> (block: UInt, isAway: Bool) {
      let before = slots.load(1)
      let section = slots.load(0)
      let block = allocate()
      let isSame = before % 2 == 0 && slots.load(1) == before
      return (block, isSame && section != 0 && block >> sectionShift == section >> sectionShift)
    }
  }

  @Test func fromItsAcknowledgementNoThreadIsGivenWhatIsCaged() throws {
    let fixture = try #require(ArenaFixture(sections: 60))
    let shift = fixture.geometry.sectionShift
    let slots = Slots(600)
    let away = Away()
    let finished = Slots(1)
    let seconds = unsafe Double(Glibc.getenv("BELLOWS_SOAK") != nil ? 300 : isLong ? 30 : 6)
    try inThreads(5) { index in
      if index == 4 {
        defer { finished.store(0, 1) }
        let end = bellows_clock_milliseconds() + UInt64(seconds * 1000)
        var random = Random(stream: 700)
        let announcements = Announcements()
        let client = fixture.client(nil, announcements)
        while bellows_clock_milliseconds() < end {
          let place = slots.load(random.below(600))
          away.change {
            var report = OfflineReport()
            let policies: [OfflinePolicy] = [.wholeOnly, .keepPartial, .stay, .stay]
            let request = OfflineRequest(
              policy: policies[Int(random.below(4))], deadline: bellows_clock_milliseconds() + 30)
            let error =
              place != 0 && random.chance(oneIn: 2)
              ? fixture.arena.offline(at: place, request, &report, client)
              : fixture.arena.offline(pages: fixture.geometry.sectionPages, request, &report, client)
            guard place != 0, fixture.arena.isOutOfCirculation(place),
              fixture.heap.isCaged(place) || error == 0,
              report.blocker(.thread) == nil
            else { return 0 }
            return place
          }
          usleep(UInt32(random.below(3000)))
          if random.chance(oneIn: 3) {
            away.change {
              var report = OfflineReport()
              while fixture.arena.online(pages: 1, &report, client) == 0 { continue }
              return 0
            }
          }
        }
        away.change {
          var report = OfflineReport()
          while fixture.arena.online(pages: 1, &report, client) == 0 { continue }
          return 0
        }
        return
      }
      var random = Random(stream: 710 + UInt64(index))
      var user = HeapUser(fixture.heap)!
      var step = 0
      while finished.load(0) == 0 {
        step += 1
        let bytes = random.chance(oneIn: 40) ? random.spread(1...200_000) : random.spread(1...1500)
        let size = max(bytes, 16).rounded(upTo: 8)
        let (block, isAway) = away.observe(shift) { user.malloc(size) }
        try check(!isAway, "\(size) bytes out of circulation, thread \(index), step \(step)")
        try check(block != 0, "\(size) bytes, thread \(index), step \(step)")
        Ref<UInt>(block).it = size
        Ref<UInt>(block + size - 8).it = ~size
        let other = slots.exchange(random.below(step >> 12 & 1 == 0 ? 600 : 60), block)
        if other != 0 {
          let size = Ref<UInt>(other).it
          try check(
            size >= 16 && Ref<UInt>(other + size - 8).it == ~size, "content, thread \(index), step \(step)")
          user.free(other)
        }
        // Threads end, and others come.
        if step % 5000 == 0 {
          user.leave()
          user = HeapUser(fixture.heap)!
        }
        if step % 1000 == 0, index == 0 { fixture.heap.trim(user.own) }
      }
      user.leave()
    }
    let sweeper = HeapUser(withoutHeap: fixture.heap)
    for slot in 0..<slots.count where slots.load(slot) != 0 { sweeper.free(slots.load(slot)) }
    try fixture.compareEmptyHeap()
    #expect(fixture.heap.it.cages == 0 && fixture.zone.it.cagedPages == 0)
    // All that there is can go now.
    var report = OfflineReport()
    let client = fixture.client(nil, Announcements())
    let pages = UInt(fixture.arena.it.sections) * fixture.geometry.sectionPages
    #expect(fixture.arena.offline(pages: pages, OfflineRequest(policy: .wholeOnly), &report, client) == 0)
    #expect(fixture.zone.it.presentPages == 0)
  }
}
