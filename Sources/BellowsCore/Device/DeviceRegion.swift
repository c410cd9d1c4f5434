// A region of memory that has an owner and descriptors, and no zone: a file, a file in memory, huge pages, or nothing
// that the processor can reach.
//
//   ┌─────────┬────────┬──────────────────────────────────────────┐
//   │ reserve │ memmap │ units, handed out by the owner           │   the memmap may lie outside
//   └─────────┴────────┴──────────────────────────────────────────┘
//   base                first unit
//
// The allocator never sees a page of it. A unit (a page, or 2 MiB of huge pages) is counted by references; when the
// last one goes, its owner is called, with no lock held. Linux: dev_pagemap and ZONE_DEVICE.
//
// Lives in the section record of its first section, behind the header, where other sections keep the records of their
// pageblocks; so it costs nothing, and is gone with the section. References and uses are atomic; the rest is constant
// once the region has been added.

import CShims

/// Who answers for the units of a region: a C function and its context.
package struct DeviceOwner: BitwiseCopyable, Sendable {
  /// `(context, address, bytes)`: the last reference to a unit has gone. Called in the thread that dropped it,
  /// with no lock held. It must not wait for the region's removal, which waits for it.
  package typealias Freed = @convention(c) (UInt, UInt, UInt) -> Void
  package var context: UInt
  package var freed: Freed?
  package init(context: UInt, freed: Freed?) {
    self.context = context
    self.freed = freed
  }
}

/// What kind of memory it is.
package enum DeviceKind: UInt8, BitwiseCopyable, Sendable {
  /// Descriptors only: the addresses stay inaccessible. For what another processor has.
  case unmapped
  /// A unit has no reference until its owner hands it out.
  case counted
  /// The region itself holds one reference to each unit, which the owner is never told of.
  case held

  /// References of a unit that nobody uses.
  package var baseReferences: UInt { self == .held ? 1 : 0 }
}

package struct DeviceRegion: BitwiseCopyable {
  /// Atomic: units in use, and whether the region is being removed. The first word, which removal waits on.
  package var uses: UInt
  package var arena: UInt
  package var base: UInt
  package var bytes: UInt
  /// Sections that it takes.
  package var sections: UInt
  package var memmap: UInt
  /// Bytes at the start that are no units: the owner's reserve, and the memmap where it lies inside.
  package var headBytes: UInt
  package var reserveBytes: UInt
  package var unitShift: UInt
  package var kind: DeviceKind
  package var isMemmapInside: Bool
  package var owner: DeviceOwner
  /// Atomic: descriptors that have been set up.
  package var initialisedPages: UInt

  /// In `uses`: no unit is handed out any more.
  package static var leaving: UInt { 1 &<< 31 }
}

package typealias DeviceRef = Ref<DeviceRegion>

extension Ref where Pointee == DeviceRegion {
  /// Units that somebody has a reference to.
  package var usedUnits: UInt { bellows_load_acquire(address) & (DeviceRegion.leaving &- 1) }
  package var unitBytes: UInt { 1 &<< it.unitShift }
  /// The first unit.
  package var firstUnit: UInt { it.base &+ it.headBytes }
  package var units: UInt { (it.bytes &- it.headBytes) &>> it.unitShift }

  package func contains(_ address: UInt) -> Bool { address &- it.base < it.bytes }

  /// The descriptor of the page that holds `address`.
  package func descriptor(of address: UInt) -> PageDescriptorRef {
    PageDescriptorRef(it.memmap &+ ((address &- it.base) &>> Page.shift) &* Page.descriptorBytes)
  }

  // MARK: References

  /// Takes the first reference to the unit at `unit`. EINVAL: no unit starts there. EBUSY: somebody has it. ENXIO: the
  /// region is being removed.
  package func acquire(_ unit: UInt) throws(Refusal) {
    guard isUnit(unit) else { throw .invalid }
    while true {
      let uses = bellows_load_acquire(address)
      guard uses & DeviceRegion.leaving == 0 else { throw .noDevice }
      if bellows_compare_exchange(address, uses, uses &+ 1) { break }
    }
    let base = it.kind.baseReferences
    guard descriptor(of: unit).replaceReferences(base, with: base &+ 1) else {
      endUse()
      throw .busy
    }
  }

  /// One reference more to a unit that is in use. EINVAL where it is not.
  package func retain(_ unit: UInt) throws(Refusal) {
    guard isUnit(unit) else { throw .invalid }
    let page = descriptor(of: unit)
    while true {
      let references = page.references
      guard references > it.kind.baseReferences else { throw .invalid }
      if page.replaceReferences(references, with: references &+ 1) { return }
    }
  }

  /// One reference less; with the last one the owner is called. EINVAL where the unit is not in use.
  package func release(_ unit: UInt) throws(Refusal) {
    guard isUnit(unit) else { throw .invalid }
    let page = descriptor(of: unit)
    let base = it.kind.baseReferences
    while true {
      let references = page.references
      guard references > base else { throw .invalid }
      guard page.replaceReferences(references, with: references &- 1) else { continue }
      if references &- 1 == base {
        if let freed = it.owner.freed { freed(it.owner.context, unit, unitBytes) }
        endUse()
      }
      return
    }
  }

  private func isUnit(_ unit: UInt) -> Bool {
    unit >= firstUnit && unit &- firstUnit < units &<< it.unitShift && unit.isAligned(to: unitBytes)
  }

  /// A unit is no longer in use: the last thing that is done to the region on its behalf.
  private func endUse() {
    // All of it in one word: once the count is 0, whoever removes the region may go on, and its record may go.
    while true {
      let uses = bellows_load_acquire(address)
      guard bellows_compare_exchange(address, uses, uses &- 1) else { continue }
      if uses == DeviceRegion.leaving &+ 1 { bellows_futex_wake(address) }
      return
    }
  }

  // MARK: Leaving

  /// Waits until no unit is in use; from then on none is handed out. EBUSY where units are still in use after
  /// `milliseconds`, or another thread is at it: everything is as it was.
  func close(within milliseconds: UInt64) throws(Refusal) {
    while true {
      let uses = bellows_load_acquire(address)
      guard uses & DeviceRegion.leaving == 0 else { throw .busy }
      if bellows_compare_exchange(address, uses, uses | DeviceRegion.leaving) { break }
    }
    let start = bellows_clock_milliseconds()
    while true {
      let uses = bellows_load_acquire(address)
      if uses == DeviceRegion.leaving { return }
      let waited = bellows_clock_milliseconds() &- start
      guard waited < milliseconds else { break }
      bellows_futex_wait_for(address, UInt32(truncatingIfNeeded: uses), milliseconds &- waited)
    }
    reopen()
    throw .busy
  }

  func reopen() {
    while true {
      let uses = bellows_load_acquire(address)
      if bellows_compare_exchange(address, uses, uses & ~DeviceRegion.leaving) { return }
    }
  }
}
