// Adding sections: everything up to the page allocator, which only `online` does.
//
//   claim ─► commit ─► bind ─► setUp ─► place ─► populate ─► construct ─► publish
//
// Each step has its undo; a step that fails undoes those before it, in reverse, and the sections that the same call
// added before. No lock is held but for `claim` and `publish`, so that populating one section does not hold up
// another.

import CShims

/// What is asked of an addition.
package struct AddRequest: BitwiseCopyable, Sendable {
  package var placement = MemmapPlacement.preferred
  /// The node that the memory is bound to; -1: none in particular.
  package var node: Int32 = -1
  /// The node of an outside memmap; -1: that of the memory.
  package var memmapNode: Int32 = -1
  /// Memory of the caller's for the descriptors, for `MemmapPlacement.storage`.
  package var storage: UInt = 0
  package var storageBytes: UInt = 0
  /// Whether all descriptors become resident now, so that a shortage shows here.
  package var isEager = true
  /// Whether the memmap is advised to be of huge pages, where it is as large as one.
  package var isHuge = false
  package var isSpare = false
  /// Whether it is what the arena begins with: see `SectionMemory.early`.
  package var isEarly = false
  /// The memory group that the sections join; 0: none. Its node is theirs, and its hook where the request has none.
  package var group: UInt32 = 0
  package var strategy = SectionStrategy()
  package var hook = OnlineHook()

  package init() {}
}

package enum AddStep: UInt8, BitwiseCopyable, Sendable {
  case commit, bind, setUp, place, populate, construct, publish

  static var count: UInt8 { 7 }
}

extension Ref where Pointee == Arena {
  /// Adds `count` sections in a row: at place `index`, or at the first places that are free. They are offline then.
  /// Answers the first place.
  ///
  /// EINVAL: no sections, or not whole memory blocks or units of the group; no such group; a memmap that cannot lie there, an altmap that does not fit; E2BIG: outside of the
  /// reservation; EEXIST: a place is taken; ENOSPC: no places left; ENOMEM; EDEADLK; or what a strategy answers.
  package func add(_ request: AddRequest, count: UInt = 1, at index: UInt? = nil) throws(Refusal) -> UInt {
    guard it.capacity != 0, count > 0 else { throw .invalid }
    guard count <= places else { throw .tooBig }
    if request.placement == .required, !it.geometry.canSelfHost { throw .invalid }
    if request.placement == .storage {
      guard request.storage != 0, request.storage.isAligned(to: Page.bytes),
        !request.storage.addingReportingOverflow(request.storageBytes).overflow,
        request.storageBytes / count >= it.geometry.memmapBytes
      else { throw .invalid }
    }
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    let range = try claim(request, count, index, for: transition)
    var place = range.lowerBound
    var step: UInt8 = 0
    do throws(Refusal) {
      while place < range.upperBound {
        let storage = request.storage &+ (place &- range.lowerBound) &* it.geometry.memmapBytes
        while step < AddStep.count, let next = AddStep(rawValue: step) {
          try perform(next, known(place), request, storage)
          step = step &+ 1
        }
        step = 0
        place = place &+ 1
      }
    } catch {
      while true {
        while step > 0 {
          step = step &- 1
          if let last = AddStep(rawValue: step) { undo(last, known(place)) }
        }
        if place == range.lowerBound { break }
        place = place &- 1
        step = AddStep.count
      }
      disclaim(range)
      throw error
    }
    giveBack(range)
    return range.lowerBound
  }

  // MARK: Claiming

  private func claim(
    _ request: AddRequest, _ count: UInt, _ index: UInt?, for transition: Int
  ) throws(Refusal) -> Range<UInt> {
    growth.acquire()
    defer { growth.release() }
    let unit = UInt(it.blockSections)
    guard count % unit == 0, (index ?? 0) % unit == 0 else { throw .invalid }
    var request = request
    var alignment = unit
    if request.group != 0 {
      let group = try checkGroup(request.group, count, at: index)
      request.node = group.it.node
      if request.hook.function == nil { request.hook = group.it.hook }
      if group.it.kind == .dynamic { alignment = group.it.limit }
    }
    var first: UInt
    if let index {
      guard index < places, places &- index >= count else { throw .tooBig }
      for place in index..<(index &+ count) where !isAbsent(place) { throw .exists }
      first = index
    } else {
      guard let found = absentRun(of: count, alignment: alignment) else { throw .noSpace }
      first = found
    }
    let range = first..<(first &+ count)
    // Records stay in the directory for the next try.
    for place in range {
      guard enterRecord(it.reservation &+ place &<< it.geometry.sectionShift) != nil else { throw .noMemory }
    }
    for place in range {
      let section = known(place)
      section.it.base = it.reservation &+ place &<< it.geometry.sectionShift
      section.it.arena = address
      section.it.blocks = UInt16(truncatingIfNeeded: it.geometry.pageblocksPerSection)
      section.it.freeBlocks = section.it.blocks
      section.it.busy = PageMask()
      if it.geometry.pageblocksPerSection < PageMask.capacity {
        section.it.busy.insert(
          it.geometry.pageblocksPerSection, count: PageMask.capacity &- it.geometry.pageblocksPerSection)
      }
      section.it.token = it.transitions[transition]
      section.it.memory.node = request.node
      section.it.memory.group = request.group
      section.it.memory.strategy = request.strategy
      section.it.memory.hook = request.hook
      section.it.memory.set(SectionMemory.spare, request.isSpare)
      if request.isSpare { it.mayHaveSpares = true }
      section.it.memory.set(SectionMemory.early, request.isEarly)
      let hosts =
        request.placement == .required || (request.placement == .preferred && it.geometry.canSelfHost)
      section.it.memory.set(SectionMemory.selfHosted, hosts)
      section.it.memory.placement =
        request.placement == .preferred ? (hosts ? .required : .outside) : request.placement
      if hosts {
        section.it.memory.altmap = Altmap(
          base: (section.it.base &- it.reservation) &>> Page.shift,
          free: it.geometry.memmapBytes &>> Page.shift)
      }
      section.move(to: .offline)
    }
    if let group = group(request.group) { group.it.sections = group.it.sections &+ count }
    return range
  }

  private func disclaim(_ range: Range<UInt>) {
    growth.acquire()
    for place in range { forget(known(place)) }
    growth.release()
  }

  /// The record becomes that of an absent section. Under the growth lock.
  func forget(_ section: SectionRef) {
    let place = index(of: section)
    if section.it.memory.group != 0, let group = group(section.it.memory.group) {
      group.it.sections = group.it.sections &- 1
    }
    section.move(to: .absent)
    clearRecords(section.address)
    it.lowestAbsent = min(it.lowestAbsent, place)
  }

  // MARK: Steps

  private func perform(
    _ step: AddStep, _ section: SectionRef, _ request: AddRequest, _ storage: UInt
  ) throws(Refusal) {
    let platform = it.platform
    switch step {
    case .commit:
      // The whole section with one call.
      try run(.commit, section.it.base, it.geometry.sectionBytes)
      platform.attempt(.noHuge, section.it.base, it.geometry.sectionBytes)
      for index in 0..<it.geometry.pageblocksPerSection {
        let block = section.block(index)
        block.it.section = section.address
        block.it.index = UInt16(truncatingIfNeeded: index)
      }
      section.it.committedBlocks = section.it.blocks
    case .bind:
      try bind(section.it.base, it.geometry.sectionBytes, section.it.memory.node)
    case .setUp:
      guard let setUp = section.it.memory.strategy.setUp else { return }
      try ask(setUp, section)
      section.it.memory.set(SectionMemory.isSetUp)
    case .place:
      try place(section, request, storage)
    case .populate:
      if request.isHuge, it.geometry.memmapBytes >= 2 << 20, section.it.memory.placement != .storage {
        let advised = platform.attempt(.huge, section.it.memmap, it.geometry.memmapBytes)
        section.it.memory.set(SectionMemory.huge, advised)
      }
      if request.isEager || request.placement == .storage || request.isSpare {
        try run(.populate, section.it.memmap, it.geometry.memmapBytes)
        section.it.memory.set(SectionMemory.populated)
      }
    case .construct:
      if let construct = section.it.memory.strategy.construct { try ask(construct, section) }
    case .publish:
      growth.acquire()
      defer { growth.release() }
      // Its zone, too, so that coming online needs no memory.
      guard it.table.prepare(section.it.base, platform: platform),
        makeZone(node: section.it.memory.node) != nil
      else { throw .noMemory }
      section.it.number = it.births
      it.births &+= 1
      it.sections &+= 1
      it.table.set(section.it.base, memmap: section.it.memmap)
    }
  }

  private func undo(_ step: AddStep, _ section: SectionRef) {
    switch step {
    case .commit, .bind:
      // A fresh mapping has no policy either.
      if step == .commit { _ = close(section) }
    case .setUp: tearDown(section)
    case .place: releaseMemmap(section)
    case .populate, .construct: break
    case .publish:
      growth.acquire()
      it.table.set(section.it.base, memmap: 0)
      it.sections &-= 1
      if section.it.number &+ 1 == it.births { it.births &-= 1 }
      growth.release()
    }
  }

  /// Descriptors: where they are to lie.
  private func place(_ section: SectionRef, _ request: AddRequest, _ storage: UInt) throws(Refusal) {
    let bytes = it.geometry.memmapBytes
    switch section.it.memory.placement {
    case .required, .preferred:
      let base = (section.it.base &- it.reservation) &>> Page.shift
      let altmap = section.it.memory.altmap
      let (offset, overflow) = altmap.reserve.addingReportingOverflow(altmap.free)
      guard altmap.base == base, !overflow, offset < it.geometry.sectionPages, altmap.alloc == 0,
        altmap.align == 0,
        offset.isAligned(to: it.geometry.pageblockPages)
      else { throw .invalid }
      guard let first = section.it.memory.altmap.allocate(bytes &>> Page.shift) else { throw .noMemory }
      section.it.memmap = it.reservation &+ first &<< Page.shift
      section.it.memmapBlocks = UInt16(truncatingIfNeeded: offset &>> it.geometry.pageblockOrder)
    case .outside:
      let memmap = try mapMemmap(request.memmapNode >= 0 ? request.memmapNode : section.it.memory.node)
      section.it.memmap = memmap
    case .storage:
      try takeStorage(section, storage)
      bellows_zero(storage, bytes)
    case .reserve:
      growth.acquire()
      defer { growth.release() }
      let memmap = it.spareMemmaps
      guard memmap != 0 else { throw .noMemory }
      it.spareMemmaps = Ref<UInt>(memmap).it
      it.spareMemmapCount = it.spareMemmapCount &- 1
      Ref<UInt>(memmap).it = 0
      section.it.memmap = memmap
    }
  }

  /// Memory of the caller's. EINVAL: it holds other descriptors, or lies in the section that these describe. EFAULT: it cannot be
  /// written. Takes the growth lock; O(sections).
  private func takeStorage(_ section: SectionRef, _ storage: UInt) throws(Refusal) {
    let bytes = it.geometry.memmapBytes
    func meets(_ start: UInt, _ length: UInt) -> Bool {
      storage &- start < length || start &- storage < bytes
    }
    growth.acquire()
    defer { growth.release() }
    var isTaken = meets(section.it.base, it.geometry.sectionBytes)
    forEachRecord { known in
      if known.it.memmap != 0, meets(known.it.memmap, bytes) { isTaken = true }
    }
    if isTaken { throw .invalid }
    if case .failure(let reason) = it.platform.perform(.isWritable, storage, bytes) { throw Refusal(reason) }
    section.it.memmap = storage
  }

  /// Gives the memmap back to where it came from. The altmap's balance is zero then.
  func releaseMemmap(_ section: SectionRef) {
    switch section.it.memory.placement {
    case .required, .preferred:
      let balanced = section.it.memory.altmap.release(it.geometry.memmapBytes &>> Page.shift)
      precondition(balanced && section.it.memory.altmap.isBalanced)
    case .outside: it.platform.attempt(.release, section.it.memmap, it.geometry.memmapBytes)
    case .storage: break
    case .reserve:
      bellows_zero(section.it.memmap, it.geometry.memmapBytes)
      growth.acquire()
      keepMemmap(section.it.memmap)
      growth.release()
    }
    section.it.memmap = 0
    section.it.memmapBlocks = 0
  }

  func tearDown(_ section: SectionRef) {
    guard section.it.memory.has(SectionMemory.isSetUp) || section.it.memory.strategy.setUp == nil else {
      return
    }
    section.it.memory.set(SectionMemory.isSetUp, false)
    guard let ending = section.it.memory.strategy.tearDown else { return }
    let context = section.it.memory.strategy.context
    var plan = plan(section)
    unsafe withUnsafeMutablePointer(to: &plan) {
      ending(context, UInt(bitPattern: UnsafeRawPointer($0)))
    }
  }

  /// Makes a section's addresses what they were before it was added. False, and nothing done: the system refuses.
  func close(_ section: SectionRef) -> Bool {
    if it.platform.attempt(.reset, section.it.base, it.geometry.sectionBytes) { return true }
    // A mapping less is not to be had. Inaccessible and empty is nearly as good.
    guard it.platform.attempt(.protect, section.it.base, it.geometry.sectionBytes) else { return false }
    if it.platform.attempt(.discard, section.it.base, it.geometry.sectionBytes) { return true }
    let accessible = UInt(section.it.committedBlocks) &<< it.geometry.pageblockShift
    it.platform.attempt(.commit, section.it.base, accessible)
    return false
  }

  private func ask(_ step: SectionStrategy.Step, _ section: SectionRef) throws(Refusal) {
    let context = section.it.memory.strategy.context
    var plan = plan(section)
    let answer = unsafe withUnsafeMutablePointer(to: &plan) {
      step(context, UInt(bitPattern: UnsafeRawPointer($0)))
    }
    guard answer == 0 else { throw Refusal(answer < 0 ? 0 &- answer : answer) }
    if section.it.memmap == 0, section.it.memory.has(SectionMemory.selfHosted) {
      section.it.memory.altmap = plan.altmap
    }
  }

  private func plan(_ section: SectionRef) -> SectionPlan {
    SectionPlan(
      arena: address, base: section.it.base, bytes: it.geometry.sectionBytes, memmap: section.it.memmap,
      memmapBytes: it.geometry.memmapBytes, altmap: section.it.memory.altmap,
      node: Int(section.it.memory.node))
  }

  private func run(_ call: SystemCall, _ start: UInt, _ bytes: UInt) throws(Refusal) {
    if case .failure(let number) = it.platform.perform(call, start, bytes) { throw Refusal(number) }
  }

  /// MPOL_BIND; EINVAL where there is no such node.
  func bind(_ start: UInt, _ bytes: UInt, _ node: Int32) throws(Refusal) {
    guard node >= 0 else { return }
    guard node < 64 else { throw .invalid }
    let nodes = (1 as UInt) &<< UInt(truncatingIfNeeded: node)
    if case .failure(let number) = it.platform.perform(.bind, start, bytes, 2, nodes) {
      throw Refusal(number)
    }
  }

  /// Gives a fresh mapping in a section the policy that the section has.
  func rebind(_ section: SectionRef, _ start: UInt, _ bytes: UInt) throws(Refusal) {
    if section.it.memory.has(SectionMemory.prefersNode) || avoided != 0 {
      steer(section.it.memory.node, start, bytes)
    } else {
      try bind(start, bytes, section.it.memory.node)
    }
  }

  // MARK: Memmaps outside

  private func mapMemmap(_ node: Int32) throws(Refusal) -> UInt {
    let bytes = it.geometry.memmapBytes
    // At a multiple of a huge page where it is as large as one.
    let unit = bytes.isAligned(to: 2 << 20) ? 2 << 20 : Page.bytes
    guard let memmap = it.platform.reserve(bytes, alignment: unit) else { throw .noMemory }
    do throws(Refusal) {
      try run(.commit, memmap, bytes)
      try bind(memmap, bytes, node)
    } catch {
      it.platform.attempt(.release, memmap, bytes)
      throw error
    }
    return memmap
  }

  /// Keeps memmaps for `count` more sections in reserve, all of them resident, or none: ENOMEM.
  package func reserveMemmaps(_ count: UInt, node: Int32 = -1) throws(Refusal) {
    // More than there can be sections are of no use.
    guard count <= places else { throw .tooBig }
    var made: UInt = 0
    do throws(Refusal) {
      while made < count {
        let memmap = try mapMemmap(node)
        do throws(Refusal) {
          try run(.populate, memmap, it.geometry.memmapBytes)
        } catch {
          it.platform.attempt(.release, memmap, it.geometry.memmapBytes)
          throw error
        }
        growth.acquire()
        keepMemmap(memmap)
        growth.release()
        made = made &+ 1
      }
    } catch {
      dropSpareMemmaps(made)
      throw error
    }
  }

  /// Gives `count` memmaps in reserve back to the system, or as many as there are.
  package func dropSpareMemmaps(_ count: UInt) {
    growth.acquire()
    defer { growth.release() }
    var left = count
    while left > 0, it.spareMemmaps != 0 {
      let memmap = it.spareMemmaps
      it.spareMemmaps = Ref<UInt>(memmap).it
      it.spareMemmapCount = it.spareMemmapCount &- 1
      it.platform.attempt(.release, memmap, it.geometry.memmapBytes)
      left = left &- 1
    }
  }

  /// Under the growth lock.
  private func keepMemmap(_ memmap: UInt) {
    Ref<UInt>(memmap).it = it.spareMemmaps
    it.spareMemmaps = memmap
    it.spareMemmapCount = it.spareMemmapCount &+ 1
  }
}
