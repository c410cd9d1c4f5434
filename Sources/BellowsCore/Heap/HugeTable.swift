// Blocks that no section can hold (above 64 MiB, or aligned to 128 MiB and more), and blocks that outgrew
// their place: mappings of their own, in a table ordered by address that only slow paths consult.
//
//     ┌──────────────────┬────────────────────────────────────┐
//     │ moved here       │ grown since                        │ slack: untouched, so it costs nothing
//     └──────────────────┴──────────────────────┴─────────────┘
//     base               split                  length        reserved
//
// Bases are multiples of 2 MiB, so that mremap moves page tables and not pages (35 us against 1.5 ms for
// 64 MiB, measured). Pages that moved out of a section keep the file offset of where they came from, so the
// kernel has two mappings, which `split` remembers: mremap works on one at a time.

import CShims

package struct HugeMapping: BitwiseCopyable {
  package var base: UInt
  /// Bytes of the block.
  package var length: UInt
  /// Bytes that are mapped, slack included.
  package var reserved: UInt
  /// Bytes at the start that are a mapping of their own to the kernel; 0: none.
  package var split: UInt
}

package struct HugeTable: BitwiseCopyable {
  package var lockWord: UInt
  /// The entries, ordered by base.
  package var entries: UInt
  package var count: UInt
  package var capacity: UInt
  /// Bytes of all blocks, and the most that they ever were.
  package var bytes: UInt
  package var mostBytes: UInt

  package static var alignment: UInt { 2 &<< 20 }
}

package typealias HugeTableRef = Ref<HugeTable>

extension Ref where Pointee == HugeTable {
  package var lock: Lock { Lock(address, .huge) }

  /// Whether there is none; without the lock, for whoever knows of a block that would be in it.
  package var isEmpty: Bool { bellows_load(address &+ 16) == 0 }

  private func setCount(_ count: UInt) { bellows_store(address &+ 16, count) }

  package func entry(_ place: UInt) -> Ref<HugeMapping> {
    Ref<HugeMapping>(it.entries &+ place &* UInt(bitPattern: MemoryLayout<HugeMapping>.stride))
  }

  /// The place of the first mapping that starts above `address`. Under the lock.
  private func placeAfter(_ address: UInt) -> UInt {
    var low: UInt = 0
    var high = it.count
    while low < high {
      let middle = (low &+ high) &>> 1
      if entry(middle).it.base <= address { low = middle &+ 1 } else { high = middle }
    }
    return low
  }

  /// The place of the mapping that holds `address`, or nil. Under the lock.
  package func find(_ address: UInt) -> UInt? {
    let after = placeAfter(address)
    guard after > 0 else { return nil }
    let mapping = entry(after &- 1).it
    return address &- mapping.base < mapping.reserved ? after &- 1 : nil
  }

  /// The first mapping that starts at `address` or above. Under the lock.
  package func next(from address: UInt) -> HugeMapping? {
    let place = address == 0 ? 0 : placeAfter(address &- 1)
    return place < it.count ? entry(place).it : nil
  }

  /// Enters a mapping; false where there is no memory for the table. Under the lock.
  package func insert(_ mapping: HugeMapping, arena: ArenaRef) -> Bool {
    if it.count == it.capacity {
      let stride = UInt(bitPattern: MemoryLayout<HugeMapping>.stride)
      let capacity = max(64, it.capacity &* 2)
      guard let memory = arena.allocateMetadata(capacity &* stride) else { return false }
      if it.count != 0 { bellows_copy(memory, it.entries, it.count &* stride) }
      it.entries = memory
      it.capacity = capacity
    }
    let place = placeAfter(mapping.base)
    var index = it.count
    while index > place {
      entry(index).it = entry(index &- 1).it
      index = index &- 1
    }
    entry(place).it = mapping
    setCount(it.count &+ 1)
    count(mapping.length)
    return true
  }

  /// Counts bytes more, or where it wraps less. Under the lock.
  func count(_ bytes: UInt) {
    it.bytes = it.bytes &+ bytes
    it.mostBytes = max(it.mostBytes, it.bytes)
  }

  /// Takes a mapping out. Under the lock.
  package func remove(_ place: UInt) -> HugeMapping {
    let mapping = entry(place).it
    for index in place..<(it.count &- 1) { entry(index).it = entry(index &+ 1).it }
    setCount(it.count &- 1)
    it.bytes = it.bytes &- mapping.length
    return mapping
  }
}
