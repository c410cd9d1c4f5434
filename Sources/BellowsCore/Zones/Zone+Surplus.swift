// When it is for the thread that frees to give back: nobody else may, since a child of fork and a program with one thread have no
// helper, and there may be no later call.
//
// More than 8 MiB, or a sixteenth of what is used, is a surplus. But memory that comes and goes is not to be faulted in again each
// time: where half as much was handed out since the last look as there is too much, the limit is doubled instead,
// and it sinks again when that has not happened for a while. So a buffer of 20 MiB that is freed and taken again costs
// two looks, and who frees 240 MiB in pieces and takes nothing keeps 16 at most.

import CShims

extension Zone {
  package static var hasSurplusOffset: UInt { 24 }
  /// 8 MiB.
  package static var leastSurplus: UInt { 2048 }
  /// Milliseconds after which a raised limit sinks.
  fileprivate static var memory: UInt64 { 2000 }
}

extension Ref where Pointee == Zone {
  /// Whether more has become dirty than may be: then `owesPages` is to be asked. A load.
  @inline(__always)
  package var hasSurplus: Bool { bellows_load(address &+ Zone.hasSurplusOffset) != 0 }

  func noteSurplus() { bellows_store(address &+ Zone.hasSurplusOffset, 1) }

  /// Whether the caller is to give back what is dirty. `kept` pages of runs that the heap keeps count too, and `reused`
  /// that it handed out of these. Takes the zone's lock.
  package func owesPages(kept: UInt = 0, reused: UInt = 0) -> Bool {
    lock.acquire()
    defer { lock.release() }
    bellows_store(address &+ Zone.hasSurplusOffset, 0)
    let surplus = it.dirtyPages &+ kept
    let taken = it.takenPages &- it.takenAtLook &+ reused
    let live = it.usedPages > kept ? it.usedPages &- kept : 0
    let least = max(Zone.leastSurplus, live &>> 4)
    let now = bellows_clock_milliseconds()
    sinkSurplusLimit(now)
    guard surplus > max(it.surplusLimit, least) else { return false }
    it.takenAtLook = it.takenPages
    guard taken >= surplus &>> 1 else {
      // What came before the frees says nothing any more.
      it.surplusLimit = Zone.leastSurplus
      return true
    }
    it.surplusLimit = surplus &* 2
    it.surplusTime = now
    return false
  }

  /// Nothing could be given back: not to be tried again at each free. Takes the zone's lock.
  package func bearSurplus() {
    lock.acquire()
    it.surplusLimit = max(it.dirtyPages, Zone.leastSurplus) &* 2
    it.surplusTime = bellows_clock_milliseconds()
    lock.release()
  }

  /// Takes back a limit that was raised a while ago. Under the zone's lock.
  func sinkSurplusLimit(_ now: UInt64) {
    if now &- it.surplusTime > Zone.memory { it.surplusLimit = Zone.leastSurplus }
  }

  /// In the child of a fork: what the parent took says nothing of it. Under the zone's lock.
  func forgetTaken() {
    it.takenAtLook = it.takenPages
    it.surplusLimit = Zone.leastSurplus
    it.surplusTime = 0
  }
}
