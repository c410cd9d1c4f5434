import BellowsCore
import CShims
import Testing

@Suite struct SizeClassTests {
  @Test func sizesRise() {
    var previous: UInt = 0
    for index in 0..<SizeClass.count {
      let bytes = SizeClass(index).bytes
      #expect(bytes > previous)
      #expect(bytes.isAligned(to: 16))
      previous = bytes
    }
    #expect(previous == SizeClass.largestBytes)
  }

  @Test func tableGivesTheTightestClass() throws {
    for bytes in 0...SizeClass.largestBytes {
      let sizeClass = SizeClass(bytes: bytes)
      try check(sizeClass.index < SizeClass.count, "class of \(bytes)")
      try check(sizeClass.bytes >= bytes, "\(bytes) bytes in a class of \(sizeClass.bytes)")
      let isTight = sizeClass.index == 0 || SizeClass(sizeClass.index - 1).bytes < bytes
      try check(isTight, "\(bytes) bytes in a class of \(sizeClass.bytes)")
    }
  }

  /// Rounding wastes less than 16 bytes up to 128, and at most a fifth of the block above.
  @Test func wasteIsBounded() throws {
    for bytes in 1...SizeClass.largestBytes {
      let room = SizeClass(bytes: bytes).bytes
      let waste = room - bytes
      try check(bytes <= 128 ? waste < 16 : waste * 5 < room, "\(bytes) bytes in a block of \(room)")
    }
  }

  @Test func alignedClasses() throws {
    for shift in 0...15 as ClosedRange<UInt> {
      let alignment: UInt = 1 << shift
      for bytes in stride(from: 0 as UInt, through: SizeClass.largestBytes, by: 61) {
        let size = max(bytes, 1).rounded(upTo: alignment)
        guard let sizeClass = SizeClass(bytes: bytes, alignment: alignment) else {
          try check(size > SizeClass.largestBytes, "no class for \(bytes) bytes at \(alignment)")
          continue
        }
        try check(sizeClass.bytes >= bytes, "\(bytes) at \(alignment): \(sizeClass.bytes)")
        try check(sizeClass.bytes.isAligned(to: alignment), "\(bytes) at \(alignment): \(sizeClass.bytes)")
        // Blocks lie at multiples of their size from the shard's start, which is aligned to its span.
        try check((sizeClass.spanPages << Page.shift).isAligned(to: alignment), "span at \(alignment)")
        for smaller in 0..<sizeClass.index {
          let other = SizeClass(smaller).bytes
          try check(other < bytes || !other.isAligned(to: alignment), "\(bytes) at \(alignment): \(other)")
        }
      }
    }
  }

  @Test func shards() {
    for index in 0..<SizeClass.count {
      let sizeClass = SizeClass(index)
      #expect(sizeClass.blocksPerShard >= 8)
      // Counts are 16 bits wide, and so is the remote list's.
      #expect(sizeClass.blocksPerShard <= 1024)
      #expect(sizeClass.spanPages.isPowerOfTwo && sizeClass.spanPages >= Page.granulePages)
      let waste = sizeClass.spanPages << Page.shift - sizeClass.blocksPerShard * sizeClass.bytes
      #expect(waste < sizeClass.bytes)
    }
  }
}
