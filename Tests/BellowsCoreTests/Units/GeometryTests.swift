import BellowsCore
import Testing

@Suite struct GeometryTests {
  @Test func refusesOtherSizes() {
    for bytes in [0, 1, 4096, 2 << 20, 3 << 20, 6 << 20, (128 << 20) + 1, 2 << 30, UInt.max] as [UInt] {
      #expect(Geometry(sectionBytes: bytes) == nil, "\(bytes)")
    }
  }

  @Test(arguments: 22...30 as ClosedRange<UInt>)
  func partsFitTogether(shift: UInt) throws {
    let geometry = try #require(Geometry(sectionBytes: 1 << shift))
    #expect(geometry.sectionBytes == 1 << shift)
    #expect(geometry.sectionPages * Page.bytes == geometry.sectionBytes)
    #expect(geometry.pageblockPages * Page.bytes == geometry.pageblockBytes)
    #expect(geometry.pageblocksPerSection * geometry.pageblockBytes == geometry.sectionBytes)
    #expect(1 << geometry.pageblockOrder == geometry.pageblockPages)
    #expect(geometry.pageblockPages <= PageMask.capacity)
    #expect(geometry.pageblocksPerSection <= PageMask.capacity)
    #expect(geometry.pageblockBytes <= 2 << 20)
    #expect(geometry.memmapBytes * 64 == geometry.sectionBytes)
    // A self-hosted memmap is whole pageblocks.
    #expect(geometry.memmapBytes.isAligned(to: geometry.pageblockBytes))
  }

  @Test func standardIsTheDefaultOfTheDesign() {
    #expect(Geometry.standard.sectionBytes == 128 << 20)
    #expect(Geometry.standard.pageblockBytes == 2 << 20)
    #expect(Geometry.standard.memmapBytes == 2 << 20)
  }

  @Test func rounding() {
    #expect((0 as UInt).ceilingLog2 == 0)
    for shift in 0..<63 as Range<UInt> {
      let power: UInt = 1 << shift
      #expect(power.ceilingLog2 == shift)
      #expect((power + 1).ceilingLog2 == shift + 1)
      #expect(power.isPowerOfTwo)
      #expect(shift < 2 || !(power + 1).isPowerOfTwo)
    }
    #expect(!(0 as UInt).isPowerOfTwo)
    #expect((4097 as UInt).rounded(upTo: 4096) == 8192)
    #expect((4096 as UInt).rounded(upTo: 4096) == 4096)
    #expect((8191 as UInt).rounded(downTo: 4096) == 4096)
    #expect(Page.count(0) == 0)
    #expect(Page.count(1) == 1)
    #expect(Page.count(4096) == 1)
    #expect(Page.count(4097) == 2)
  }
}
