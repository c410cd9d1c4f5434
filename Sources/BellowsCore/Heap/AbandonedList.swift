// Shards of one class that nobody owns and that are worth choosing: left by threads that ended or had more
// than they use. Any thread takes from here before it asks for a fresh shard.
//
// A shard on the list may be claimed at any time by a thread that frees a block in it; the claimer then takes
// it off under the list's lock. So who walks the list claims first and skips what is taken.

import CShims

package struct AbandonedList: BitwiseCopyable {
  package var lockWord: UInt
  package var first: UInt
  package var count: UInt

  /// One cache line each.
  package static var stride: UInt { 64 }
}

package typealias AbandonedListRef = Ref<AbandonedList>

extension Ref where Pointee == AbandonedList {
  package var lock: Lock { Lock(address, .list) }

  /// Adds a shard that the caller owns (and is about to disown).
  package func add(_ shard: ShardRef) {
    lock.acquire()
    shard.it.state = .listed
    shard.it.previous = 0
    shard.it.next = it.first
    if it.first != 0 { ShardRef(it.first).it.previous = shard.address }
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

  private func unlink(_ shard: ShardRef) {
    let next = shard.it.next
    let previous = shard.it.previous
    if next != 0 { ShardRef(next).it.previous = previous }
    if previous != 0 { ShardRef(previous).it.next = next } else { setFirst(next) }
    it.count = it.count &- 1
    shard.it.state = .loose
  }
}
