// A pool of large pages: whole pageblocks that an online hook claimed before the allocator saw them.
//
// It is a balloon of pageblocks that hands its units out itself, as huge pages: transparent ones, or of the kernel's
// reserve. What is handed out stays offline to the allocator, with the pool as its owner.
//
//     held ──take──► handed out ──give──► held ──deflate──► the allocator's
//
// In the owner word of a unit's first descriptor, bit 0 says that it is handed out. The balloon's lock.

import CShims

extension Ref where Pointee == Balloon {
  private var handedOut: UInt { address | 1 }

  private func owner(_ unit: UInt) -> Ref<UInt> {
    Ref<UInt>(it.arena.knownSection(at: unit).descriptor(of: unit).address &+ 8)
  }

  /// Takes one unit out of the pool: its address. It is resident and writable, all zero, and one huge page if the system
  /// had one (of its reserve: else ENOMEM). ENOSPC: the pool is empty. Takes the balloon's lock.
  package func takeUnit(reserved: Bool) throws(Refusal) -> UInt {
    lock.acquire()
    defer { lock.release() }
    guard let run = front(it.traits.unitPages) else { throw .noSpace }
    let section = it.arena.knownSection(at: run.address)
    if reserved {
      try bindReserved(section, run)
    } else if !bind(section, run) {
      throw .noMemory
    }
    it.held.remove(it.arena, run.address, pages: run.pages)
    owner(run.address).it = handedOut
    return run.address
  }

  /// Puts a unit back, and drops the memory behind it. EINVAL: it is not one that was taken. ENOMEM: the system
  /// refuses, and the unit stays with its taker. Takes the balloon's lock.
  package func giveUnit(_ unit: UInt, reserved: Bool) throws(Refusal) {
    guard unit.isAligned(to: it.traits.unitPages &<< Page.shift), let section = it.arena.section(at: unit),
      section.it.state == .online
    else { throw .invalid }
    lock.acquire()
    defer { lock.release() }
    guard GranuleWord(bellows_load(section.descriptor(of: unit).address)) == .offline,
      owner(unit).it == handedOut
    else { throw .invalid }
    let platform = it.arena.it.platform
    let bytes = it.traits.unitPages &<< Page.shift
    if reserved {
      // Memory of this kind cannot go while its mapping stays.
      try mapOrdinary(section, unit, bytes)
    } else if !platform.attempt(.discard, unit, bytes) {
      throw .noMemory
    }
    it.held.insert(it.arena, unit, pages: it.traits.unitPages, owner: address, atFront: true)
  }

  /// Pages of the kernel's reserve in place of what is mapped. Where there is none, the mapping is as it was.
  private func bindReserved(_ section: SectionRef, _ run: PageRun) throws(Refusal) {
    let platform = it.arena.it.platform
    guard ZoneRef(section.it.zone).makeAccessible(section, address: run.address, pages: run.pages) else {
      throw .noMemory
    }
    guard platform.attempt(.mapHuge, run.address, run.bytes) else { throw .noMemory }
    do throws(Refusal) {
      // A fresh mapping: it gets its node before its page is touched.
      try it.arena.rebind(section, run.address, run.bytes)
      if platform.attempt(.populate, run.address, run.bytes) { return }
    } catch {}
    try? mapOrdinary(section, run.address, run.bytes)
    throw .noMemory
  }

  /// Ordinary pages in place of what is mapped, of the section's node.
  private func mapOrdinary(_ section: SectionRef, _ start: UInt, _ bytes: UInt) throws(Refusal) {
    let platform = it.arena.it.platform
    guard platform.attempt(.reset, start, bytes) else { throw .noMemory }
    try? it.arena.rebind(section, start, bytes)
    guard platform.open(start, bytes) else { throw .noMemory }
  }
}
