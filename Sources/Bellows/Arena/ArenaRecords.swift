// Where the engine's records of one arena lie, and what has to go back when the arena goes.
//
//   one mapping     │ arena │ zone        │ chain, placement │
//                                            │
//   mapped chunks                            └──► │ next, bytes │ metadata ... │ ──► ...

import BellowsCore
import CShims

struct ArenaRecords: Sendable {
  private let base: UInt

  private static var zoneOffset: UInt { 1024 }
  private static var chainOffset: UInt { 4096 }
  private static var placementOffset: UInt { 64 }
  private static var bytes: UInt { 8192 }

  /// Maps room for the records, zero-filled. Nil: no memory.
  init?() {
    precondition(UInt(MemoryLayout<BellowsCore.Arena>.size) <= Self.zoneOffset)
    precondition(UInt(MemoryLayout<BellowsCore.Zone>.size) <= Self.chainOffset - Self.zoneOffset)
    precondition(
      UInt(MemoryLayout<PlacementRecord>.size) <= Self.bytes - Self.chainOffset - Self.placementOffset)
    guard let base = Platform.system.address(.map, 0, Self.bytes) else { return nil }
    self.base = base
  }

  var arena: ArenaRef { ArenaRef(base) }
  var zone: ZoneRef { ZoneRef(base + Self.zoneOffset) }
  private var chain: UInt { base + Self.chainOffset }
  var placement: Ref<PlacementRecord> { Ref<PlacementRecord>(chain + Self.placementOffset) }

  /// The system, with what the engine maps put on the chain, and memory of the arena placed.
  var platform: Platform {
    Platform(context: chain) { chain, call, a, b, c, d in
      call == SystemCall.map.rawValue
        ? MetadataChain(anchor: chain).map(b)
        : Ref<PlacementRecord>(chain + ArenaRecords.placementOffset).it.perform(call, a, b, c, d)
    }
  }

  /// Gives back all that was mapped for the arena, its records last.
  func release() {
    MetadataChain(anchor: chain).release()
    Platform.system.attempt(.release, base, Self.bytes)
  }

  /// Bytes that are mapped for records. Under the arena's growth lock.
  var mappedBytes: UInt {
    var sum = Self.bytes
    MetadataChain(anchor: chain).forEach { sum += $1 }
    return sum
  }

  /// Where the records lie. Under the arena's growth lock.
  var ranges: [AddressRange] {
    var ranges = [AddressRange(start: base, byteCount: .bytes(Int(Self.bytes)))]
    MetadataChain(anchor: chain).forEach {
      ranges.append(AddressRange(start: $0, byteCount: .bytes(Int($1))))
    }
    return ranges
  }
}
