import Bellows
import FoundationEssentials
import Testing

/// The process that runs the tests has libc's malloc; Scripts/check-dependent looks at one that has Bellows.
@Suite("Process heap")
struct ProcessHeapTests {
  @Test func absent() {
    #expect(!ProcessHeap.isInstalled)
    #expect(ProcessHeap.version == nil)
    #expect(ProcessHeap.statistics() == nil)
    #expect(ProcessHeap.trim() == .zero)
    #expect(ProcessHeap.trim(keeping: .mebibytes(1)) == .zero)
  }

  @Test func filesOfAddresses() {
    let maps = """
      55d0a0000000-55d0a0001000 r--p 00000000 fe:01 131 /usr/bin/true
      7f0000000000-7f0000002000 r-xp 00001000 fe:01 4711 /opt/some where/lib.so
      7f0000002000-7f0000003000 rw-p 00000000 00:00 0
      ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
      """
    #expect(ProcessHeap.file(at: 0x7f00_0000_1fff, in: maps) == "fe:01 4711 /opt/some where/lib.so")
    #expect(ProcessHeap.file(at: 0x55d0_a000_0000, in: maps) == "fe:01 131 /usr/bin/true")
    #expect(ProcessHeap.file(at: 0x55d0_a000_1000, in: maps) == nil)
  }
}

@Suite("Units")
struct UnitTests {
  @Test func byteCounts() throws {
    #expect(ByteCount.kibibytes(4) == 4096)
    #expect(ByteCount.pages(3) == .kibibytes(12))
    #expect(ByteCount.tebibytes(64) == .gibibytes(65536))
    #expect(ByteCount.mebibytes(1) - .kibibytes(1) + 1 == .bytes(1_047_553))
    #expect(ByteCount.mebibytes(2).description == "2 MiB")
    #expect(ByteCount.bytes(4097).description == "4097 bytes")
    #expect(ByteCount.zero.description == "0 bytes")
    #expect((ByteCount.zero - .kibibytes(1)).description == "-1 KiB")
  }

  @Test func coding() throws {
    let arena = try Arena(reserving: .mebibytes(4), configuration: .init(sectionSize: .mebibytes(4)))
    _ = try arena.allocate(pages: 1)
    let figures = arena.statistics()
    let text = try JSONEncoder().encode(figures)
    #expect(try JSONDecoder().decode(Arena.Statistics.self, from: text) == figures)
    #expect(String(decoding: text, as: UTF8.self).contains("\"reserved\":4194304"))
    let sections = arena.sections
    #expect(
      try JSONDecoder().decode([Arena.Section].self, from: try JSONEncoder().encode(sections)) == sections)
  }

  @Test func ranges() {
    let range = AddressRange(start: 4096, byteCount: 8192)
    #expect(range.end == 12288)
    #expect(range.contains(4096) && range.contains(12287) && !range.contains(12288))
    #expect(range.contains(AddressRange(start: 8192, byteCount: 4096)))
    #expect(!range.contains(AddressRange(start: 8192, byteCount: 4097)))
  }
}
