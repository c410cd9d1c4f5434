// A cache in Swift that gives memory back when it has lost most of its entries, although those that are left lie
// everywhere: sections go offline, and the entries that are in the way are copied, which moves them.
//
//   LD_PRELOAD=libbellows-malloc.so cooperating-cache [ENTRIES]
//
// Without the library it is an ordinary cache. Examples/cooperating-cache is the same in C.

import Bellows
import Foundation

/// Entries by number; each is an array, a block of the process heap.
struct Cache {
  private(set) var entries: [[UInt8]?]

  init(count: Int) {
    entries = (0..<count).map { Self.content(of: $0) }
  }

  /// Bytes that follow from the number alone, 64 to 1463 of them.
  private static func content(of number: Int) -> [UInt8] {
    [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 31), count: 64 + number &* 7919 % 1400)
  }

  mutating func drop(_ isLeft: (Int) -> Bool) {
    for number in entries.indices where !isLeft(number) { entries[number] = nil }
  }

  /// Copies what lies in sections that are on their way offline; the copies lie elsewhere.
  mutating func moveOut() -> Int {
    var moved = 0
    for number in entries.indices {
      guard let entry = entries[number] else { continue }
      let place = unsafe entry.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
      guard ProcessHeap.shouldMove(place) else { continue }
      entries[number] = unsafe [UInt8](unsafeUninitializedCapacity: entry.count) { bytes, count in
        count = unsafe bytes.initialize(fromContentsOf: entry)
      }
      moved += 1
    }
    return moved
  }

  var liveBytes: Int { entries.reduce(0) { $0 + ($1?.count ?? 0) } }

  var isWhole: Bool {
    entries.indices.allSatisfy { number in entries[number].map { $0 == Self.content(of: number) } ?? true }
  }
}

@main
enum CooperatingCache {
  static func main() throws {
    let count = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 200_000
    var cache = Cache(count: count)
    show("filled", cache)
    cache.drop { $0 % 4 == 0 }
    ProcessHeap.trim()
    show("three quarters dropped", cache)
    guard ProcessHeap.isInstalled, let figures = ProcessHeap.statistics() else {
      return print("bellows is not there: nothing more to be done")
    }

    let all = ByteCount.mebibytes(128 * figures.sections)
    let first = try ProcessHeap.offline(all)
    print("\(figures.sections) sections are to go: \(first.left.rawValue >> 20) MiB are in the way")
    print("\(cache.moveOut()) entries moved")
    let second = try ProcessHeap.offline(.zero, within: .seconds(1))
    ProcessHeap.trim()
    print("sections that went: \(first.sections + second.sections)")
    show("what was in the way has moved", cache)
    print(cache.isWhole ? "no entry was damaged" : "AN ENTRY WAS DAMAGED")
    while (try? ProcessHeap.online(.mebibytes(128))) != nil { continue }
    exit(cache.isWhole ? 0 : 1)
  }

  private static func show(_ what: String, _ cache: Cache) {
    print("\(what): \(cache.liveBytes >> 10) KiB live, \(residentKiB()) KiB resident")
  }

  /// Anonymous resident memory, as the kernel counts it.
  private static func residentKiB() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
