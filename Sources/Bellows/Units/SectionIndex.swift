/// The place of a section in its arena: section 0 starts where the arena starts, section 1 one section size
/// later, and so on.
public struct SectionIndex: RawRepresentable, Hashable, Comparable, Strideable, Sendable, Codable {
  /// The number of sections before this one.
  public var rawValue: Int

  /// Makes the index of the section that has `rawValue` sections before it.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// The number of sections from this one to `other`.
  public func distance(to other: Self) -> Int { other.rawValue - rawValue }

  /// The index `count` sections further on.
  public func advanced(by count: Int) -> Self { Self(rawValue: rawValue + count) }
}
