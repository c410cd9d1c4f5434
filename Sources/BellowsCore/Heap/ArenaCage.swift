// An arena's heaps and relocatable blocks as the users of its sections: what the engine that takes a section offline
// asks of them.

import CShims

package struct ArenaCage: OfflineClient {
  package let arena: ArenaRef
  /// The calling thread's heap, or nil.
  package let own: ThreadHeapRef?
  package let environment: CageEnvironment

  package init(_ arena: ArenaRef, _ own: ThreadHeapRef?, _ environment: CageEnvironment) {
    self.arena = arena
    self.own = own
    self.environment = environment
  }

  private func forEachHeap(_ body: (HeapRef) -> Void) {
    var heap = bellows_load_acquire(arena.address &+ Arena.heapsOffset)
    while heap != 0 {
      body(HeapRef(heap))
      heap = HeapRef(heap).it.nextOnArena
    }
  }

  private var relocatables: RelocatablesRef? {
    let table = bellows_load_acquire(arena.address &+ Arena.relocatablesOffset)
    return table == 0 ? nil : RelocatablesRef(table)
  }

  /// Whether several heaps have shards in the arena's sections.
  private var isShared: Bool {
    let first = bellows_load_acquire(arena.address &+ Arena.heapsOffset)
    return first != 0 && HeapRef(first).it.nextOnArena != 0
  }

  package func announce(_ event: OfflineEvent, _ section: SectionRef, _ report: inout OfflineReport) -> Int32
  {
    let shift = arena.it.geometry.pageblockShift
    let memmap = UInt(section.it.memmapBlocks) &<< shift
    let bytes = UInt(section.it.blocks) &<< shift &- memmap
    let answer = environment.announce(environment.context, event.rawValue, section.it.base &+ memmap, bytes)
    guard event == .goingOffline, answer != 0 else { return 0 }
    let errno = Int32(truncatingIfNeeded: answer)
    report.add(.vetoed, UInt(bitPattern: Int(errno)), count: UInt(bitPattern: answer &>> 32), bytes: bytes)
    return errno
  }

  package func began(_ section: SectionRef) {
    forEachHeap { $0.beginCage() }
    environment.barrier()
    // Listeners run in this thread and may allocate.
    acknowledgeOwn()
  }

  private func acknowledgeOwn() {
    guard let own else { return }
    // Only the process heap has heaps of threads, and it is alone on its arena.
    forEachHeap { $0.acknowledgeIfDue(own) }
  }

  package func drain() {
    acknowledgeOwn()
    forEachHeap { heap in
      heap.emptyAllSlots()
      _ = heap.acknowledgeAll(environment)
      if isShared { heap.sweep() }
    }
  }

  package func drain(_ section: SectionRef) {
    relocatables?.leave(section)
    gather(section)
  }

  private func gather(_ section: SectionRef) {
    let first = bellows_load_acquire(arena.address &+ Arena.heapsOffset)
    if first != 0 { HeapRef(first).gather(section, isShared: isShared) }
  }

  package func explain(_ section: SectionRef, isTried: Bool, _ report: inout OfflineReport) {
    var known: UInt = 0
    let first = bellows_load_acquire(arena.address &+ Arena.heapsOffset)
    if first != 0 { known = HeapRef(first).explain(section, isShared: isShared, &report) }
    if let relocatables { known = known &+ relocatables.explain(section, isTried: isTried, &report) }
    let used = arena.zone(of: section).census(section).used
    if used > known { report.add(.pages, 0, count: used &- known, bytes: (used &- known) &<< Page.shift) }
  }

  package func ended(_ section: SectionRef, isOffline: Bool) {
    forEachHeap { $0.endCage() }
    if !isOffline { gather(section) }
  }

  package func wait(milliseconds: UInt64) { environment.sleep(milliseconds) }
}

/// The same for the transitions of an arena's own: observers are asked, by the arena.
struct ArenaClient: OfflineClient {
  let cage: ArenaCage

  func announce(_ event: OfflineEvent, _ section: SectionRef, _ report: inout OfflineReport) -> Int32 {
    let answer = cage.arena.announce(event, section)
    if answer.errno != 0 {
      let bytes =
        cage.arena.zone(of: section).census(section).blocks &<< cage.arena.it.geometry.pageblockShift
      report.add(.vetoed, UInt(answer.errno), count: answer.place, bytes: bytes)
    }
    return answer.errno
  }
  func began(_ section: SectionRef) { cage.began(section) }
  func drain() { cage.drain() }
  func drain(_ section: SectionRef) { cage.drain(section) }
  func explain(_ section: SectionRef, isTried: Bool, _ report: inout OfflineReport) {
    cage.explain(section, isTried: isTried, &report)
  }
  func ended(_ section: SectionRef, isOffline: Bool) { cage.ended(section, isOffline: isOffline) }
  func wait(milliseconds: UInt64) { cage.wait(milliseconds: milliseconds) }
}

extension Ref where Pointee == Arena {
  /// What uses an arena's sections where no heap of threads is on it.
  private func client(_ sleep: @escaping @convention(c) (UInt64) -> Void) -> ArenaClient {
    ArenaClient(
      cage: ArenaCage(
        self, nil,
        CageEnvironment(
          context: 0, barrier: {}, isParked: { _, _, _, _ in false }, announce: { _, _, _, _ in 0 },
          sleep: sleep
        )))
  }

  /// As `offline` with a client, of an arena on which no heap of threads is: what can move is moved, what heaps keep for
  /// later is given back.
  package func offline(
    _ range: Range<UInt>, _ request: OfflineRequest, _ report: inout OfflineReport,
    sleep: @escaping @convention(c) (UInt64) -> Void
  ) throws(Refusal) {
    try offline(range, request, &report, client(sleep))
  }

  /// As `removeSections` with a client, in the same way.
  package func removeSections(
    ofGroup id: UInt32, _ request: OfflineRequest, _ report: inout OfflineReport,
    sleep: @escaping @convention(c) (UInt64) -> Void
  ) throws(Refusal) {
    try removeSections(ofGroup: id, request, &report, client(sleep))
  }
}
