// A section that hosts its own memmap, descriptor by descriptor: which pages describe it, what each descriptor says when
// blocks are allocated, and what of the memmap the kernel has in memory.

import Bellows
import Glibc

@main
enum SectionInspector {
  /// Bytes of a descriptor; a page of them describes 64 pages.
  static let descriptorBytes = 64

  static func main() throws {
    // The smallest section that there is: 1024 pages, of which 16 are its descriptors.
    let arena = try Arena(reserving: .mebibytes(64), configuration: .init(sectionSize: .mebibytes(4)))
    var options = Arena.AddOptions()
    options.memmap = .selfHosted
    let sections = try arena.add(options: options)
    show("added: offline, its descriptors are there", arena, sections.lowerBound)
    try arena.online(sections)
    show("online, all free", arena, sections.lowerBound)

    let heap = try arena.makeHeap()
    let short = try heap.allocate(byteCount: .kibibytes(160))
    let long = try heap.allocate(byteCount: .kibibytes(384))
    let small = try heap.allocate(byteCount: .bytes(100))
    show("two runs and a small block allocated", arena, sections.lowerBound)
    let page = (Int(small.addressRange.start - arena.addressRange.start)) / 4096
    print(
      "  the small block lies in page \(page), the runs are \(short.byteCount.rawValue) and \(long.byteCount.rawValue) bytes"
    )
  }

  private static func show(_ what: String, _ arena: Arena, _ index: SectionIndex) {
    guard let section = arena.memorySection(index), let altmap = section.altmap else { return }
    let start = section.addressRange.start
    print("\(what):")
    print(
      "  the memmap is pages \((section.memmap.start - start) / 4096) to \(altmap.alloc - 1) of the section,")
    print("  \(ResidentPages.count(in: section.memmap)) of them resident")
    var run = (first: 0, word: UInt(0), count: 0)
    for page in 0..<section.addressRange.byteCount.rawValue / 4096 {
      let word = firstWord(of: page, in: section.memmap)
      if run.count > 0, word == run.word {
        run.count += 1
      } else {
        describe(run)
        run = (page, word, 1)
      }
    }
    describe(run)
  }

  /// What stands first in a page's descriptor: 0 where nothing starts there.
  private static func firstWord(of page: Int, in memmap: AddressRange) -> UInt {
    let place = unsafe UnsafeRawPointer(bitPattern: memmap.start + UInt(page * descriptorBytes))
    return unsafe place?.load(as: UInt.self) ?? 0
  }

  private static func describe(_ run: (first: Int, word: UInt, count: Int)) {
    guard run.count > 0 else { return }
    let meaning =
      switch (run.word, run.word & 255) {
      case (0, _): "0, nothing starts here"
      case (_, 4): "a run of \(run.word >> 8) pages starts"
      case (let word, _) where word & 63 == 0: "a shard of small blocks, owned by a thread's heap"
      case (1, _): "what other threads free in it: nothing so far, and it has an owner"
      default: "0x" + String(run.word, radix: 16)
      }
    let last = run.first + run.count - 1
    print("  \(run.count == 1 ? "page \(run.first)" : "pages \(run.first) to \(last)"): \(meaning)")
  }
}
