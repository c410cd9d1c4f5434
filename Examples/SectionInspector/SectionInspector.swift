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
    let small = try heap.allocate(byteCount: .bytes(100))
    let medium = try heap.allocate(byteCount: .bytes(5000))
    let large = try heap.allocate(byteCount: .kibibytes(160))
    show("two small blocks and a large one allocated", arena, sections.lowerBound)
    for block in [small.addressRange, medium.addressRange, large.addressRange] {
      let page = (block.start - arena.addressRange.start) / 4096
      print("  the block of \(block.byteCount.rawValue) bytes begins in page \(page)")
    }
    print("  (of a large block the descriptors say nothing: its length stands beside the section's record)")
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
        describe(run, section.memmap)
        run = (page, word, 1)
      }
    }
    describe(run, section.memmap)
  }

  /// What stands first in a page's descriptor: 0 where nothing starts there.
  private static func firstWord(of page: Int, in memmap: AddressRange) -> UInt {
    let place = unsafe UnsafeRawPointer(bitPattern: memmap.start + UInt(page * descriptorBytes))
    return unsafe place?.load(as: UInt.self) ?? 0
  }

  private static func describe(_ run: (first: Int, word: UInt, count: Int), _ memmap: AddressRange) {
    guard run.count > 0 else { return }
    let meaning =
      switch run.word {
      case 0: "0, no shard starts here"
      case let word where word & 63 == 0: "a shard of small blocks, owned by a thread's heap"
      case 1: "what other threads free in it: nothing so far, and it has an owner"
      case let word where word & 63 == 1 && memmap.contains(word - 1):
        "a later granule of the shard that begins in page \((word - 1 - memmap.start) / UInt(descriptorBytes))"
      default: "0x" + String(run.word, radix: 16)
      }
    let last = run.first + run.count - 1
    print("  \(run.count == 1 ? "page \(run.first)" : "pages \(run.first) to \(last)"): \(meaning)")
  }
}
