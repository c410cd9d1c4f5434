// Shards of one class that nobody owns and that are worth choosing: left by threads that ended or had more
// than they use. Any thread takes from here before it asks for a fresh shard.
//
// A class has two lists: shards as they came, the last one first, and behind them those that the purge went
// over (Heap+Holes.swift). The first is served first.
//
// A shard on a list may be claimed at any time by a thread that frees a block in it; the claimer then takes
// it off under the list's lock. So who walks the list claims first and skips what is taken.

import CShims

package struct AbandonedList: BitwiseCopyable {
  package var lockWord: UInt
  package var first: UInt
  package var last: UInt
  package var count: UInt

  /// One cache line each.
  package static var stride: UInt { 64 }
}

package typealias AbandonedListRef = Ref<AbandonedList>

extension Ref where Pointee == AbandonedList {
  package var lock: Lock { Lock(address, .list) }

  /// Adds a shard that the caller owns (and is about to disown).
  package func add(_ shard: ShardRef, _ state: Shard.State) {
    lock.acquire()
    shard.it.state = state
    shard.it.previous = 0
    shard.it.next = it.first
    if it.first != 0 { ShardRef(it.first).it.previous = shard.address } else { it.last = shard.address }
    setFirst(shard.address)
    it.count = it.count &+ 1
    lock.release()
  }

  /// Takes off a shard that the caller has claimed.
  package func remove(_ shard: ShardRef) {
    lock.acquire()
    unlink(shard)
    lock.release()
  }

  /// Claims a shard and takes it off; nil where there is none.
  package func take() -> ShardRef? {
    guard bellows_load(address &+ 8) != 0 else { return nil }
    lock.acquire()
    defer { lock.release() }
    var shard = it.first
    while shard != 0 {
      let candidate = ShardRef(shard)
      if candidate.claim() {
        unlink(candidate)
        return candidate
      }
      shard = candidate.it.next
    }
    return nil
  }

  /// `take` looks at it without the lock.
  private func setFirst(_ shard: UInt) { bellows_store(address &+ 8, shard) }

  /// Claims the shard that is longest on the list, if that is since `deadline`, and takes it off.
  package func takeOldest(listedBefore deadline: UInt32) -> ShardRef? {
    guard bellows_load(address &+ 8) != 0 else { return nil }
    lock.acquire()
    defer { lock.release() }
    var shard = it.last
    while shard != 0 {
      let candidate = ShardRef(shard)
      shard = candidate.it.previous
      // The clock wraps in 49 days: compare by distance. The stamp is set before the shard is listed.
      if Int32(truncatingIfNeeded: candidate.it.stamp &- deadline) > 0 { return nil }
      if candidate.claim() {
        unlink(candidate)
        return candidate
      }
    }
    return nil
  }

  private func unlink(_ shard: ShardRef) {
    let next = shard.it.next
    let previous = shard.it.previous
    if next != 0 { ShardRef(next).it.previous = previous } else { it.last = previous }
    if previous != 0 { ShardRef(previous).it.next = next } else { setFirst(next) }
    it.count = it.count &- 1
    shard.it.state = .loose
  }
}
