// A balloon: pages that are present and that nobody can use, because there is no memory behind them.
//
//             deflate: bind memory to k pages, free them            ┌─────────────┐
//    ┌─────────┐ ──────────────────────────────────────────────────►│  allocator  │
//    │ balloon │                                                    │  (managed)  │
//    └─────────┘ ◄──────────────────────────────────────────────────└─────────────┘
//         ▲        inflate: take k free pages, drop their memory
//         │ online hook: all pages of a fresh section, before the allocator sees them
//
// Managed pages rise and fall; present pages stay. (The idea is Xen's: drivers/xen/balloon.c. There the memory behind a
// page is the hypervisor's to give; here it is the kernel's, so what a balloon holds is not resident.) A balloon of
// whole pageblocks does the same in huge pages.
//
// Bounds. Inflating leaves the allocator `floorPages`, and takes free pages alone. An allocation that is about to fail
// deflates what it needs, down to `keptPages`, or below it while the allocator has less than `floorPages`.
//
// One lock, held during the system calls of one batch. Cost: two system calls a batch of up to 512 pages.

import CShims

/// What is chosen when a balloon is made.
package struct BalloonTraits: BitwiseCopyable, Sendable {
  /// Pages that are taken and given as one: 1, or those of a pageblock.
  package var unitPages: UInt
  /// Whether the memory behind a unit shall be a huge page.
  package var isHuge: Bool
  /// Managed pages that inflating leaves.
  package var floorPages: UInt
  /// Held pages that an allocation about to fail leaves.
  package var keptPages: UInt
  /// Whether an allocation about to fail may deflate it.
  package var answersShortage: Bool
  /// Whether sections are added for a target that is beyond all that the balloon holds.
  package var isGrowing: Bool

  package init(
    unitPages: UInt = 1, isHuge: Bool = false, floorPages: UInt = 0, keptPages: UInt = 0,
    answersShortage: Bool = true,
    isGrowing: Bool = false
  ) {
    self.unitPages = unitPages
    self.isHuge = isHuge
    self.floorPages = floorPages
    self.keptPages = keptPages
    self.answersShortage = answersShortage
    self.isGrowing = isGrowing
  }
}

package struct Balloon: BitwiseCopyable {
  package var lockWord: UInt
  package var arena: ArenaRef
  /// The arena's next balloon.
  package var next: UInt
  package var held: HeldPages
  package var traits: BalloonTraits
  /// Somebody has it; else the record waits for the next balloon. The arena's growth lock.
  package var isInUse: Bool
  /// Managed pages that there shall be.
  package var targetPages: UInt
  package var schedule: BalloonSchedule
  /// When the next round is due, in milliseconds; 0: now.
  package var due: UInt64

  // Running sums.
  package var deflatedPages: UInt
  package var inflatedPages: UInt
  /// Pages that were deflated for allocations about to fail.
  package var relievedPages: UInt

  /// Pages that one round of system calls is for (Xen: a page of frame numbers).
  package static var batchPages: UInt { 512 }
}

package typealias BalloonRef = Ref<Balloon>

/// What inflating or deflating came to.
package struct BalloonOutcome: BitwiseCopyable, Equatable, Sendable {
  package var pages: UInt
  /// What kept it from doing more; nil where all was done.
  package var reason: Refusal?

  package init(pages: UInt, reason: Refusal? = nil) {
    self.pages = pages
    self.reason = reason
  }
}

extension Ref where Pointee == Balloon {
  package var lock: Lock { Lock(address, .balloon) }

  /// Sets up a balloon that holds nothing, in zero-filled memory or where one was that nobody has any more.
  package func initialise(arena: ArenaRef, traits: BalloonTraits) {
    it.arena = arena
    it.traits = traits
    it.isInUse = true
    it.targetPages = 0
    it.schedule = BalloonSchedule()
    it.due = 0
    it.deflatedPages = 0
    it.inflatedPages = 0
    it.relievedPages = 0
  }

  /// Takes pages that came online and are marked as offline: an online hook's work. Takes the balloon's lock.
  package func keep(_ address: UInt, pages: UInt) {
    lock.acquire()
    it.held.insert(it.arena, address, pages: pages, owner: self.address, atFront: false)
    lock.release()
  }

  // MARK: Deflating

  /// Binds memory to up to `pages` held pages and gives them to the allocator. ENOSPC: it holds no more. ENOMEM: the
  /// system has none. Every page that is counted was absent before and is resident and writable now. Takes the
  /// balloon's lock.
  package func deflate(_ pages: UInt) -> BalloonOutcome {
    lock.acquire()
    defer { lock.release() }
    return deflateLocked(pages)
  }

  private func deflateLocked(_ pages: UInt) -> BalloonOutcome {
    var done: UInt = 0
    while done < pages {
      guard let run = front(pages &- done) else { return BalloonOutcome(pages: done, reason: .noSpace) }
      let section = it.arena.knownSection(at: run.address)
      guard bind(section, run) else { return BalloonOutcome(pages: done, reason: .noMemory) }
      it.held.remove(it.arena, run.address, pages: run.pages)
      ZoneRef(section.it.zone).supply(section, address: run.address, pages: run.pages, isAbsent: false)
      it.deflatedPages = it.deflatedPages &+ run.pages
      done = done &+ run.pages
    }
    return BalloonOutcome(pages: done)
  }

  /// The next held pages in a row: whole units, at most a batch of them.
  func front(_ pages: UInt) -> PageRun? {
    let first = it.held.first
    guard first != 0 else { return nil }
    let wanted = pages.rounded(upTo: it.traits.unitPages)
    let room = it.held.count(it.arena, first)
    let count = min(min(wanted, max(Balloon.batchPages, it.traits.unitPages)), room)
    return PageRun(address: first, pages: count, isZero: true)
  }

  /// Puts memory behind a run. Where the system has none for all of it, none of it stays.
  func bind(_ section: SectionRef, _ run: PageRun) -> Bool {
    let platform = it.arena.it.platform
    guard ZoneRef(section.it.zone).makeAccessible(section, address: run.address, pages: run.pages) else {
      return false
    }
    if it.traits.isHuge { platform.attempt(.huge, run.address, run.bytes) }
    if platform.attempt(.populate, run.address, run.bytes) { return true }
    platform.attempt(.discard, run.address, run.bytes)
    return false
  }

  /// Lets go of the held pages of a range: they are the allocator's, and absent. Answers how many went. For a section
  /// on its way offline, where nobody can allocate them, and for a balloon that is no longer wanted. Takes the
  /// balloon's lock; O(runs).
  @discardableResult
  package func letGo(from start: UInt = 0, to end: UInt = .max) -> UInt {
    lock.acquire()
    defer { lock.release() }
    var gone: UInt = 0
    var run = it.held.first
    while run != 0 {
      let next = it.held.next(it.arena, run)
      let pages = it.held.count(it.arena, run)
      // A run lies in one section, and ranges are of whole sections.
      if run >= start, run < end {
        let section = it.arena.knownSection(at: run)
        it.held.remove(it.arena, run, pages: pages)
        ZoneRef(section.it.zone).supply(section, address: run, pages: pages, isAbsent: true)
        gone = gone &+ pages
      }
      run = next
    }
    return gone
  }

  // MARK: Inflating

  /// Takes up to `pages` free pages from the allocator and drops the memory behind them. ENOSPC: the floor is reached.
  /// EBUSY: there are no free pages, or none in whole units. ENOMEM: the system refuses. Takes the balloon's lock.
  package func inflate(_ pages: UInt) -> BalloonOutcome {
    lock.acquire()
    defer { lock.release() }
    var done: UInt = 0
    // Large pieces first: one system call each, and they leave no holes.
    var piece = max(Balloon.batchPages, it.traits.unitPages)
    while done < pages {
      let spare = managedPages > it.traits.floorPages ? managedPages &- it.traits.floorPages : 0
      while piece > pages &- done || piece > spare {
        piece = piece &>> 1
        if piece < it.traits.unitPages { break }
      }
      guard piece >= it.traits.unitPages, piece > 0 else {
        return BalloonOutcome(pages: done, reason: spare < it.traits.unitPages ? .noSpace : nil)
      }
      switch take(piece) {
      case .run(let run):
        let section = it.arena.knownSection(at: run.address)
        guard it.arena.it.platform.attempt(.discard, run.address, run.bytes) else {
          it.arena.free(run)
          return BalloonOutcome(pages: done, reason: .noMemory)
        }
        ZoneRef(section.it.zone).withhold(section, address: run.address, pages: run.pages)
        it.held.insert(it.arena, run.address, pages: run.pages, owner: address, atFront: true)
        it.inflatedPages = it.inflatedPages &+ run.pages
        done = done &+ run.pages
      case .refused:
        return BalloonOutcome(pages: done, reason: .noMemory)
      case .none:
        guard piece > it.traits.unitPages else { return BalloonOutcome(pages: done, reason: .busy) }
        piece = piece &>> 1
      }
    }
    return BalloonOutcome(pages: done)
  }

  /// Free pages of the arena as it is: a balloon makes nothing grow.
  private func take(_ pages: UInt) -> PageOutcome {
    it.arena.allocateHere(pages: pages, alignment: pages)
  }

  package var managedPages: UInt {
    var managed: UInt = 0
    it.arena.forEachZone { zone in
      zone.lock.acquire()
      managed = managed &+ zone.it.managedPages
      zone.lock.release()
    }
    return managed
  }

  // MARK: Relief

  /// Deflates for an allocation of `pages` pages that is about to fail: what it takes, within the bounds. Answers whether
  /// any page came. Takes the balloon's lock.
  package func relieve(_ pages: UInt) -> Bool {
    lock.acquire()
    defer { lock.release() }
    guard it.traits.answersShortage, it.isInUse else { return false }
    let short = it.traits.floorPages > managedPages ? it.traits.floorPages &- managedPages : 0
    let free = it.held.pages > it.traits.keptPages ? it.held.pages &- it.traits.keptPages : 0
    let allowed = max(short, free)
    guard allowed >= it.traits.unitPages else { return false }
    let outcome = deflateLocked(min(pages, allowed))
    it.relievedPages = it.relievedPages &+ outcome.pages
    return outcome.pages != 0
  }
}
