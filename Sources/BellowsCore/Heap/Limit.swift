// How much a heap may hold.
//
//      held = pages in use + freed pages not yet returned + pages of huge blocks
//
//      0 ─────────────────── soft ──────────────────────────── hard
//        nothing is done          freed pages go back at once,      requests fail
//                                 and a new section comes only
//                                 when that brought no room
//
// A request announces its pages in `pending` before it looks and takes them back when they are counted elsewhere, so
// that no two requests pass for each other's room: what is held never exceeds the hard limit. (Near the limit a request
// may be refused because another one is just being counted; what a heap has for a second try comes first.) Counted are pages as they
// are handed out, touched or not; page descriptors (1/64) and the engine's own records come on top.
//
// Cost: one load for each request that reaches the page allocator while there is no limit; while there is one, the
// zone's lock once more.

import CShims

package struct Limit: BitwiseCopyable {
  /// In pages; 0: none. Written by `setLimit` alone, read without a lock.
  package var softPages: UInt
  package var hardPages: UInt
  /// Pages of requests that are under way. Atomic.
  package var pendingPages: UInt
  /// Bit 0: the soft limit was crossed, bit 1: a request was refused; until somebody takes note. Atomic.
  package var news: UInt
  /// The same since it last was well below: each crossing is told once. Atomic.
  package var told: UInt
  /// When freed pages were last returned on its account, in milliseconds.
  package var lastRelief: UInt
  /// How often the hard limit refused pages since the start. Atomic.
  package var refusals: UInt

  package static var softBit: UInt { 1 }
  package static var hardBit: UInt { 2 }
}

/// Whether a request may have its pages.
enum Admission {
  case free, overSoft, refused
}

extension Ref where Pointee == Heap {
  // The fields by address: they are read and written without a lock.
  private var limit: UInt { address &+ Heap.limitOffset }
  private var pending: UInt { limit &+ 16 }
  private var news: UInt { limit &+ 24 }
  private var told: UInt { limit &+ 32 }
  private var refusals: UInt { limit &+ 48 }

  /// The soft and the hard limit, in pages; 0: none.
  package var limits: (soft: UInt, hard: UInt) { (bellows_load(limit), bellows_load(limit &+ 8)) }

  /// Whether there is a limit.
  @inline(__always)
  var isLimited: Bool { bellows_load(limit) | bellows_load(limit &+ 8) != 0 }

  /// Sets the limits, in pages; 0: none. What is held above the soft limit and free goes back at once.
  package func setLimit(soft: UInt, hard: UInt) {
    bellows_store(limit, soft)
    bellows_store(limit &+ 8, hard)
    bellows_store(told, 0)
    if soft != 0 || hard != 0, heldPages() > min(soft == 0 ? .max : soft, hard == 0 ? .max : hard) {
      reclaimPages()
      _ = judge()
    }
  }

  /// What the limits are compared with, in pages. Takes the huge lock, and the zone's under it: where run and mapping change
  /// places in between, neither or both would be counted.
  package func heldPages() -> UInt {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    return it.arena.heldPages() &+ hugeTable.it.bytes &>> Page.shift
  }

  /// What happened since this was last asked: bits of `Limit`. One load where nothing did.
  @inline(__always)
  package func takeLimitNews() -> UInt {
    bellows_load(news) == 0 ? 0 : bellows_exchange(news, 0)
  }

  package var limitRefusals: UInt { bellows_load(refusals) }

  // MARK: Requests

  /// What `body` answers, with `pages` more pages counted while it runs; nil where the limits leave no room.
  /// `body` learns whether a section may be added for them.
  @inline(never)
  func withinLimit<R>(_ pages: UInt, _ body: (_ mayGrow: Bool) -> R?) -> R? {
    _ = bellows_fetch_add(pending, pages)
    defer { _ = bellows_fetch_add(pending, 0 &- pages) }
    switch judge() {
    case .free: return body(true)
    case .overSoft:
      relieve(atOnce: false)
      if let result = body(false) { return result }
      relieve(atOnce: true)
      return body(false) ?? body(true)
    case .refused:
      reclaimPages()
      if case .refused = judge() {
        refuse()
        return nil
      }
      return body(true)
    }
  }

  /// Where what is held stands, with the pages of requests under way.
  private func judge() -> Admission {
    let (soft, hard) = limits
    // In this order: what is counted between the two is counted twice, never not at all.
    let requested = bellows_load(pending)
    let held = heldPages() &+ requested
    if hard != 0, held > hard { return .refused }
    if soft != 0, held > soft {
      tell(Limit.softBit)
      return .overSoft
    }
    // Told again only after it was well below, or a heap that stands at its limit would tell at every request.
    if bellows_load(told) != 0, soft == 0 || held < soft &- (soft &>> 4),
      hard == 0 || held < hard &- (hard &>> 4)
    {
      bellows_store(told, 0)
    }
    return .free
  }

  private func refuse() {
    _ = bellows_fetch_add(refusals, 1)
    tell(Limit.hardBit)
  }

  private func tell(_ bit: UInt) {
    guard bellows_load(told) & bit == 0 else { return }
    if bellows_fetch_or(told, UInt64(bit)) & UInt64(bit) == 0 { _ = bellows_fetch_or(news, UInt64(bit)) }
  }

  /// Over the soft limit: returns what is free, but not more often than pays. A purge of a few pages for every request
  /// would make each pay a page fault and two system calls.
  private func relieve(atOnce: Bool) {
    let now = UInt(bellows_clock_milliseconds())
    let last = bellows_load(limit &+ 40)
    let dirty = it.arena.dirtyPages()
    guard atOnce || now &- last >= 10 || dirty > max(bellows_load(limit) &>> 6, 256) else { return }
    bellows_store(limit &+ 40, now)
    reclaimPages()
  }

  /// Gives freed runs and free pages back; address space stays.
  private func reclaimPages() {
    emptyAllSlots()
    it.arena.purge(dirtySince: .max)
  }
}
