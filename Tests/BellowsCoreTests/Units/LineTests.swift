import BellowsCore
import CShims
import Testing

@Suite struct LineTests {
  private func text(_ build: (inout Line) -> Void) -> String {
    var line = Line()
    build(&line)
    var bytes: [UInt8] = []
    line.write { address, length in
      for place in 0..<length { bytes.append(Ref<UInt8>(address + place).it) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func numbers() {
    for value in [0, 1, 9, 10, 4096, UInt.max] as [UInt] {
      #expect(text { $0.append(value) } == "\(value)\n")
      #expect(text { $0.append(hex: value) } == "0x\(String(value, radix: 16))\n")
    }
  }

  @Test func aLongLineIsCutAndEnds() {
    let long = text { line in for _ in 0..<100 { line.append("0123456789") } }
    #expect(long.utf8.count == 512)
    #expect(long.hasSuffix("\n"))
  }
}
