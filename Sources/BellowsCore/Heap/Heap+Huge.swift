// Blocks that are mappings of their own.

import CShims

extension Ref where Pointee == Heap {
  var hugeTable: HugeTableRef { HugeTableRef(address &+ Heap.hugeOffset) }

  /// A mapping of at least `bytes` bytes at a multiple of `alignment`, or 0. Its bytes are zero.
  package func allocateHuge(bytes: UInt, alignment: UInt) -> UInt {
    let length = bytes.rounded(upTo: Page.bytes)
    guard length >= bytes, length <= UInt(bitPattern: Int.max) else { return 0 }
    let block = mapHuge(length, max(alignment, HugeTable.alignment))
    if block != 0 { return block }
    reclaim()
    return mapHuge(length, max(alignment, HugeTable.alignment))
  }

  private func mapHuge(_ length: UInt, _ alignment: UInt) -> UInt {
    isLimited
      ? withinLimit(length &>> Page.shift) { _ in
        let block = mapHugeUnlimited(length, alignment)
        return block == 0 ? nil : block
      } ?? 0
      : mapHugeUnlimited(length, alignment)
  }

  private func mapHugeUnlimited(_ length: UInt, _ alignment: UInt) -> UInt {
    let platform = it.arena.it.platform
    guard let base = platform.reserve(length, alignment: alignment, isCharged: true) else { return 0 }
    it.arena.steer(Arena.anyNode, base, length)
    guard platform.attempt(.commit, base, length),
      enterHuge(HugeMapping(base: base, length: length, reserved: length, split: 0))
    else {
      platform.attempt(.release, base, length)
      return 0
    }
    return base
  }

  private func enterHuge(_ mapping: HugeMapping) -> Bool {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    return hugeTable.insert(mapping, arena: it.arena)
  }

  /// Whether `block` lies in a mapping of its own; frees it if so. Reports and aborts if it lies inside one.
  func freeHuge(_ block: UInt) -> Bool {
    guard !hugeTable.isEmpty else { return false }
    hugeTable.lock.acquire()
    guard let place = hugeTable.find(block) else {
      hugeTable.lock.release()
      return false
    }
    if hugeTable.entry(place).it.base != block {
      fault("free", block, "interior pointer to a large block")
    }
    let mapping = hugeTable.remove(place)
    hugeTable.lock.release()
    let platform = it.arena.it.platform
    if !platform.attempt(.release, mapping.base, mapping.reserved) {
      // The kernel has no room for one more mapping: the memory goes back, the address space does not.
      platform.attempt(.discard, mapping.base, mapping.reserved)
    }
    return true
  }

  /// The mapping that starts at `block`, or nil where none holds it.
  package func hugeMapping(_ block: UInt, _ function: StaticString) -> HugeMapping? {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    guard let place = hugeTable.find(block) else { return nil }
    let mapping = hugeTable.entry(place).it
    if mapping.base != block { fault(function, block, "interior pointer to a large block") }
    return mapping
  }

  private func updateHuge(_ mapping: HugeMapping) {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    guard let place = hugeTable.find(mapping.base) else { return }
    hugeTable.count(mapping.length &- hugeTable.entry(place).it.length)
    hugeTable.entry(place).it = mapping
  }

  private func removeHuge(_ base: UInt) {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    if let place = hugeTable.find(base) { _ = hugeTable.remove(place) }
  }

  // MARK: Growing

  /// Changes the length of a huge block: in place, within its slack, or by moving its page tables. Answers
  /// its new address, or 0 with the block as it was.
  package func resizeHuge(_ mapping: HugeMapping, bytes: UInt) -> UInt {
    let growth = Page.count(bytes) &- mapping.length &>> Page.shift
    guard isLimited, bytes > mapping.length, bytes <= UInt(bitPattern: Int.max) else {
      return resizeHugeUnlimited(mapping, bytes: bytes)
    }
    let block = withinLimit(growth) { _ in
      let block = resizeHugeUnlimited(mapping, bytes: bytes)
      return block == 0 ? nil : block
    }
    return block ?? 0
  }

  private func resizeHugeUnlimited(_ mapping: HugeMapping, bytes: UInt) -> UInt {
    let platform = it.arena.it.platform
    let length = bytes.rounded(upTo: Page.bytes)
    guard length >= bytes, length <= UInt(bitPattern: Int.max) else { return 0 }
    var changed = mapping
    changed.length = length
    if length == mapping.length { return mapping.base }
    if length <= mapping.reserved {
      // The end goes back to the system and stays mapped.
      if length < mapping.length {
        guard platform.attempt(.discard, mapping.base &+ length, mapping.length &- length) else { return 0 }
      }
      updateHuge(changed)
      return mapping.base
    }
    return moveHuge(mapping, to: length)
  }

  /// Moves a huge block to a larger place: with slack to the next power of two, or just large enough where
  /// that is not to be had (the slack is charged, too: in overcommit mode 0 the kernel refuses a growth by more than all its
  /// memory).
  private func moveHuge(_ mapping: HugeMapping, to length: UInt) -> UInt {
    let roomy: UInt = 1 &<< length.ceilingLog2
    let moved = moveHuge(mapping, to: length, reserving: roomy)
    return moved != 0 || roomy == length ? moved : moveHuge(mapping, to: length, reserving: length)
  }

  private func moveHuge(_ mapping: HugeMapping, to length: UInt, reserving reserved: UInt) -> UInt {
    let platform = it.arena.it.platform
    guard let base = platform.reserve(reserved, alignment: HugeTable.alignment, isCharged: true)
    else { return 0 }
    // The first part as it is, and its old place kept until all is done; then the rest, which grows over the
    // whole reservation. The old entry goes first: its place may be another thread's as soon as it is free.
    let first = mapping.split
    let moved = HugeMapping(base: base, length: length, reserved: reserved, split: first)
    guard replaceHuge(mapping.base, with: moved) else {
      platform.attempt(.release, base, reserved)
      return 0
    }
    if first != 0, !platform.attempt(.movePages, mapping.base, first, base) {
      return abandonMove(moved, back: mapping)
    }
    guard
      platform.attempt(
        .remap, mapping.base &+ first, mapping.reserved &- first, base &+ first, reserved &- first)
    else {
      if first != 0 { platform.attempt(.remap, base, first, mapping.base, first) }
      return abandonMove(moved, back: mapping)
    }
    if first != 0 { platform.attempt(.release, mapping.base, first) }
    return base
  }

  private func abandonMove(_ mapping: HugeMapping, back: HugeMapping?) -> UInt {
    if let back { _ = replaceHuge(mapping.base, with: back) } else { removeHuge(mapping.base) }
    it.arena.it.platform.attempt(.release, mapping.base, mapping.reserved)
    return 0
  }

  /// Takes the mapping at `base` out and enters another; false, and nothing done, where there is no memory for
  /// the table (which is never so for one that takes another's place).
  private func replaceHuge(_ base: UInt, with mapping: HugeMapping) -> Bool {
    hugeTable.lock.acquire()
    defer { hugeTable.lock.release() }
    guard let place = hugeTable.find(base) else { return false }
    _ = hugeTable.remove(place)
    return hugeTable.insert(mapping, arena: it.arena)
  }

  /// Makes a mapping of `bytes` bytes of a run, by moving its page tables; answers its address, or 0 with
  /// the run as it was. The run's pages are back in the zone afterwards.
  package func moveRunToHuge(_ run: PageRun, bytes: UInt) -> UInt {
    let length = bytes.rounded(upTo: Page.bytes)
    guard length >= bytes else { return 0 }
    guard isLimited else { return moveRunToHuge(run, length: length) }
    let block = withinLimit(length &>> Page.shift &- run.pages) { _ in
      let block = moveRunToHuge(run, length: length)
      return block == 0 ? nil : block
    }
    return block ?? 0
  }

  private func moveRunToHuge(_ run: PageRun, length: UInt) -> UInt {
    let roomy: UInt = 1 &<< length.ceilingLog2
    let moved = moveRunToHuge(run, length: length, reserving: roomy)
    return moved != 0 || roomy == length ? moved : moveRunToHuge(run, length: length, reserving: length)
  }

  private func moveRunToHuge(_ run: PageRun, length: UInt, reserving reserved: UInt) -> UInt {
    let platform = it.arena.it.platform
    guard let base = platform.reserve(reserved, alignment: HugeTable.alignment, isCharged: true)
    else { return 0 }
    it.arena.steer(Arena.anyNode, base, reserved)
    let mapping = HugeMapping(base: base, length: length, reserved: reserved, split: run.bytes)
    guard platform.attempt(.commit, base &+ run.bytes, reserved &- run.bytes), enterHuge(mapping) else {
      platform.attempt(.release, base, reserved)
      return 0
    }
    guard platform.attempt(.movePages, run.address, run.bytes, base) else {
      return abandonMove(mapping, back: nil)
    }
    it.arena.knownRun(at: run.address).word = .nothing
    it.arena.free(run, isAbsent: true)
    return base
  }
}
