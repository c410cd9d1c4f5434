import BellowsCore
import CShims
import Testing

@Suite struct MetadataTests {
  @Test func recordsAreZeroDisjointAndAligned() throws {
    let double = FailingPlatform()
    var random = Random(stream: 3)
    var metadata = Metadata()
    var taken: [Range<UInt>] = []
    for step in 0..<400 {
      // Now and then more than a chunk.
      let bytes = random.chance(oneIn: 40) ? random.below(3 << 20) + 1 : random.spread(1...20000)
      let made = metadata.allocate(bytes, platform: double.platform)
      let address = try #require(made)
      try check(address.isAligned(to: 64), "step \(step)")
      let ends = [address, address + bytes - 1]
      for place in ends { try check(Ref<UInt8>(place).it, is: 0, "step \(step)") }
      for place in ends { Ref<UInt8>(place).it = 0xff }
      taken.append(address..<(address + bytes))
    }
    taken.sort { $0.lowerBound < $1.lowerBound }
    for (a, b) in zip(taken, taken.dropFirst()) { try check(a.upperBound <= b.lowerBound, "overlap") }
    #expect(metadata.mappedBytes == double.mappedBytes)
  }

  @Test func aFailureLeavesItAsItWas() throws {
    let double = FailingPlatform()
    let platform = double.platform
    var metadata = Metadata()
    try check(metadata.allocate(1000, platform: platform) != nil, "first")
    let before = metadata.mappedBytes
    double.arm(.from(1))
    try check(metadata.allocate(2 << 20, platform: platform) == nil, "no call succeeds")
    #expect(metadata.mappedBytes == before)
    // What fits the current chunk needs no call.
    try check(metadata.allocate(1000, platform: platform) != nil, "from the chunk")
    // A chunk may be refused where what is asked for is not.
    double.arm(.nth(1))
    var fresh = Metadata()
    try check(fresh.allocate(5000, platform: platform) != nil, "without a chunk")
    #expect(fresh.mappedBytes == 8192)
    double.arm(.none)
    try check(metadata.allocate(2 << 20, platform: platform) != nil, "the next try")
  }
}
