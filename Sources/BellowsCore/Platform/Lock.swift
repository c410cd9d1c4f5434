// A lock of one word that sleeps on a futex: 0 open, 1 held, 2 held with sleepers.
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
    if !bellows_lock_try(word) { wait() }
    beginChange()
    noteHeld()
  }

  /// Takes the lock beside others of its rank: for fork, which takes them all.
  package func acquireUnranked() {
    if !bellows_lock_try(word) { wait() }
    beginChange()
    noteHeld()
  }

  /// Takes the lock if nobody has it. Exempt from the rank order, since it cannot wait.
  package func tryAcquire() -> Bool {
    guard bellows_lock_try(word) else { return false }
    beginChange()
    noteHeld()
    return true
  }

  @inline(__always)
  package func release() {
    noteReleased()
    endChange()
    if _slowPath(bellows_lock_open(word) == 2) { bellows_futex_wake(word) }
  }

  private var countsChanges: Bool {
    @inline(__always) get { rank == .zone || rank == .growth || rank == .huge }
  }
  @inline(__always) private func beginChange() { if countsChanges { bellows_change_begin(word &+ 4) } }
  @inline(__always) private func endChange() { if countsChanges { bellows_change_end(word &+ 4) } }

  @inline(never)
  private func wait() {
    // The holders' work is short (no system call in most), so a brief spin often saves the sleep.
    for _ in 0..<40 {
      if bellows_load32(word) == 0, bellows_lock_try(word) { return }
      bellows_pause()
    }
    while bellows_lock_contend(word) != 0 { bellows_futex_wait(word, 2) }
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
