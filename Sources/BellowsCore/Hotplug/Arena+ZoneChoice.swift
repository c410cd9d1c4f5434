// Which zone a section comes online in: the normal one of its node, or the movable one.
//
// By word, or by a rule. Contiguous: the zone of the memory blocks beside it, so that zones stay in one piece. Automatic:
// movable as long as there is no more than a share of movable memory for what is certain to stay normal,
//
//     movable afterwards <= ratio / 100 * early
//
// of the whole arena and of the section's node. Early is what the arena began with: other normal memory may go again. Within a
// dynamic group its own normal memory counts too, for itself alone: what other groups need of the early memory beyond their
// own is taken off, with their movable memory. The parts of a static group, and of a unit of a dynamic one, come online alike.
// (Linux: auto_movable_zone_for_pfn in mm/memory_hotplug.c. There, early is boot memory, of which there is always some; an
// arena may have none, so that what is within a group is enough here.)

import CShims

/// What is asked of a zone when sections come online.
package enum ZoneChoice: Equatable, Sendable {
  /// The zone of the neighbours, where they are in one; else the normal one. (Linux: online, with contig-zones.)
  case contiguous
  /// (Linux: online_kernel.)
  case normal
  /// (Linux: online_movable.)
  case movable
  /// By share: percent of the early memory. 0: never movable. (Linux: auto-movable.)
  case automatic(ratio: UInt32)

  package static var usualRatio: UInt32 { 301 }
}

extension Ref where Pointee == Arena {
  // MARK: Coming and going

  /// The zone that a section is in or was in last.
  package func lastZone(of section: SectionRef) -> ZoneRef {
    zone(node: section.it.memory.node, section.it.memory.has(SectionMemory.movable) ? .movable : .normal)
      ?? it.zone
  }

  /// Counts a section in the zone of its node; nil: no memory for the zone's record. Takes the growth lock.
  func enterZone(_ section: SectionRef, _ kind: ZoneKind) -> ZoneRef? {
    growth.acquire()
    defer { growth.release() }
    guard let zone = makeZone(node: section.it.memory.node, kind) else { return nil }
    join(section, zone)
    return zone
  }

  /// Counts a section in the zone that it was in last. Takes the growth lock.
  func returnToZone(_ section: SectionRef) -> ZoneRef {
    growth.acquire()
    defer { growth.release() }
    let zone = lastZone(of: section)
    join(section, zone)
    return zone
  }

  /// Counts a section, if it is, in its zone no more. Takes the growth lock.
  func leaveZone(_ section: SectionRef) {
    growth.acquire()
    part(section)
    growth.release()
  }

  /// Under the growth lock.
  func join(_ section: SectionRef, _ zone: ZoneRef) {
    section.it.memory.set(SectionMemory.movable, zone.it.kind == .movable)
    section.it.memory.set(SectionMemory.joined)
    count(section, zone, pages: presentPages(section), sections: 1)
  }

  /// Under the growth lock.
  func part(_ section: SectionRef) {
    guard section.it.memory.has(SectionMemory.joined) else { return }
    section.it.memory.set(SectionMemory.joined, false)
    count(section, lastZone(of: section), pages: 0 &- presentPages(section), sections: 0 &- 1)
  }

  private func count(_ section: SectionRef, _ zone: ZoneRef, pages: UInt, sections: UInt) {
    zone.it.joinedPages = zone.it.joinedPages &+ pages
    if section.it.memory.has(SectionMemory.early) { zone.it.earlyPages = zone.it.earlyPages &+ pages }
    guard section.it.memory.group != 0, let group = group(section.it.memory.group) else { return }
    if zone.it.kind == .movable {
      group.it.movableSections = group.it.movableSections &+ sections
    } else {
      group.it.normalSections = group.it.normalSections &+ sections
    }
  }

  private func presentPages(_ section: SectionRef) -> UInt {
    UInt(section.it.blocks) &* it.geometry.pageblockPages
  }

  // MARK: Choosing

  /// The kind of zone for the memory block whose first section is at `first`. Takes the growth lock; O(zones + groups).
  func chooseZone(ofBlock first: UInt, _ choice: ZoneChoice) -> ZoneKind {
    switch choice {
    case .normal: return .normal
    case .movable: return .movable
    case .contiguous:
      growth.acquire()
      defer { growth.release() }
      return neighbours(first)
    case .automatic(let ratio):
      growth.acquire()
      defer { growth.release() }
      return mayMove(first, UInt(ratio)) ? .movable : .normal
    }
  }

  private func neighbours(_ first: UInt) -> ZoneKind {
    let node = known(first).it.memory.node
    let below = first == 0 ? nil : kind(at: first &- 1, node)
    let above = kind(at: first &+ UInt(it.blockSections), node)
    return below != .normal && above != .normal && (below ?? above) == .movable ? .movable : .normal
  }

  /// The kind of zone that the section at a place is in, if it is of a node.
  private func kind(at index: UInt, _ node: Int32) -> ZoneKind? {
    guard let section = section(index: index), section.it.memory.has(SectionMemory.joined),
      section.it.memory.node == node
    else { return nil }
    return section.it.memory.has(SectionMemory.movable) ? .movable : .normal
  }

  private func mayMove(_ first: UInt, _ ratio: UInt) -> Bool {
    guard ratio != 0 else { return false }
    let section = known(first)
    let group = group(section.it.memory.group)
    var sections = UInt(it.blockSections)
    if let group, group.it.kind == .fixed {
      // Once a part of it is normal, all that follows is.
      guard group.it.normalSections == 0 else { return false }
      sections = group.it.limit &- group.it.movableSections
    } else if let group {
      let start = first &- first % group.it.limit
      sections = group.it.limit
      for index in start..<(start &+ group.it.limit) {
        guard let kind = kind(at: index, section.it.memory.node) else { continue }
        guard kind == .movable else { return false }
        sections = sections &- 1
      }
    }
    let pages = sections &* it.geometry.sectionPages
    let node = section.it.memory.node
    return hasRoomToMove(pages, nil, group, ratio) && (node < 0 || hasRoomToMove(pages, node, group, ratio))
  }

  /// Whether so many more movable pages are within the ratio, of a node or of all.
  private func hasRoomToMove(_ pages: UInt, _ node: Int32?, _ own: MemoryGroupRef?, _ ratio: UInt) -> Bool {
    var early: UInt = 0
    var movable = pages
    forEachZone { zone in
      guard node == nil || zone.it.node == node else { return }
      if zone.it.kind == .movable {
        movable = movable &+ zone.it.joinedPages
      } else {
        early = early &+ zone.it.earlyPages
      }
    }
    var needed: UInt = 0
    var place = it.groups
    while place != 0 {
      let group = MemoryGroupRef(place)
      place = group.it.next
      guard group.it.kind == .dynamic, group.address != own?.address, node == nil || group.it.node == node
      else { continue }
      let normal = group.it.normalSections &* it.geometry.sectionPages
      let moving = group.it.movableSections &* it.geometry.sectionPages
      let need = moving &* 100 / ratio
      if need > normal { needed = needed &+ (need &- normal) }
      movable = movable &- moving
    }
    guard early >= needed else { return false }
    early = early &- needed
    if let own, own.it.kind == .dynamic {
      early = early &+ own.it.normalSections &* it.geometry.sectionPages
    }
    return movable <= early &* ratio / 100
  }
}
