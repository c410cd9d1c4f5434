// A page balloon: an arena of 126 MiB of pages, of which as many are memory as the balloon lets be. What is resident is
// what the kernel says.

import Bellows

@main
enum PageBalloon {
  static func main() throws {
    let arena = try Arena(reserving: .mebibytes(256))
    let balloon = try arena.makeBalloon(.init(floor: .mebibytes(8)))
    try balloon.addSection()
    show("a section came online into the balloon", arena, balloon)

    balloon.deflate(by: .mebibytes(32))
    show("deflated by 32 MiB", arena, balloon)

    let heap = try arena.makeHeap()
    var blocks: [Block] = []
    while blocks.count < 12, let block = Block(heap) { blocks.append(block) }
    show("12 blocks of 2 MiB in use", arena, balloon)

    balloon.setTarget(.mebibytes(64))
    balloon.advance()
    show("a target of 64 MiB", arena, balloon)

    blocks = []
    heap.trim()
    balloon.setTarget(.mebibytes(8))
    balloon.advance()
    show("all freed, and a target of 8 MiB", arena, balloon)
  }

  private static func show(_ what: String, _ arena: Arena, _ balloon: Balloon) {
    let figures = balloon.statistics()
    let resident = ResidentPages.count(in: arena.addressRange) / 256
    print(
      "\(what):\n  held \(mebibytes(figures.held)), managed \(mebibytes(figures.managed)), resident \(resident) MiB"
    )
  }

  private static func mebibytes(_ count: ByteCount) -> String { "\(count.rawValue >> 20) MiB" }
}

/// A block of 2 MiB, written.
private final class Block {
  private let allocation: Allocation

  init?(_ heap: Heap) {
    guard var allocation = try? heap.allocate(byteCount: .mebibytes(2)) else { return nil }
    do {
      var bytes = allocation.mutableBytes
      for page in 0..<512 { bytes.storeBytes(of: 1, toByteOffset: page << 12, as: UInt8.self) }
    }
    self.allocation = allocation
  }
}
