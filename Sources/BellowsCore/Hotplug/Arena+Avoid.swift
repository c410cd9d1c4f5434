// Nodes that an arena keeps off: one that is drained, until its memory is brought home.
//
//   a thread on such a node      has memory of the nearest node that serves (`serves`)
//   its zone                     is the last that pages are taken from (`nearest`)
//   every mapping                prefers the nodes that serve, of these the nearest to who touches a page first
//
// That the whole arena has one policy then, sections of other nodes too, keeps what a full node cannot take off the avoided ones, and
// keeps mappings few. Nothing is ever bound: where all other nodes are full, the kernel takes memory of an avoided one sooner than
// it ends the process. While no node is avoided all of this costs a load where a mapping is made.

import CShims

extension Ref where Pointee == Arena {
  /// The nodes that memory is kept off, as bits.
  package var avoided: UInt64 { UInt64(bellows_load(address &+ Arena.avoidedOffset)) }

  /// The nodes that serve while others are avoided; 0: none is.
  var serving: UInt64 { UInt64(bellows_load(address &+ Arena.servingOffset)) }

  func avoids(_ node: Int32) -> Bool {
    node >= 0 && node < 64 && avoided &>> UInt64(truncatingIfNeeded: node) & 1 != 0
  }

  /// The node that serves threads on `node`: itself, or where that is avoided, the nearest other one.
  func serves(_ node: Int32) -> Int32 {
    guard _slowPath(avoids(node)) else { return node }
    let serving = serving
    let grown = serving & growthNodes
    let own = zone(node: node)
    var best = Arena.unboundNode
    var least = UInt.max
    for other in 0..<64 as Range<Int32>
    where (grown != 0 ? grown : serving) &>> UInt64(truncatingIfNeeded: other) & 1 != 0 {
      let distance = own?.distance(to: other) ?? 20
      if distance < least {
        least = distance
        best = other
      }
    }
    return best
  }

  /// Gives a fresh mapping for memory of `node`, or of none in particular below 0, its policy. False: the system knows no
  /// such node.
  @discardableResult
  func steer(_ node: Int32, _ start: UInt, _ bytes: UInt) -> Bool {
    let serving = serving
    if _slowPath(serving != 0) { return it.platform.prefer(among: serving, start, bytes) }
    return node < 0 || it.platform.prefer(node, start, bytes)
  }

  /// Keeps memory off `nodes` from now on, with `serving` instead; none: each section is of its node again. What is there
  /// stays where it is. Takes the growth lock, during the system calls too: one or two for each section.
  func avoid(_ nodes: UInt64, serving: UInt64) {
    growth.acquire()
    defer { growth.release() }
    bellows_store(address &+ Arena.servingOffset, nodes == 0 ? 0 : UInt(serving))
    bellows_store(address &+ Arena.avoidedOffset, UInt(nodes))
    forEachZone { bellows_store($0.address &+ Zone.servingOffset, nodes == 0 ? 0 : UInt(serving)) }
    it.metadata.nodes = nodes == 0 ? 0 : serving
    forEachRecordMapping { steerAgain(Arena.anyNode, $0, $1) }
    forEachOwnSection { section in
      let node = section.it.memory.has(SectionMemory.prefersNode) ? section.it.memory.node : Arena.anyNode
      steerAgain(node, section.it.base, UInt(section.it.blocks) &<< it.geometry.pageblockShift)
      if section.it.memory.placement == .outside {
        steerAgain(node, section.it.memmap, it.geometry.memmapBytes)
      }
    }
  }

  /// Gives a mapping that may have had another policy the one of this moment.
  func steerAgain(_ node: Int32, _ start: UInt, _ bytes: UInt) {
    if node < 0, serving == 0 { it.platform.preferNothing(start, bytes) } else { steer(node, start, bytes) }
  }

  // MARK: What is there

  /// Calls `body` with the start and the length of each mapping of the arena's records. Under the growth lock.
  func forEachRecordMapping(_ body: (UInt, UInt) -> Void) {
    let table = it.table.entries
    body(table.start, table.bytes)
    var next = it.metadata.newest
    while next != 0 {
      let link = Ref<Metadata.Link>(next).it
      body(link.start, link.bytes)
      next = link.next
    }
  }

  /// Calls `body` with each section that has memory of its own, by address. Under the growth lock.
  private func forEachOwnSection(_ body: (SectionRef) -> Void) {
    var place = it.table.origin
    while let section = nextSection(from: place) {
      body(section)
      place = section.it.base &+ it.geometry.sectionBytes
    }
  }

  /// The first section at `place` or behind it that has memory of its own: one that is neither absent nor a device's. Under the
  /// growth lock. O(places that were ever used).
  func nextSection(from place: UInt) -> SectionRef? {
    var index = (place &- it.table.origin) &>> it.geometry.sectionShift
    while index < it.table.limit {
      let leaf = bellows_load_acquire(it.directory &+ (index / Arena.leafEntries) &* 8)
      guard leaf != 0 else {
        index = (index / Arena.leafEntries &+ 1) &* Arena.leafEntries
        continue
      }
      let record = bellows_load_acquire(leaf &+ (index % Arena.leafEntries) &* 8)
      if record != 0 {
        switch SectionState(rawValue: bellows_load8(record &+ Section.stateOffset)) {
        case .offline, .goingOnline, .online, .goingOffline: return SectionRef(record)
        case .absent, .device, nil: break
        }
      }
      index = index &+ 1
    }
    return nil
  }
}
