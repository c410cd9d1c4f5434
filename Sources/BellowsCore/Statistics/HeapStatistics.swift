// The figures of a heap and its arena, exact in pages.

import CShims

/// In pages unless stated otherwise.
package struct HeapStatistics: BitwiseCopyable, Sendable {
  package var presentPages: UInt = 0
  package var committedPages: UInt = 0
  package var memmapPages: UInt = 0
  /// Pages of sections that blocks lie in, or that are kept for blocks.
  package var usedPages: UInt = 0
  /// Free pages that may be resident.
  package var dirtyPages: UInt = 0
  /// Used pages that are freed runs, kept for the next request of their length.
  package var slottedPages: UInt = 0
  /// Used pages that were returned out of partly used shards.
  package var holePages: UInt = 0
  /// Free pages that are out of circulation, in sections that are not offline.
  package var cagedPages: UInt = 0
  package var offlineSections: UInt = 0
  package var returnedPages: UInt = 0
  package var returnCalls: UInt = 0
  package var hugeBytes: UInt = 0
  /// The most that these ever were.
  package var mostHugeBytes: UInt = 0
  package var hugeBlocks: UInt = 0
  package var sections: UInt = 0
  package var heaps: UInt = 0
  /// Times an idle thread's heap was trimmed by the helper, and times it could not be.
  package var seizures: UInt = 0
  package var refusals: UInt = 0
  package var metadataBytes: UInt = 0

  package init() {}
}

extension Ref where Pointee == Heap {
  /// The figures of this moment. Takes the huge, growth and zone locks in turn; O(sections).
  package func statistics() -> HeapStatistics {
    var result = HeapStatistics()
    registry.acquire()
    result.heaps = it.heapCount
    result.seizures = it.seizures
    result.refusals = it.refusals
    result.slottedPages = slottedPages()
    result.holePages = bellows_load(address &+ Heap.holePagesOffset)
    registry.release()
    hugeTable.lock.acquire()
    result.hugeBytes = hugeTable.it.bytes
    result.mostHugeBytes = hugeTable.it.mostBytes
    result.hugeBlocks = hugeTable.it.count
    hugeTable.lock.release()
    it.arena.growth.acquire()
    result.sections = UInt(it.arena.it.sections)
    result.metadataBytes = it.arena.it.metadata.mappedBytes
    it.arena.growth.release()
    let totals = it.arena.totals()
    result.presentPages = totals.present
    result.memmapPages = totals.memmap
    result.usedPages = totals.used
    result.dirtyPages = totals.dirty
    result.cagedPages = totals.caged
    result.offlineSections = it.arena.it.offlineCount
    result.returnedPages = totals.returned
    result.returnCalls = totals.returnCalls
    result.committedPages = totals.committed
    return result
  }
}
