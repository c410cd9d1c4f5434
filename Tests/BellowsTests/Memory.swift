import Bellows
import Glibc
import SystemPackage
import Testing

/// What the kernel says of a range of this process's addresses.
struct Mappings {
  /// Mappings that lie in the range, wholly or in part.
  var count = 0
  /// Resident bytes of the range: as /proc/self/smaps has them, which counts by mapping; where the kernel made one
  /// mapping of the range's end and of what another test has beyond it, page by page from /proc/self/pagemap.
  var resident = ByteCount.zero

  init(in range: AddressRange) throws {
    var inside: Range<UInt>?
    for line in try SystemFiles().text("proc/self/smaps").split(separator: "\n") {
      let words = line.split(separator: " ")
      let bounds = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      if bounds.count == 2 {
        inside = bounds[0] < range.end && range.start < bounds[1] ? bounds[0]..<bounds[1] : nil
        if inside != nil { count += 1 }
      } else if let inside, words[0] == "Rss:", let kibibytes = Int(words[1]), kibibytes > 0 {
        let own = inside.clamped(to: range.start..<range.end)
        resident = resident + (own == inside ? .kibibytes(kibibytes) : try Self.pagemap(own))
      }
    }
  }

  /// Bytes of pages that are there and this process's alone; so the page of zeros does not count, as in smaps.
  private static func pagemap(_ range: Range<UInt>) throws -> ByteCount {
    let file = try FileDescriptor.open(FilePath("/proc/self/pagemap"), .readOnly)
    defer { try? file.close() }
    var words = [UInt64](repeating: 0, count: range.count / 4096)
    let offset = Int64(range.lowerBound / 4096) * 8
    let got = try unsafe words.withUnsafeMutableBytes { buffer in
      try unsafe file.read(fromAbsoluteOffset: offset, into: buffer)
    }
    try #require(got == words.count * 8)
    return .pages(words.count { $0 >> 63 & 1 == 1 && $0 >> 56 & 1 == 1 })
  }

  /// All mappings of this process: how many there are, and their bytes.
  static func all() throws -> (count: Int, bytes: Int) {
    let files = SystemFiles()
    return (
      try files.text("proc/self/maps").count { $0 == "\n" },
      ProcessStatus(reading: files)?.virtualBytes ?? 0
    )
  }
}

/// The pages of a range that are resident, by mincore. The range must be mapped.
func residentPages(of range: AddressRange) -> Int {
  var pages = [UInt8](repeating: 0, count: range.byteCount.rawValue / 4096)
  let start = unsafe UnsafeMutableRawPointer(bitPattern: range.start)
  precondition(unsafe mincore(start, range.byteCount.rawValue, &pages) == 0)
  return pages.count { $0 & 1 != 0 }
}

/// An allocation in an object, so that arrays can hold it.
final class Box: @unchecked Sendable {
  private var allocation: Allocation
  let range: AddressRange

  init(_ allocation: consuming Allocation) {
    range = allocation.addressRange
    self.allocation = allocation
  }

  /// Writes `mark` into the first and last word and into each page between them, where there are so many bytes.
  func fill(_ mark: UInt64) { Self.fill(&allocation, mark) }

  /// Whether the words that `fill` writes are `mark`.
  func holds(_ mark: UInt64) -> Bool { Self.holds(allocation, mark) }

  /// Whether every byte is zero.
  var isZero: Bool { Self.isZero(allocation) }

  private static func fill(_ allocation: inout Allocation, _ mark: UInt64) {
    let offsets = offsets(allocation.byteCount)
    var bytes = allocation.mutableBytes
    for offset in offsets { bytes.storeBytes(of: mark, toByteOffset: offset, as: UInt64.self) }
  }

  private static func holds(_ allocation: borrowing Allocation, _ mark: UInt64) -> Bool {
    let bytes = allocation.bytes
    for offset in offsets(allocation.byteCount)
    where unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self) != mark { return false }
    return true
  }

  private static func isZero(_ allocation: borrowing Allocation) -> Bool {
    let bytes = allocation.bytes
    for offset in bytes.byteOffsets
    where unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self) != 0 { return false }
    return true
  }

  private static func offsets(_ byteCount: ByteCount) -> [Int] {
    let last = byteCount.rawValue - 8
    return last < 0 ? [] : Array(stride(from: 0, through: last - 8, by: 4096)) + [last]
  }
}

/// Random numbers that are the same in every run.
struct Dice: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
