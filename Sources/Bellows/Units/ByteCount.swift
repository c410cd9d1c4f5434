/// A number of bytes.
///
/// Makes the unit of a size part of its type: `ByteCount.mebibytes(128)`, `.pages(4)`, or a plain literal,
/// which counts bytes. Differences may be negative; functions that want a size say what they do with one.
public struct ByteCount: RawRepresentable, Hashable, Comparable, AdditiveArithmetic, Sendable {
  /// The number of bytes.
  public var rawValue: Int

  /// Makes a byte count of `rawValue` bytes.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// Makes a byte count of `count` bytes.
  public static func bytes(_ count: Int) -> Self { Self(rawValue: count) }

  /// Makes a byte count of `count` pages of 4 KiB. Traps on overflow, as the units below do.
  public static func pages(_ count: Int) -> Self { Self(rawValue: count * 4096) }

  /// Makes a byte count of `count` times 1024 bytes.
  public static func kibibytes(_ count: Int) -> Self { Self(rawValue: count * (1 << 10)) }

  /// Makes a byte count of `count` times 1024 KiB.
  public static func mebibytes(_ count: Int) -> Self { Self(rawValue: count * (1 << 20)) }

  /// Makes a byte count of `count` times 1024 MiB.
  public static func gibibytes(_ count: Int) -> Self { Self(rawValue: count * (1 << 30)) }

  /// Makes a byte count of `count` times 1024 GiB.
  public static func tebibytes(_ count: Int) -> Self { Self(rawValue: count * (1 << 40)) }

  /// No bytes.
  public static var zero: Self { Self(rawValue: 0) }

  /// Whether `a` is fewer bytes than `b`.
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

  /// The sum of two byte counts. Traps on overflow.
  public static func + (a: Self, b: Self) -> Self { Self(rawValue: a.rawValue + b.rawValue) }

  /// The difference of two byte counts. Traps on overflow.
  public static func - (a: Self, b: Self) -> Self { Self(rawValue: a.rawValue - b.rawValue) }
}

/// Coded as the bare number of bytes.
extension ByteCount: Codable {}

extension ByteCount: ExpressibleByIntegerLiteral {
  /// Makes a byte count of `value` bytes.
  public init(integerLiteral value: Int) { rawValue = value }
}

extension ByteCount: CustomStringConvertible {
  /// The count in the largest binary unit that divides it: `"128 MiB"`, `"4097 bytes"`.
  public var description: String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    let place = rawValue == 0 ? 0 : min(rawValue.trailingZeroBitCount / 10, units.count - 1)
    return "\(rawValue >> (place * 10)) \(units[place])"
  }
}

extension ByteCount {
  /// What the engine counts in pages.
  init(pages: UInt) { self.init(rawValue: Int(pages) * 4096) }
}
