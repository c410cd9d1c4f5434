// Where the engine's records of one arena lie, and what has to go back when the arena goes.
//
//   one mapping     │ arena │ zone        │ chain, placement │
//                                            │
//   mapped chunks                            └──► │ next, bytes │ metadata ... │ ──► ...
//
// The engine never gives its metadata back: the process heap has no end. An arena has one, so its system calls
// pass through here, and each mapping that the engine asks for gets a page in front that chains it.

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
        ? ArenaRecords.mapChained(chain, bytes: b)
        : Ref<PlacementRecord>(chain + ArenaRecords.placementOffset).it.perform(call, a, b, c, d)
    }
  }

  /// Gives back all that was mapped for the arena, its records last.
  func release() {
    while case let chunk = Ref<UInt>(chain).it, chunk != 0 {
      let link = Ref<Chunk>(chunk).it
      Ref<UInt>(chain).it = link.next
      Platform.system.attempt(.release, chunk, link.bytes)
    }
    Platform.system.attempt(.release, base, Self.bytes)
  }

  /// Bytes that are mapped for records. Under the arena's growth lock.
  var mappedBytes: UInt {
    var sum = Self.bytes
    var chunk = Ref<UInt>(chain).it
    while chunk != 0 {
      sum += Ref<Chunk>(chunk).it.bytes
      chunk = Ref<Chunk>(chunk).it.next
    }
    return sum
  }

  /// Where the records lie. Under the arena's growth lock.
  var ranges: [AddressRange] {
    var ranges = [AddressRange(start: base, byteCount: .bytes(Int(Self.bytes)))]
    var chunk = Ref<UInt>(chain).it
    while chunk != 0 {
      ranges.append(AddressRange(start: chunk, byteCount: .bytes(Int(Ref<Chunk>(chunk).it.bytes))))
      chunk = Ref<Chunk>(chunk).it.next
    }
    return ranges
  }

  /// What the page in front of a mapping says.
  private struct Chunk: BitwiseCopyable {
    var next: UInt
    var bytes: UInt
  }

  /// An address, or `-errno`. The engine maps metadata under the growth lock only, so the chain needs none.
  private static func mapChained(_ chain: UInt, bytes: UInt) -> Int {
    let length = bytes + Page.bytes
    switch Platform.system.perform(.map, 0, length) {
    case .failure(let error): return -Int(error)
    case .success(let chunk):
      Ref<Chunk>(chunk).it = Chunk(next: Ref<UInt>(chain).it, bytes: length)
      Ref<UInt>(chain).it = chunk
      return Int(bitPattern: chunk + Page.bytes)
    }
  }
}
