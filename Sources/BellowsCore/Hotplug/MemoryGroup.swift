// Memory groups: sections that belong together, as those of one module of memory or of one device.
//
//   static    has a size, and its sections go together        (Linux: a DIMM)
//   dynamic   comes and goes in units of so many sections     (Linux: virtio-mem)
//
// A group says which node its memory is on, and may have the online hook of its sections. Its record lies in the
// arena's metadata and is used again when the group has gone. Everything is under the growth lock.

import CShims

package struct MemoryGroup: BitwiseCopyable {
  package enum Kind: UInt8, BitwiseCopyable, Sendable {
    /// The record is free.
    case none
    case fixed, dynamic
  }

  package var next: UInt
  package var id: UInt32
  package var kind: Kind
  package var node: Int32
  /// Of a static group the most sections; of a dynamic one the sections of a unit.
  package var limit: UInt
  /// Sections that were added, and of these, sections in normal and in movable zones.
  package var sections: UInt
  package var normalSections: UInt
  package var movableSections: UInt
  package var hook: OnlineHook
}

package typealias MemoryGroupRef = Ref<MemoryGroup>

extension Ref where Pointee == Arena {
  /// Makes a group: its number, from 1.
  ///
  /// `bytes`: of a static group its size, of a dynamic one the unit: a power of two. EINVAL: not whole memory blocks;
  /// a node that cannot be. ENOMEM. Takes the growth lock; O(groups).
  package func makeGroup(
    _ kind: MemoryGroup.Kind, bytes: UInt, node: Int32 = -1, hook: OnlineHook = OnlineHook()
  ) throws(Refusal) -> UInt32 {
    let blockBytes = UInt(it.blockSections) &<< it.geometry.sectionShift
    guard it.capacity != 0, kind != .none, bytes > 0, bytes % blockBytes == 0, node < 64,
      kind == .fixed || bytes.isPowerOfTwo
    else { throw .invalid }
    growth.acquire()
    defer { growth.release() }
    var last: UInt = 0
    var place = it.groups
    while place != 0, MemoryGroupRef(place).it.kind != .none {
      last = place
      place = MemoryGroupRef(place).it.next
    }
    if place == 0 {
      guard let made = it.metadata.allocate(UInt(MemoryLayout<MemoryGroup>.size), platform: it.platform)
      else {
        throw .noMemory
      }
      place = made
      MemoryGroupRef(place).it.id = last == 0 ? 1 : MemoryGroupRef(last).it.id &+ 1
      if last == 0 { it.groups = place } else { MemoryGroupRef(last).it.next = place }
    }
    let group = MemoryGroupRef(place)
    group.it.kind = kind
    group.it.node = node
    group.it.limit = bytes &>> it.geometry.sectionShift
    group.it.sections = 0
    group.it.normalSections = 0
    group.it.movableSections = 0
    group.it.hook = hook
    return group.it.id
  }

  /// Ends a group. EINVAL: there is none; EBUSY: it has sections. Takes the growth lock; O(groups).
  package func endGroup(_ id: UInt32) throws(Refusal) {
    growth.acquire()
    defer { growth.release() }
    guard let group = group(id) else { throw .invalid }
    guard group.it.sections == 0 else { throw .busy }
    group.it.kind = .none
  }

  /// Under the growth lock.
  package func group(_ id: UInt32) -> MemoryGroupRef? {
    var place = it.groups
    while place != 0 {
      let group = MemoryGroupRef(place)
      if group.it.id == id { return group.it.kind == .none ? nil : group }
      place = group.it.next
    }
    return nil
  }

  /// Whether so many more sections may join a group at a place (nil: anywhere). Under the growth lock.
  func checkGroup(_ id: UInt32, _ count: UInt, at index: UInt?) throws(Refusal) -> MemoryGroupRef {
    guard let group = group(id) else { throw .invalid }
    if group.it.kind == .fixed {
      guard count <= group.it.limit &- group.it.sections else { throw .noSpace }
    } else {
      guard count % group.it.limit == 0, (index ?? 0) % group.it.limit == 0 else { throw .invalid }
    }
    return group
  }

  // MARK: All sections of a group

  /// Takes all sections of a group that are online offline and removes all of them: everything or nothing.
  ///
  /// EINVAL: there is no such group; EBUSY: pages are in use, or another transition has one of the sections; EDEADLK;
  /// EINTR; ENOMEM; or the errno of an observer. (Linux: offline_and_remove_memory.)
  package func removeSections(
    ofGroup id: UInt32, _ request: OfflineRequest, _ report: inout OfflineReport,
    _ client: some OfflineClient
  ) throws(Refusal) {
    let transition = try claimTransition()
    defer { releaseTransition(transition) }
    let first = try takeGroup(id)
    if first != 0 {
      let answer = takeOffline(SectionRef(first), request, &report, client)
      guard answer == 0 else {
        giveBackGroup(id)
        throw Refusal(answer)
      }
    }
    var isClosed = true
    forEachSection { section in
      guard section.it.memory.group == id, isClosed else { return }
      isClosed = closeAll(section)
      section.it.memory.set(SectionMemory.isClosed, isClosed)
    }
    if !isClosed { undoGroup(id, first, &report, client) }
    forEachSection { if isClosed, $0.it.memory.group == id { finishRemoval($0) } }
    guard isClosed else {
      giveBackGroup(id)
      throw .noMemory
    }
  }

  private func undoGroup(
    _ id: UInt32, _ first: UInt, _ report: inout OfflineReport, _ client: some OfflineClient
  ) {
    forEachSection { section in
      guard section.it.memory.group == id, section.it.memory.has(SectionMemory.isClosed) else { return }
      section.it.memory.set(SectionMemory.isClosed, false)
      openAll(section)
    }
    var place = first
    while place != 0 {
      let section = SectionRef(place)
      place = section.it.chain
      _ = bringBack(section, &report, client, isUndone: true)
    }
  }

  /// Takes the tokens of all sections of a group, or none, and chains those that are online: the first one, or 0.
  private func takeGroup(_ id: UInt32) throws(Refusal) -> UInt {
    growth.acquire()
    defer { growth.release() }
    guard group(id) != nil else { throw .invalid }
    var isFree = true
    forEachSection { section in
      guard section.it.memory.group == id else { return }
      let state = section.it.state
      if section.it.token != 0 || (state != .offline && state != .online) { isFree = false }
    }
    guard isFree else { throw .busy }
    var head: UInt = 0
    forEachSection { section in
      guard section.it.memory.group == id else { return }
      section.it.token = bellows_thread_id()
      guard section.it.state == .online else { return }
      section.it.chain = head
      head = section.address
    }
    return head
  }

  private func giveBackGroup(_ id: UInt32) {
    growth.acquire()
    forEachSection { if $0.it.memory.group == id { $0.it.token = 0 } }
    growth.release()
  }

  // MARK: Memory blocks and spares

  /// Calls `body` with each section that is neither absent nor a device's, in order of address. A section that another
  /// thread adds or removes meanwhile may be left out, unless the growth lock is held.
  package func forEachSection(_ body: (SectionRef) -> Void) {
    forEachRecord { if $0.it.state != .absent, $0.it.state != .device { body($0) } }
  }

  /// Calls `body` with the context of every hook and strategy that sections and groups have. Takes the growth lock.
  package func forEachContext(_ body: (UInt) -> Void) {
    growth.acquire()
    defer { growth.release() }
    forEachRecord {
      body($0.it.memory.hook.context)
      body($0.it.memory.strategy.context)
    }
    var group = it.groups
    while group != 0 {
      if MemoryGroupRef(group).it.kind != .none { body(MemoryGroupRef(group).it.hook.context) }
      group = MemoryGroupRef(group).it.next
    }
  }

  /// Calls `body` with the record of each place that ever had a section, or is about to.
  func forEachRecord(_ body: (SectionRef) -> Void) {
    var root: UInt = 0
    while root < places {
      if bellows_load(it.directory &+ (root / Arena.leafEntries) &* 8) != 0 {
        for index in root..<min(root &+ Arena.leafEntries, places) {
          if let section = section(index: index) { body(section) }
        }
      }
      root = root &+ Arena.leafEntries
    }
  }

  /// EINVAL where a range is not whole memory blocks.
  func checkBlocks(_ range: Range<UInt>) throws(Refusal) {
    let unit = UInt(it.blockSections)
    guard range.lowerBound % unit == 0, range.upperBound % unit == 0 else { throw .invalid }
  }

  /// Brings the lowest memory block in reserve online: which. ENOSPC: none is; else as `online`.
  package func onlineSpare() throws(Refusal) -> Range<UInt> {
    while true {
      var found = UInt.max
      growth.acquire()
      forEachSection { section in
        if found == .max, section.it.token == 0, section.it.state == .offline,
          section.it.memory.has(SectionMemory.spare)
        {
          found = index(of: section)
        }
      }
      growth.release()
      guard found != .max else { throw .noSpace }
      let first = found &- found % UInt(it.blockSections)
      let range = first..<(first &+ UInt(it.blockSections))
      do throws(Refusal) {
        try online(range)
        return range
      } catch {
        // Somebody else was first: there may be another.
        guard error == .busy || error == .invalid || error == .noDevice,
          section(index: found)?.it.memory.has(SectionMemory.spare) != true
        else { throw error }
      }
    }
  }
}
