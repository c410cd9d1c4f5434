// What the kernel says of a range of addresses: the other column of every ledger.

import BellowsCore
import CShims
import Glibc

/// Zero-filled memory from the system, given back with the last reference.
final class Memory: Sendable {
  let address: UInt
  let bytes: UInt

  init(_ bytes: UInt) {
    self.bytes = bytes.rounded(upTo: Page.bytes)
    address = Platform.system.address(.map, 0, self.bytes)!
  }

  deinit { Platform.system.attempt(.release, address, bytes) }
}

enum Kernel {
  /// Resident pages of a range, by mincore.
  static func residentPages(_ start: UInt, _ bytes: UInt) -> UInt {
    guard case .success(let pages) = Platform.system.perform(.resident, start, bytes) else { return .max }
    return pages
  }

  /// The mappings that overlap a range: lines of /proc/self/maps.
  static func mappings(_ start: UInt, _ bytes: UInt) throws -> UInt {
    UInt(try ranges("/proc/self/maps", start, bytes) { _ in }.count)
  }

  /// Bytes that smaps counts as Rss in the mappings of a range. Fails where one of them reaches beyond it.
  static func rss(_ start: UInt, _ bytes: UInt) throws -> UInt {
    for _ in 0..<100 {
      if let sum = try rssNow(start, bytes) { return sum }
    }
    return .max
  }

  /// Nil where a neighbour that was merged with the range, another test's, went meanwhile.
  private static func rssNow(_ start: UInt, _ bytes: UInt) throws -> UInt? {
    var sum: UInt = 0
    let found = try ranges("/proc/self/smaps", start, bytes) { line in
      guard line.hasPrefix("Rss:") else { return }
      sum += UInt(line.split(separator: " ")[1])! * 1024
    }
    for range in found where range.lowerBound < start || range.upperBound > start + bytes {
      // A neighbour's inaccessible memory may be merged with ours: nothing of it is resident.
      let below = residentPages(range.lowerBound, max(start, range.lowerBound) - range.lowerBound)
      let end = min(range.upperBound, start + bytes)
      let above = residentPages(end, range.upperBound - end)
      guard below != .max, above != .max, sum >= (below + above) * Page.bytes else { return nil }
      sum -= (below + above) * Page.bytes
    }
    return sum
  }

  /// Bytes of transparent huge pages in the mappings that overlap a range.
  static func hugeBytes(_ start: UInt, _ bytes: UInt) throws -> UInt {
    var sum: UInt = 0
    _ = try ranges("/proc/self/smaps", start, bytes) { line in
      if line.hasPrefix("AnonHugePages:") { sum += UInt(line.split(separator: " ")[1])! * 1024 }
    }
    return sum
  }

  /// Whether the system makes huge pages where a program advises it.
  static func isHugeByAdvice() throws -> Bool {
    !(try contents("/sys/kernel/mm/transparent_hugepage/enabled")).contains("[never]")
  }

  private static func ranges(
    _ path: String, _ start: UInt, _ bytes: UInt, _ body: (Substring) -> Void
  ) throws -> [Range<UInt>] {
    let text = try contents(path)
    var found: [Range<UInt>] = []
    var inside = false
    for line in text.split(separator: "\n") {
      if let range = header(line) {
        inside = range.lowerBound < start + bytes && range.upperBound > start
        if inside { found.append(range) }
      } else if inside {
        body(line)
      }
    }
    return found
  }

  /// A file of /proc, read to its end: each read answers part of it, so a short one means nothing.
  private static func contents(_ path: String) throws -> String {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    try check(descriptor >= 0, "cannot read \(path)")
    defer { close(descriptor) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = unsafe read(descriptor, &chunk, chunk.count), count > 0 {
      text += chunk[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The range of a line such as "7f00-7f10 rw-p ...".
  private static func header(_ line: Substring) -> Range<UInt>? {
    guard let space = line.firstIndex(of: " ") else { return nil }
    let ends = line[..<space].split(separator: "-", maxSplits: 1)
    guard ends.count == 2, let low = UInt(ends[0], radix: 16), let high = UInt(ends[1], radix: 16) else {
      return nil
    }
    return low..<high
  }
}
