// A zone: the page allocator of one kind of memory on one node.
//
// Runs up to 64 KiB lie within one pageblock, longer ones in the lowest hole of a section that is long enough
// (GranuleMap.swift).
//
// A section knows which of its pageblocks are wholly free. A pageblock that is partly used stands on one of the zone's
// lists: by the order of its largest free block, and within that by fullness.
//
//   lists   order 0: [fullest] [ ] [ ] [emptiest]
//           order 1: [fullest] [ ] [ ] [emptiest]
//           ...
//           and the same for pageblocks of the other migrate type
//
// A short request of order k takes the first list at or after order k, found in one bit scan of `occupied`: the
// pageblock whose largest free block is the smallest that does, and of those the fullest. (The rule is that
// of tcmalloc's huge page filler: "Beyond malloc efficiency to fleet efficiency", OSDI 2021.) Live memory stays dense, and the
// emptiest pageblocks of the youngest sections drain by themselves.
//
// One lock. Allocation and free are bit scans and mask operations; no list is walked but that of the sections.

import CShims

/// What may live in a zone.
package enum ZoneKind: UInt8, BitwiseCopyable, Sendable {
  /// Anything.
  case normal
  /// Only what can move: so that its sections can go offline. (Linux: ZONE_MOVABLE.)
  case movable
}

package struct Zone: BitwiseCopyable {
  package var lockWord: UInt
  /// The next of the arena's zones, in the order in which they came (Arena+Zones.swift). Set once, atomically.
  package var next: UInt
  /// Nodes that memory comes from while others are kept off, as bits; 0: as each section says. Atomic (Arena+Avoid.swift).
  package var serving: UInt
  /// 1: more is dirty than `surplusLimit`. Atomic (Zone+Surplus.swift).
  package var hasSurplus: UInt
  package var platform: Platform
  package var geometry: Geometry

  /// Sections in order of number.
  package var firstSection: UInt
  package var lastSection: UInt
  /// No section before this one has a free pageblock.
  package var firstFreeSection: UInt

  /// Per migrate type (unmovable, movable). Bit l: list l of the type has a pageblock.
  package var occupied: InlineArray<2, UInt64>
  package var heads: InlineArray<80, UInt>

  /// Pageblocks with dirty pages, the longest dirty first.
  package var purgeHead: UInt
  package var purgeTail: UInt

  // Counters in pages.
  package var presentPages: UInt
  /// Pages that the allocator has to give: present without the memmap and what is withheld.
  package var managedPages: UInt
  /// Present pages that somebody else keeps from the allocator: balloons, and sub-blocks that are unplugged.
  package var withheldPages: UInt
  package var usedPages: UInt
  /// Free pages that may be resident.
  package var dirtyPages: UInt
  /// Free pages of caged pageblocks: out of circulation.
  package var cagedPages: UInt
  /// Pages returned to the system since the start.
  package var returnedPages: UInt
  /// Calls that returned them.
  package var returnCalls: UInt

  // When who frees is to give back (Zone+Surplus.swift).

  /// So many dirty pages are too many.
  package var surplusLimit: UInt
  /// Pages handed out since the start, and what it was at the last look.
  package var takenPages: UInt
  package var takenAtLook: UInt
  /// When the limit was last raised, in milliseconds.
  package var surplusTime: UInt64

  // Under the growth lock, in pages (Arena+ZoneChoice.swift).

  /// Of sections that are online here or on their way, all of them.
  package var joinedPages: UInt
  /// Of these, what the arena began with.
  package var earlyPages: UInt

  // Written when the zone is made, then constant.

  /// The node whose memory it is; -1: of no node in particular, each page lies where it was touched first.
  package var node: Int32
  /// Place in that order.
  package var number: UInt16
  package var kind: ZoneKind
  /// Distances from its node, as the firmware says them: 10 is the node itself. Of nodes 0 to 63.
  package var distances: InlineArray<64, UInt8>

  package static var nextOffset: UInt { 8 }
  package static var servingOffset: UInt { 16 }
  /// Runs up to this length (64 KiB) lie at multiples of a power of two within one pageblock, as in a buddy allocator;
  /// longer ones in the lowest hole of a section that is long enough.
  package static var mostAlignedPages: UInt { 16 }
  package static var listsPerOrder: UInt { 4 }
  package static var listsPerType: Int { 40 }
}

package typealias ZoneRef = Ref<Zone>

extension Ref where Pointee == Zone {
  package var lock: Lock { Lock(address, .zone) }

  /// Sets up a zone in zero-filled memory.
  package func initialise(
    geometry: Geometry, platform: Platform, node: Int32 = -1, kind: ZoneKind = .normal, number: UInt16 = 0
  ) {
    it.geometry = geometry
    it.platform = platform
    it.node = node
    it.number = number
    it.kind = kind
    it.surplusLimit = Zone.leastSurplus
  }

  /// Free pages that can be allocated.
  package var memmapPages: UInt { it.presentPages &- it.managedPages &- it.withheldPages }
  package var freePages: UInt { it.managedPages &- it.usedPages &- it.cagedPages }

  /// Pages of a pageblock.
  @inline(__always) package var blockPages: UInt { it.geometry.pageblockPages }

  // MARK: Distances

  /// How far the memory of another node is from this zone's. What is of no node in particular is nearer than another node: it
  /// comes from here where it is touched first.
  package func distance(to node: Int32) -> UInt {
    guard it.node >= 0, node >= 0, node < 64 else { return 11 }
    let known = it.distances[Int(node)]
    return known != 0 ? UInt(known) : it.node == node ? 10 : 20
  }

  /// Asks the system.
  func learnDistances() { it.distances = it.platform.distances(of: it.node) }

  package func address(of block: PageblockRef) -> UInt {
    SectionRef(block.it.section).it.base &+ UInt(block.it.index) &<< it.geometry.pageblockShift
  }

  /// The map of a section's granules.
  @inline(__always)
  package func map(_ section: SectionRef) -> GranuleMap {
    section.map(granules: it.geometry.granulesPerSection)
  }

  // MARK: Where a pageblock stands

  /// Puts `block` where its content belongs. Call it after every change; costs one scan of its mask.
  package func settle(_ block: PageblockRef) {
    let isolated = block.has(Pageblock.isolated | Pageblock.caged)
    countFree(block, !isolated && block.it.usedPages == 0)
    var list: UInt8 = 0
    let isPartial = block.it.usedPages != 0 && UInt(block.it.usedPages) != blockPages
    if !isolated, isPartial, let order = block.it.used.largestFreeOrder {
      let free = blockPages &- UInt(block.it.usedPages)
      let fullness = ((free &- 1) &* Zone.listsPerOrder) &>> it.geometry.pageblockOrder
      let type: UInt = block.has(Pageblock.movable) ? UInt(Zone.listsPerType) : 0
      list = UInt8(truncatingIfNeeded: type &+ order &* Zone.listsPerOrder &+ fullness &+ 1)
    }
    if list != block.it.list {
      if block.it.list != 0 { unlink(block) }
      if list != 0 { link(block, list) }
    }
  }

  /// The same after a change of all its pages at once: before and after it is on no list.
  @inline(__always)
  func settleWhole(_ block: PageblockRef) {
    countFree(block, !block.has(Pageblock.isolated | Pageblock.caged) && block.it.usedPages == 0)
  }

  /// Tells the section whether `block` is one of its free pageblocks.
  @inline(__always)
  private func countFree(_ block: PageblockRef, _ free: Bool) {
    guard free == block.has(Pageblock.countedBusy) else { return }
    let section = SectionRef(block.it.section)
    if free {
      block.clear(Pageblock.countedBusy)
      section.it.busy.remove(UInt(block.it.index))
      section.it.freeBlocks &+= 1
      let first = it.firstFreeSection
      if first == 0 || SectionRef(first).it.number > section.it.number {
        it.firstFreeSection = section.address
      }
    } else {
      block.set(Pageblock.countedBusy)
      if block.it.usedPages != 0 { section.it.needsFresh = true }
      section.it.busy.insert(UInt(block.it.index))
      section.it.freeBlocks &-= 1
    }
  }

  private func link(_ block: PageblockRef, _ list: UInt8) {
    let place = Int(list &- 1)
    let head = unsafe it.heads[unchecked: place]
    block.it.list = list
    // Lower sections to the front: of equals, the one that should stay in use.
    if head != 0, isBefore(Ref<Pageblock>(head), block) {
      let first = Ref<Pageblock>(head)
      block.it.previous = head
      block.it.next = first.it.next
      if first.it.next != 0 { Ref<Pageblock>(first.it.next).it.previous = block.address }
      first.it.next = block.address
    } else {
      block.it.previous = 0
      block.it.next = head
      if head != 0 { Ref<Pageblock>(head).it.previous = block.address }
      unsafe it.heads[unchecked: place] = block.address
    }
    it.occupied[place / Zone.listsPerType] |= 1 &<< UInt64(truncatingIfNeeded: place % Zone.listsPerType)
  }

  private func unlink(_ block: PageblockRef) {
    let place = Int(block.it.list &- 1)
    if block.it.next != 0 { Ref<Pageblock>(block.it.next).it.previous = block.it.previous }
    if block.it.previous != 0 {
      Ref<Pageblock>(block.it.previous).it.next = block.it.next
    } else {
      unsafe it.heads[unchecked: place] = block.it.next
      if block.it.next == 0 {
        it.occupied[place / Zone.listsPerType] &=
          ~(1 &<< UInt64(truncatingIfNeeded: place % Zone.listsPerType))
      }
    }
    block.it.list = 0
  }

  private func isBefore(_ a: PageblockRef, _ b: PageblockRef) -> Bool {
    let first = SectionRef(a.it.section).it.number
    let second = SectionRef(b.it.section).it.number
    return first != second ? first < second : a.it.index < b.it.index
  }

  /// Calls `body` with each pageblock that the run touches and the pages of it: block, first page, count.
  @inline(__always)
  package func forEachBlock(
    _ section: SectionRef, _ address: UInt, _ pages: UInt, _ body: (PageblockRef, UInt, UInt) -> Void
  ) {
    let order = it.geometry.pageblockOrder
    let blockPages = blockPages
    var page = (address &- section.it.base) &>> Page.shift
    var left = pages
    while left > 0 {
      let index = page &>> order
      let first = page & (blockPages &- 1)
      let room = blockPages &- first
      let count = left < room ? left : room
      body(section.block(index), first, count)
      page = page &+ count
      left = left &- count
    }
  }
}
