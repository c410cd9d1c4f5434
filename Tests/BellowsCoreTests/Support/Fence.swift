// Address space for one arena, with a page on either side that the kernel merges with nothing.
//
// Arenas of tests that run at the same time lie side by side. Where both are inaccessible at the border the kernel makes
// one mapping of them, which then carries what the neighbour's pages left in it, and does not become one with other
// mappings of this arena again: a count of mappings would depend on what another test does.

import BellowsCore
import CShims
import Glibc

final class Fence: Sendable {
  private let region: Range<UInt>
  private let inside: Range<UInt>
  /// Where the arena is to lie, until it was told; then 0. And how long it is to be.
  private let place = Memory(16)

  /// Nil where the system has no such room.
  init?(_ bytes: UInt, alignment: UInt) {
    let total = (bytes + 2 * Page.bytes).addingReportingOverflow(alignment)
    guard !total.overflow, let base = Platform.system.address(.reserve, 0, total.partialValue) else {
      return nil
    }
    region = base..<(base + total.partialValue)
    let start = (base + Page.bytes).rounded(upTo: alignment)
    inside = start..<(start + bytes)
    for page in [start - Page.bytes, start + bytes] {
      let pointer = unsafe UnsafeMutableRawPointer(bitPattern: page)
      _ = unsafe mmap(pointer, Int(Page.bytes), PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
    }
    bellows_store(place.address + 8, bytes)
    bellows_store_release(place.address, start)
  }

  deinit {
    // In pieces: what the arena had is others' since it was given back.
    release(region.lowerBound..<inside.lowerBound)
    release(inside.upperBound..<region.upperBound)
    if bellows_load_acquire(place.address) != 0 { release(inside) }
  }

  private func release(_ range: Range<UInt>) {
    Platform.system.attempt(.release, range.lowerBound, UInt(range.count))
  }

  /// The answer to a reservation of so many bytes, the first time.
  func take(_ bytes: UInt) -> UInt? { Self.take(bytes, place.address) }

  private static func take(_ bytes: UInt, _ place: UInt) -> UInt? {
    guard bytes == bellows_load(place + 8), case let start = bellows_exchange(place, 0), start != 0 else {
      return nil
    }
    return start
  }

  /// The system, where the arena's reservation is inside. For arenas that do not outlive the fence.
  var platform: Platform {
    Platform(context: place.address) { place, call, a, b, c, d in
      if call == SystemCall.reserve.rawValue, a == 0, let start = Fence.take(b, place) { return Int(start) }
      return bellows_system(0, call, a, b, c, d)
    }
  }
}
