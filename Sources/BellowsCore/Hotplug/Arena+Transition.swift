// Who changes which section: one transition at a time for each.
//
// A transition has a token on each of its sections; another one that wants the section gets EBUSY at once. A thread
// has one transition at a time: a second one, from inside a listener, observer, hook or strategy, gets EDEADLK.

import CShims

extension Ref where Pointee == Arena {
  /// The place of a section in the reservation.
  package func index(of section: SectionRef) -> UInt {
    (section.it.base &- it.table.origin) &>> it.geometry.sectionShift
  }

  /// The number of places.
  package var places: UInt { it.capacity &>> it.geometry.sectionShift }

  /// The section at a place; nil: none was ever there.
  package func section(index: UInt) -> SectionRef? {
    guard index < places else { return nil }
    return section(at: it.reservation &+ index &<< it.geometry.sectionShift)
  }

  /// The calling thread's transition. EDEADLK; EAGAIN where 16 threads have one.
  func claimTransition() throws(Refusal) -> Int {
    let thread = bellows_thread_id()
    growth.acquire()
    defer { growth.release() }
    var free = -1
    for place in 0..<16 {
      if it.transitions[place] == thread { throw .deadlock }
      if it.transitions[place] == 0, free < 0 { free = place }
    }
    guard free >= 0 else { throw .again }
    it.transitions[free] = thread
    return free
  }

  func releaseTransition(_ transition: Int) {
    growth.acquire()
    it.transitions[transition] = 0
    growth.release()
  }

  /// The transition of a thread is another one's, or nobody's (0).
  func handTransition(of thread: UInt32, to other: UInt32) {
    growth.acquire()
    for place in 0..<16 where it.transitions[place] == thread { it.transitions[place] = other }
    growth.release()
  }

  /// Whether a thread has a transition of this arena. Takes the growth lock.
  package var isInTransition: Bool {
    growth.acquire()
    defer { growth.release() }
    for place in 0..<16 where it.transitions[place] != 0 { return true }
    return false
  }

  /// Takes the tokens of all sections of a range, or none: ENXIO where one is absent or a device's, EBUSY where a
  /// transition has one, and `refusal` where one is not in `state`.
  func take(
    _ range: Range<UInt>, for transition: Int, in state: SectionState, else refusal: Refusal
  ) throws(Refusal) {
    guard !range.isEmpty else { throw .invalid }
    try checkBlocks(range)
    growth.acquire()
    defer { growth.release() }
    for index in range {
      guard let section = section(index: index), section.it.state != .absent, section.it.state != .device
      else { throw .noDevice }
      if section.it.token != 0 { throw .busy }
      if section.it.state == .goingOffline || section.it.state == .goingOnline { throw .busy }
      if section.it.state != state { throw refusal }
    }
    for index in range { known(index).it.token = it.transitions[transition] }
  }

  func giveBack(_ range: Range<UInt>) {
    growth.acquire()
    for index in range { known(index).it.token = 0 }
    growth.release()
  }

  func known(_ index: UInt) -> SectionRef {
    knownSection(at: it.reservation &+ index &<< it.geometry.sectionShift)
  }

  /// The first of `count` absent places in a row. Under the growth lock; O(1) where sections came in order.
  package func absentRun(of count: UInt, alignment: UInt = 1) -> UInt? {
    var start = it.lowestAbsent
    while start < places, !isAbsent(start) { start = start &+ 1 }
    it.lowestAbsent = start
    let unit = max(alignment, 1)
    start = (start &+ (unit &- 1)) / unit &* unit
    var end = start
    while end < places {
      if !isAbsent(end) {
        start = (end / unit &+ 1) &* unit
        end = start
        continue
      }
      end = end &+ 1
      if end &- start == count { return start }
    }
    return nil
  }

  func isAbsent(_ index: UInt) -> Bool { section(index: index).map { $0.it.state == .absent } ?? true }
}
