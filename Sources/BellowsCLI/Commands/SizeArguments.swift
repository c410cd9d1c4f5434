import ArgumentParser

/// An amount of memory on the command line: a number with a unit that is a power of two; without one, bytes.
struct ByteCount: ExpressibleByArgument, Equatable {
  /// The amount in bytes.
  let bytes: Int

  init?(argument: String) {
    guard let bytes = Bytes.parse(argument) else { return nil }
    self.bytes = bytes
  }
}

/// Sizes from one to another: `16..1K`; one size alone stands for itself.
struct SizeRange: ExpressibleByArgument, Equatable {
  /// The smallest, in bytes.
  let least: Int
  /// The largest, in bytes.
  let most: Int

  init?(argument: String) {
    let dots = argument.indices.first { argument[$0...].hasPrefix("..") }
    let low = dots.map { String(argument[..<$0]) } ?? argument
    let high = dots.map { String(argument[argument.index($0, offsetBy: 2)...]) } ?? argument
    guard let least = ByteCount(argument: low)?.bytes, let most = ByteCount(argument: high)?.bytes,
      least >= 1,
      most >= least, most <= 1 << 30
    else { return nil }
    (self.least, self.most) = (least, most)
  }
}
