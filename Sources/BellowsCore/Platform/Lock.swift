// A lock of one word that sleeps on a futex. The word names the owner, so that a fork in a signal handler can tell what the
// thread that it interrupted holds (Heap+Fork.swift).
//
//     31        30 ── 22      21 ── 0
//     sleepers  forks         thread number       0: open
//
// Locks of the ranks huge, growth and zone count in the four bytes behind the word how often they were taken and
// opened: odd while somebody changes what they guard. That is how a reader in another process, which can take no
// lock, knows that what it copied is of one piece (two instructions for each side of the lock).
//
// Locks have ranks, and a thread takes them in rising rank only; debug builds check it. The order is that
// of the fork handlers, which take them all:
//
//   registry  the list of thread heaps
//   heap      one thread heap, held for the length of each of its slow paths
//   list      the abandoned shards of one size class
//   huge      the table of mappings above 64 MiB
//   balloon   what one balloon holds
//   growth    an arena's sections and its metadata
//   zone      the page allocator

import CShims

package enum LockRank: UInt32, Sendable {
  case registry = 1
  case heap = 2
  case list = 4
  case huge = 8
  case balloon = 16
  case growth = 32
  case zone = 64
}

/// A lock by the address of its word, which starts out as zero.
package struct Lock: Sendable {
  package let word: UInt
  package let rank: LockRank

  @inline(__always)
  package init(_ word: UInt, _ rank: LockRank) {
    self.word = word
    self.rank = rank
  }

  @inline(__always)
  package func acquire() {
    checkRank()
    take()
    beginChange()
    noteHeld()
  }

  /// Takes the lock beside others of its rank.
  package func acquireUnranked() {
    take()
    beginChange()
    noteHeld()
  }

  /// Takes the lock if nobody has it. Exempt from the rank order, since it cannot wait.
  package func tryAcquire() -> Bool {
    guard bellows_lock_try(word, bellows_self()) else { return false }
    beginChange()
    noteHeld()
    return true
  }

  @inline(__always)
  package func release() {
    noteReleased()
    endChange()
    if _slowPath(bellows_lock_open(word) & BELLOWS_LOCK_SLEEPERS != 0) { bellows_futex_wake(word) }
  }

  private var countsChanges: Bool {
    @inline(__always) get { rank == .zone || rank == .growth || rank == .huge }
  }
  @inline(__always) private func beginChange() { if countsChanges { bellows_change_begin(word &+ 4) } }
  @inline(__always) private func endChange() { if countsChanges { bellows_change_end(word &+ 4) } }

  @inline(__always)
  private func take() {
    let own = bellows_self()
    if !bellows_lock_try(word, own) { wait() }
    if _slowPath(bellows_self() != own) { rename() }
  }

  /// A signal handler forked between the look for the thread's name and its writing: in the child it is another one.
  @inline(never)
  private func rename() {
    while case let seen = bellows_load32(word),
      !bellows_compare_exchange32(word, seen, bellows_self() | seen & BELLOWS_LOCK_SLEEPERS)
    {}
  }

  @inline(never)
  private func wait() {
    // The holders' work is short (no system call in most), so a brief spin often saves the sleep.
    let own = bellows_self()
    for _ in 0..<40 {
      if bellows_load32(word) == 0, bellows_lock_try(word, own) { return }
      bellows_pause()
    }
    // Whoever slept does not know whether another one still does.
    while !bellows_lock_try(word, own | BELLOWS_LOCK_SLEEPERS) {
      let seen = bellows_load32(word)
      guard seen != 0 else { continue }
      let marked = seen | BELLOWS_LOCK_SLEEPERS
      if seen == marked || bellows_compare_exchange32(word, seen, marked) { bellows_futex_wait(word, marked) }
    }
  }

  // MARK: Fork

  /// The owner: what `bellows_self` answered to it; 0: open.
  private var owner: UInt32 { bellows_load32(word) & ~BELLOWS_LOCK_SLEEPERS }

  /// Whether the calling thread holds it.
  package var isOwn: Bool { owner & BELLOWS_LOCK_THREAD == bellows_self() & BELLOWS_LOCK_THREAD }

  /// Takes the lock unless the calling thread holds it: in a signal handler it may have interrupted itself.
  ///
  /// `patience`: milliseconds to wait, which are counted down; nil: as long as it takes. After that the lock stays
  /// with whoever has it.
  package func acquireForFork(_ patience: inout UInt64?) {
    guard !isOwn else { return }
    if !bellows_lock_try(word, bellows_self()) {
      guard patience != nil else { return acquireUnranked() }
      while !bellows_lock_try(word, bellows_self()) {
        guard let left = patience, left > 0 else { return }
        bellows_futex_wait_for(word, bellows_load32(word), 1)
        patience = left &- 1
      }
    }
    beginChange()
    noteHeld()
  }

  /// Opens the lock if the calling thread took it for the fork that it is in.
  package func releaseAfterFork() { if owner == bellows_self() { release() } }

  package enum Inheritance { case open, held, orphaned }

  /// In the child of a fork, whose one thread was called `parent` before: opens the lock, unless the slow path that
  /// the fork interrupted holds it and goes on in the child too.
  package func inherit(from parent: UInt32) -> Inheritance {
    let owner = owner
    guard owner != 0 else { return .open }
    let isOfParent = owner & BELLOWS_LOCK_THREAD == parent & BELLOWS_LOCK_THREAD
    if isOfParent, owner != parent {
      bellows_store32(word, owner & ~BELLOWS_LOCK_THREAD | bellows_self() & BELLOWS_LOCK_THREAD)
      return .held
    }
    if countsChanges, bellows_load32(word &+ 4) & 1 != 0 { endChange() }
    bellows_store32(word, 0)
    if isOfParent { noteReleased() }
    return isOfParent ? .open : .orphaned
  }

  #if DEBUG && !hasFeature(Embedded)
  private func checkRank() {
    precondition(bellows_ranks_held() < rank.rawValue, "lock taken out of rank")
  }
  private func noteHeld() { bellows_ranks_set(bellows_ranks_held() | rank.rawValue) }
  private func noteReleased() { bellows_ranks_set(bellows_ranks_held() & ~rank.rawValue) }
  #else
  @inline(__always) private func checkRank() {}
  @inline(__always) private func noteHeld() {}
  @inline(__always) private func noteReleased() {}
  #endif
}
