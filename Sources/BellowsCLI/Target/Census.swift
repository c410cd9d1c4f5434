// What lives in a section, from the words of its runs and the descriptors of its granules: runs of pages, and shards with
// their blocks.
//
// No lock guards these words as a whole (hit paths change them), so what comes out is right for what did not change
// while it was read.

import BellowsCore
import CShims

/// Counts what lives in the sections of a snapshot.
struct Census {
  let memory: TargetMemory
  let geometry: Geometry
  let residence: Residence

  /// What lives in blocks of one size class.
  struct ClassFigures: Codable, Equatable {
    var bytes: Int
    var shards = 0
    var spanBytes = 0
    /// Blocks that are live or in a thread's hands.
    var blocks = 0
  }

  /// What lives in a heap.
  struct Figures: Codable, Equatable {
    /// By size class, the smallest first.
    var classes: [ClassFigures]
    var runs = 0
    var runBytes = 0
    /// Freed runs that are kept for the next request of their length.
    var keptRuns = 0
    var keptBytes = 0

    init() {
      classes = (0..<SizeClass.count).map { ClassFigures(bytes: Int(SizeClass($0).bytes)) }
    }
  }

  /// Enters into a snapshot how much lives in each pageblock, and counts it by size.
  @discardableResult
  func fill(_ snapshot: inout HeapSnapshot) throws(TargetError) -> Figures {
    var figures = Figures()
    for place in snapshot.sections.indices {
      let section = snapshot.sections[place]
      for index in section.pageblocks.indices {
        let isLooked =
          index >= section.memmapBlocks && index < section.committedBlocks
        let blockers =
          isLooked && section.pageblocks[index].used > 0
          ? try count(section, index, into: &figures) : 0
        snapshot.sections[place].pageblocks[index].blockers = blockers
      }
    }
    return figures
  }

  /// Copies words or descriptors; zeros for those that the process does not hold: a look must not give it pages.
  private func copy(at address: UInt, count: Int) throws(TargetError) -> [UInt8] {
    let start = address.rounded(downTo: Page.bytes)
    let end = (address + UInt(count)).rounded(upTo: Page.bytes)
    var copy: [UInt8] = []
    let pages = try residence.pages(at: start, count: Int((end - start) / Page.bytes))
    for (number, isResident) in pages.enumerated() {
      let from = max(address, start + UInt(number) * Page.bytes)
      let part = Int(min(address + UInt(count), start + UInt(number + 1) * Page.bytes) - from)
      copy += isResident ? try memory.bytes(at: from, count: part) : [UInt8](repeating: 0, count: part)
    }
    return copy
  }

  /// Counts one pageblock; answers the number of runs and shards that start in it.
  private func count(
    _ section: SectionSnapshot, _ index: Int, into figures: inout Figures
  ) throws(TargetError) -> Int {
    let bytes = Int(geometry.pageblockPages * Page.descriptorBytes)
    let descriptors = try copy(at: section.memmap &+ UInt(index * bytes), count: bytes)
    let stride = Int(Page.granulePages * Page.descriptorBytes)
    var living = try countRuns(section, index, into: &figures)
    for place in Swift.stride(from: 0, to: descriptors.count, by: stride) {
      let word = GranuleWord(TargetMemory.value(UInt.self, in: descriptors, at: place))
      if word.isShard {
        let classOffset = place + (MemoryLayout<Shard>.offset(of: \.sizeClass) ?? 0)
        let sizeClass = Int(descriptors[classOffset])
        guard sizeClass < figures.classes.count else { continue }
        func field(_ offset: Int?) -> UInt32 {
          TargetMemory.value(UInt32.self, in: descriptors, at: place + (offset ?? 0))
        }
        let used =
          field(MemoryLayout<Shard>.offset(of: \.countdown))
          &+ field(MemoryLayout<Shard>.offset(of: \.reserve))
        let span = TargetMemory.value(
          UInt8.self, in: descriptors, at: place + (MemoryLayout<Shard>.offset(of: \.spanPages) ?? 0))
        living += used > 0 ? 1 : 0
        figures.classes[sizeClass].shards += 1
        figures.classes[sizeClass].spanBytes += Int(span) * 4096
        figures.classes[sizeClass].blocks += Int(min(used, 1024))
      }
    }
    return living
  }

  /// Counts the runs that start in one pageblock; answers the number of live ones.
  private func countRuns(
    _ section: SectionSnapshot, _ index: Int, into figures: inout Figures
  ) throws(TargetError) -> Int {
    guard let end = section.runWords else { return 0 }
    let bytes = (geometry.pageblockPages >> Page.granuleOrder) * RunWord.bytes
    let words = try copy(at: end - UInt(index + 1) * bytes, count: Int(bytes))
    var living = 0
    for place in stride(from: 0, to: words.count, by: Int(RunWord.bytes)) {
      let run = RunWord(TargetMemory.value(UInt32.self, in: words, at: place))
      if run.isLive {
        living += 1
        figures.runs += 1
        figures.runBytes += Int(run.pages * Page.bytes)
      } else if run.isKept {
        figures.keptRuns += 1
        figures.keptBytes += Int(run.pages * Page.bytes)
      }
    }
    return living
  }
}
