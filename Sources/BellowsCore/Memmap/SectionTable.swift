// From an address to its granule's descriptor, in one load.
//
//   base ─► ┌──────────────┐  a null memmap: zeros, as long as a section's memmap
//           │ 0 0 0 0 ...  │
//           ├──────────────┤
//           │ entry 0      │  memmap of section 0, as a distance from base; 0: no section there
//           │ entry 1      │
//           │ ...          │
//           └──────────────┘
//
// An address without a section finds entry 0, which leads to the null memmap, whose words say "nothing":
// foreign pointers and NULL cost the hit path no test. The table is reserved read-only (zero pages; not
// charged, not in VmData), and the pages of entries in use are made writable.

import CShims

package struct SectionTable: BitwiseCopyable, Sendable {
  /// The table's own address: the null memmap's.
  package private(set) var base: UInt
  /// The number of entries.
  package private(set) var limit: UInt
  /// The address that entry 0 is for.
  package private(set) var origin: UInt
  package private(set) var sectionShift: UInt

  private var nullBytes: UInt { (1 &<< (sectionShift &- Page.shift)) &* Page.descriptorBytes }

  /// A table for `limit` sections from `origin`, or nil where the system gives no address space.
  package init?(origin: UInt, limit: UInt, geometry: Geometry, platform: Platform) {
    let bytes = geometry.memmapBytes &+ (limit &* 8).rounded(upTo: Page.bytes)
    guard let base = platform.address(.reserve, 0, bytes) else { return nil }
    guard platform.attempt(.readOnly, base, bytes) else {
      platform.attempt(.release, base, bytes)
      return nil
    }
    self.base = base
    self.limit = limit
    self.origin = origin
    self.sectionShift = geometry.sectionShift
  }

  package func release(platform: Platform) {
    platform.attempt(.release, base, nullBytes &+ (limit &* 8).rounded(upTo: Page.bytes))
  }

  /// Where the entries lie. Pages of those in use alone are resident.
  package var entries: (start: UInt, bytes: UInt) {
    (base &+ nullBytes, (limit &* 8).rounded(upTo: Page.bytes))
  }

  /// Makes the entry of the section at `address` writable. False where the system refuses.
  package func prepare(_ address: UInt, platform: Platform) -> Bool {
    platform.attempt(.commit, entry(address).address.rounded(downTo: Page.bytes), Page.bytes)
  }

  /// Enters the section at `address`, whose memmap starts at `memmap`; 0 takes it out. Call `prepare` first.
  package func set(_ address: UInt, memmap: UInt) {
    bellows_store_release(entry(address).address, memmap == 0 ? 0 : memmap &- base)
  }

  private func entry(_ address: UInt) -> Ref<UInt> {
    Ref(base &+ nullBytes &+ ((address &- origin) &>> sectionShift) &* 8)
  }

  /// The address of the descriptor of the granule that holds `address`; of a null descriptor where no
  /// section is.
  package func granule(of address: UInt) -> UInt {
    guard (address &- origin) &>> sectionShift < limit else { return base }
    let offset = (address &- origin) & ((1 &<< sectionShift) &- 1)
    return base &+ bellows_load_acquire(entry(address).address)
      &+ ((offset &>> Page.granuleShift) &<< (Page.granuleShift &- Page.shift &+ 6))
  }

  /// Whether a section with a memmap is at `address`.
  package func covers(_ address: UInt) -> Bool {
    (address &- origin) &>> sectionShift < limit && bellows_load_acquire(entry(address).address) != 0
  }
}
