/// A range of addresses.
public struct AddressRange: Hashable, Sendable, Codable {
  /// The first address.
  public let start: UInt

  /// The length of the range.
  public let byteCount: ByteCount

  /// Makes the range of `byteCount` bytes from `start`. Traps where that is negative or goes beyond the last
  /// address.
  public init(start: UInt, byteCount: ByteCount) {
    precondition(!start.addingReportingOverflow(UInt(byteCount.rawValue)).overflow)
    self.start = start
    self.byteCount = byteCount
  }

  /// The address behind the last one.
  public var end: UInt { start + UInt(byteCount.rawValue) }

  /// Whether `address` lies in the range.
  public func contains(_ address: UInt) -> Bool { address >= start && address < end }

  /// Whether all of `other` lies in the range.
  public func contains(_ other: AddressRange) -> Bool { other.start >= start && other.end <= end }
}
