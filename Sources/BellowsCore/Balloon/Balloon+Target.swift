// A balloon follows a target: how many pages the allocator shall have.
//
//     credit = target - managed       above 0: deflate; below 0: inflate
//
// A balloon that grows adds sections when it holds too little: the credit rounded up to a section, as they are needed.
// What cannot be had now is tried again later (BalloonSchedule.swift). A new target is looked at at once: no delay of
// an old one holds it up.

extension Ref where Pointee == Balloon {
  /// Sets the number of managed pages that there shall be. Takes the balloon's lock.
  package func setTarget(_ pages: UInt) {
    lock.acquire()
    it.targetPages = pages
    it.schedule = BalloonSchedule()
    it.due = 0
    lock.release()
  }

  /// Pages that are missing to the target; below 0: too many. Takes the balloon's lock.
  package var credit: Int {
    lock.acquire()
    defer { lock.release() }
    return Int(bitPattern: it.targetPages) &- Int(bitPattern: managedPages)
  }

  private var targetPages: UInt {
    lock.acquire()
    defer { lock.release() }
    return it.targetPages
  }

  /// A round, if one is due at `now` (milliseconds). Answers what it changed, and why it is not enough. Takes the
  /// balloon's lock, batch by batch; who sets another target meanwhile is heeded at the next batch.
  package func advance(_ now: UInt64) -> BalloonOutcome {
    lock.acquire()
    let target = it.targetPages
    let isDue = now >= it.due
    lock.release()
    guard isDue else { return BalloonOutcome(pages: 0, reason: .again) }
    var done: UInt = 0
    var reason: Refusal?
    while reason == nil {
      let credit = Int(bitPattern: target) &- Int(bitPattern: managedPages)
      if credit.magnitude < it.traits.unitPages { break }
      // A target that has changed ends the round: an outdated one is not fought for.
      if targetPages != target {
        reason = .again
        break
      }
      let pages = min(credit.magnitude, Balloon.batchPages)
      let outcome = credit > 0 ? deflate(pages) : inflate(pages)
      done = done &+ outcome.pages
      reason = outcome.reason
      if credit > 0, reason == .noSpace, it.traits.isGrowing {
        // Not under the balloon's lock, which bringing a section online takes.
        reason = it.arena.addSection(for: .balloon(self)) == nil ? .noMemory : nil
      }
    }
    lock.acquire()
    defer { lock.release() }
    if it.targetPages == target {
      it.schedule.note(isMet: reason == nil)
      it.due = reason == nil ? 0 : now &+ it.schedule.delay
    }
    return BalloonOutcome(pages: done, reason: reason)
  }
}
