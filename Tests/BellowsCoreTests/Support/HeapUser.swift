// A thread's view of a heap: what the malloc entry points do for the process heap, with an arena's own values.

import BellowsCore
import CShims

/// Allocates and frees for one thread heap, or for a thread without one.
struct HeapUser: Sendable {
  let heap: HeapRef
  /// Nil: a thread that only frees.
  let own: ThreadHeapRef?

  /// A user with a heap of its own.
  init?(_ heap: HeapRef) {
    guard let own = heap.attachThread() else { return nil }
    self.heap = heap
    self.own = own
  }

  init(withoutHeap heap: HeapRef) {
    self.heap = heap
    own = nil
  }

  func leave() { if let own { heap.detachThread(own) } }

  /// What the hit paths use: the empty heap where they are switched off.
  private var hot: UInt {
    guard let own, !heap.it.isChecking else { return bellows_empty_heap() }
    return own.address
  }

  func malloc(_ bytes: UInt) -> UInt {
    let block = HitPath.allocate(hot, bytes: bytes)
    return block != 0 ? block : heap.allocate(own!, bytes: bytes)
  }

  func calloc(_ bytes: UInt) -> UInt {
    let block = HitPath.allocate(hot, bytes: bytes)
    if block == 0 { return heap.allocateZeroed(own!, bytes: bytes) }
    bellows_zero(block, bytes)
    return block
  }

  func aligned(_ bytes: UInt, _ alignment: UInt) -> UInt {
    heap.allocate(own!, bytes: bytes, alignment: alignment)
  }

  func realloc(_ block: UInt, _ bytes: UInt) -> UInt { heap.reallocate(own!, block, bytes: bytes) }

  func usable(_ block: UInt) -> UInt { heap.usableBytes(block, "malloc_usable_size") }

  func free(_ block: UInt) {
    let table = heap.it.table
    let outcome = HitPath.free(
      hot, block, table: table.base, limit: table.limit, origin: table.origin,
      sectionShift: table.sectionShift)
    switch outcome {
    case .done: return
    case .miss: freeMiss(block)
    case .full(_, let shard): freeFull(block, shard)
    case .other(let word):
      switch HitPath.free(hot, block, word: word) {
      case .done: return
      case .full(_, let shard): freeFull(block, shard)
      default:
        if word == 0, hot != bellows_empty_heap(), block.isAligned(to: Page.granuleBytes),
          !heap.hasCages, let run = heap.it.arena.run(at: block), run.word.isLive
        {
          heap.freeRun(block, run, own!)
          return
        }
        freeMiss(block)
      }
    }
  }

  private func freeFull(_ block: UInt, _ shard: ShardRef) {
    switch HitPath.freeFull(hot, block, shard) {
    case .done: return
    case .miss: freeMiss(block)
    case .countedDown: heap.countedDown(shard, own!)
    case .overflow: heap.freeOverflow(block, shard, own!)
    }
  }

  private func freeMiss(_ block: UInt) {
    if let own { heap.acknowledgeIfDue(own) }
    if !heap.free(block, own) { heap.refuse(block, "free") }
  }
}

/// A live block and what was written into it.
struct Block: Sendable {
  var address: UInt
  var bytes: UInt
  var cookie: UInt8

  /// Writes the pattern: a short block whole, a long one at its ends and once a page.
  func fill() { forEachPlace { Ref<UInt8>($0).it = cookie ^ UInt8(truncatingIfNeeded: $0 - address) } }

  /// Whether the first `bytes` bytes are still as written.
  func isIntact(_ bytes: UInt) -> Bool {
    var intact = true
    forEachPlace {
      if $0 - address < bytes, Ref<UInt8>($0).it != cookie ^ UInt8(truncatingIfNeeded: $0 - address) {
        intact = false
      }
    }
    return intact
  }

  var isIntact: Bool { isIntact(bytes) }

  private func forEachPlace(_ body: (UInt) -> Void) {
    guard bytes > 0 else { return }
    let dense = min(bytes, 24)
    for place in 0..<dense { body(address + place) }
    var place = Page.bytes
    while place < bytes {
      body(address + place)
      place += Page.bytes
    }
    body(address + bytes - 1)
  }
}
