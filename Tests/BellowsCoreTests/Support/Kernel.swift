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

  /// Resident bytes of a range, as smaps counts them as Rss by mapping. Where the kernel made one mapping of the
  /// range's end and of what lies beyond it, its part of the range is counted page by page.
  static func rss(_ start: UInt, _ bytes: UInt) throws -> UInt {
    var counts: [UInt] = []
    let found = try ranges("/proc/self/smaps", start, bytes) { line in
      if line.hasPrefix("Rss:") { counts.append(UInt(line.split(separator: " ")[1])! * 1024) }
    }
    return try zip(found, counts).reduce(0) { sum, mapping in
      let own = mapping.0.clamped(to: start..<(start + bytes))
      return sum + (mapping.1 == 0 || own == mapping.0 ? mapping.1 : try ownPages(own) * Page.bytes)
    }
  }

  /// Pages of a range that are there and this process's alone, by /proc/self/pagemap; so the page of zeros does not
  /// count, as in smaps.
  private static func ownPages(_ range: Range<UInt>) throws -> UInt {
    let descriptor = unsafe open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    try check(descriptor >= 0, "cannot read pagemap")
    defer { close(descriptor) }
    var words = [UInt64](repeating: 0, count: range.count >> Int(Page.shift))
    let length = words.count * 8
    let got = unsafe pread(descriptor, &words, length, Int(range.lowerBound >> Page.shift) * 8)
    try check(got, is: length, "bytes of pagemap")
    return UInt(words.count { $0 >> 63 & 1 == 1 && $0 >> 56 & 1 == 1 })
  }

  /// Bytes of transparent huge pages in the mappings that overlap a range.
  static func hugeBytes(_ start: UInt, _ bytes: UInt) throws -> UInt {
    var sum: UInt = 0
    _ = try ranges("/proc/self/smaps", start, bytes) { line in
      if line.hasPrefix("AnonHugePages:") { sum += UInt(line.split(separator: " ")[1])! * 1024 }
    }
    return sum
  }

  /// Bytes that are locked in memory of the mappings that overlap a range.
  static func lockedBytes(_ start: UInt, _ bytes: UInt) throws -> UInt {
    var sum: UInt = 0
    _ = try ranges("/proc/self/smaps", start, bytes) { line in
      if line.hasPrefix("Locked:") { sum += UInt(line.split(separator: " ")[1])! * 1024 }
    }
    return sum
  }

  /// Locks a range in memory (mlock); false where this user may not, which is said.
  static func lock(_ start: UInt, _ bytes: UInt) throws -> Bool {
    guard unsafe mlock(UnsafeRawPointer(bitPattern: start), Int(bytes)) == 0 else {
      try HugePages.skip("\(bytes) bytes cannot be locked in memory: errno \(errno)")
      return false
    }
    return true
  }

  static func unlock(_ start: UInt, _ bytes: UInt) {
    _ = unsafe munlock(UnsafeRawPointer(bitPattern: start), Int(bytes))
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
