// The balloons of an arena, and sections whose pages somebody gets before the allocator sees them.

import CShims

/// Who gets the pages of a section that comes online: an owner's record, and how to hand it a run.
package enum FreshOwner {
  case balloon(BalloonRef)
  case subBlocks(SubBlocksRef)
}

extension Ref where Pointee == Arena {
  /// Adds a section, or where memory blocks are of several sections a block of them, and brings it online with all of its
  /// pages in the hands of `owner`: present, not managed, and nothing behind them but the descriptors. Answers the first
  /// section. Nil, and nothing changed: the system or the capacity is exhausted. Takes the growth lock, then the owner's.
  package func addSection(for owner: FreshOwner) -> SectionRef? {
    let count = UInt(it.blockSections)
    growth.acquire()
    let added = count > 1 ? addBlock(isWithheld: true) : addSection(isWithheld: true)
    growth.release()
    guard let first = added else { return nil }
    hand(first, to: owner)
    // An arena without a reservation has no blocks.
    if count > 1 {
      let place = index(of: first)
      for index in place &+ 1..<place &+ count { hand(known(index), to: owner) }
    }
    return first
  }

  private func hand(_ section: SectionRef, to owner: FreshOwner) {
    let zone = ZoneRef(section.it.zone)
    let start = section.it.base &+ UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
    let pages = UInt(section.it.blocks &- section.it.memmapBlocks) &* it.geometry.pageblockPages
    zone.mark(section, address: start, pages: pages, as: .offline)
    switch owner {
    case .balloon(let balloon): balloon.keep(start, pages: pages)
    case .subBlocks(let subBlocks): subBlocks.keep(start, pages: pages)
    }
  }

  // MARK: Records

  /// A balloon that holds nothing: a new one, or the record of one that was retired. Records are the arena's, and stay
  /// as long as it does. Nil: no memory for one. Takes the growth lock.
  package func makeBalloon(_ traits: BalloonTraits) -> BalloonRef? {
    growth.acquire()
    defer { growth.release() }
    var next = it.balloons
    while next != 0 {
      let balloon = BalloonRef(next)
      if !balloon.it.isInUse {
        balloon.initialise(arena: self, traits: traits)
        return balloon
      }
      next = balloon.it.next
    }
    guard let memory = it.metadata.allocate(UInt(MemoryLayout<Balloon>.size), platform: it.platform) else {
      return nil
    }
    let balloon = BalloonRef(memory)
    balloon.initialise(arena: self, traits: traits)
    balloon.it.next = it.balloons
    bellows_store_release(address &+ Arena.balloonsOffset, balloon.address)
    return balloon
  }

  /// Ends a balloon: what it holds becomes the allocator's. Takes the balloon's lock, then the growth lock.
  package func retire(_ balloon: BalloonRef) {
    balloon.letGo()
    growth.acquire()
    balloon.it.isInUse = false
    growth.release()
  }

  /// The record of the arena's sub-blocks. Nil: no memory for it. Takes the growth lock the first time.
  package func subBlocks() -> SubBlocksRef? {
    let known = bellows_load_acquire(address &+ Arena.subBlocksOffset)
    if known != 0 { return SubBlocksRef(known) }
    growth.acquire()
    defer { growth.release() }
    if it.subBlocks != 0 { return SubBlocksRef(it.subBlocks) }
    guard let memory = it.metadata.allocate(UInt(MemoryLayout<SubBlocks>.size), platform: it.platform) else {
      return nil
    }
    SubBlocksRef(memory).initialise(arena: self)
    bellows_store_release(address &+ Arena.subBlocksOffset, memory)
    return SubBlocksRef(memory)
  }

  /// Calls `body` with the lock of each balloon and of the sub-blocks: for fork.
  package func forEachOwnerLock(_ body: (Lock) -> Void) {
    var next = bellows_load_acquire(address &+ Arena.balloonsOffset)
    while next != 0 {
      body(BalloonRef(next).lock)
      next = BalloonRef(next).it.next
    }
    let subBlocks = bellows_load_acquire(address &+ Arena.subBlocksOffset)
    if subBlocks != 0 { body(SubBlocksRef(subBlocks).lock) }
  }

  // MARK: Looking

  /// Deflates a balloon for an allocation of `pages` pages. False: none has anything to give.
  package func relieve(_ pages: UInt) -> Bool {
    var next = bellows_load_acquire(address &+ Arena.balloonsOffset)
    while next != 0 {
      let balloon = BalloonRef(next)
      if balloon.relieve(pages) { return true }
      next = balloon.it.next
    }
    return false
  }

  /// Whether the page that holds `address` is withheld from the allocator. Without a lock: exact while nobody
  /// changes it.
  package func isWithheld(_ address: UInt) -> Bool {
    guard let section = section(at: address), section.it.state == .online else { return false }
    return GranuleWord(bellows_load(section.descriptor(of: address).address)).isWithheld
  }
}
