import Bellows

/// Uses an arena and a heap as any program may, and prints what it found, a word and a value a line.
@main
enum Dependent {
  static func main() throws {
    let arena = try Arena(reserving: .tebibytes(1), configuration: .init(sectionSize: .mebibytes(4)))
    print("capacity", arena.addressRange.byteCount)

    var pages = try arena.allocate(byteCount: .mebibytes(1))
    var bytes = pages.mutableBytes
    for offset in stride(from: 0, to: bytes.byteCount, by: 4096) {
      bytes.storeBytes(of: UInt8(1), toByteOffset: offset, as: UInt8.self)
    }
    print("allocated", arena.statistics().allocated)

    let heap = try arena.makeHeap()
    let block = try heap.allocate(byteCount: 100)
    print("inside", arena.addressRange.contains(block.addressRange))

    do {
      _ = try arena.allocate(byteCount: .mebibytes(5))
    } catch .tooLarge {
      print("refused", "too large")
    } catch {
      print("refused", error)
    }

    print("installed", ProcessHeap.isInstalled)
    print("version", ProcessHeap.version ?? "none")
    // Something for malloc to do, and something for trim to return.
    let live = Array(repeating: 1, count: 100_000)
    var freed: [[Int]] = (0..<100).map { Array(repeating: $0, count: 4000) }
    freed = []
    let figures = ProcessHeap.statistics()
    print("figures", (figures?.allocated ?? .zero) >= .bytes(live.count * 8))
    print("consistent", figures.map { $0.memmap + $0.allocated - $0.huge <= $0.committed } ?? false)
    print("trimmed", ProcessHeap.trim() > .zero, freed.count)
  }
}
