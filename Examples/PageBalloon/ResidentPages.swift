import Bellows
import Glibc

/// What the kernel says of a range of addresses.
enum ResidentPages {
  /// Pages of the range that are resident, by mincore.
  static func count(in range: AddressRange) -> Int {
    var pages = [UInt8](repeating: 0, count: range.byteCount.rawValue / 4096)
    let start = unsafe UnsafeMutableRawPointer(bitPattern: range.start)
    guard unsafe mincore(start, range.byteCount.rawValue, &pages) == 0 else { return 0 }
    return pages.count { $0 & 1 != 0 }
  }
}
