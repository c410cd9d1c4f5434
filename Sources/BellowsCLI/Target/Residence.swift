// Which pages the kernel holds: one word a page in /proc/PID/pagemap. For everybody else the kernel hides where a page
// is, but not from its owner whether it is there.

import Bellows
import Glibc
import SystemPackage

/// The resident pages of a process.
struct Residence {
  static let files = SystemFiles()
  private let process: Int32
  private let file: FileDescriptor

  /// Opens the map of a process; the kernel checks that the caller may.
  init(of process: Int32) throws(TargetError) {
    self.process = process
    do {
      file = try .open(
        FilePath("/proc/\(process)/pagemap"), .readOnly, options: .closeOnExec)
    } catch {
      switch error as? Errno {
      case .noSuchFileOrDirectory?, .noSuchProcess?: throw .ended(process)
      case let code?:
        throw code == .permissionDenied || code == .notPermitted
          ? .notPermitted(process, reason: TargetMemory.refusal(process))
          : .system(code, doing: "cannot read /proc/\(process)/pagemap")
      case nil: throw .ended(process)
      }
    }
  }

  /// Enters into a snapshot how many pages of each pageblock are resident.
  func fill(_ snapshot: inout HeapSnapshot) throws(TargetError) {
    let pages = snapshot.pageblockBytes / 4096
    for place in snapshot.sections.indices {
      let section = snapshot.sections[place]
      // What is not accessible has no pages.
      let counts = try residentPages(at: section.base, count: section.committedBlocks * pages, each: pages)
      for block in section.pageblocks.indices {
        snapshot.sections[place].pageblocks[block].resident = block < counts.count ? counts[block] : 0
      }
    }
  }

  /// Tells of each page whether it is resident.
  func pages(at address: UInt, count: Int) throws(TargetError) -> [Bool] {
    var words = [UInt64](repeating: 0, count: count)
    let got: Int
    do {
      got = try unsafe words.withUnsafeMutableBytes {
        unsafe try file.read(fromAbsoluteOffset: Int64(address / 4096) * 8, into: $0)
      }
    } catch {
      throw .system(error as? Errno ?? .ioError, doing: "cannot read /proc/\(process)/pagemap")
    }
    // The process ended: the map is empty from then on.
    if got < count * 8 { throw .ended(process) }
    return words.map { $0 >> 63 != 0 }
  }

  func close() { try? file.close() }

  /// Counts resident pages in groups of `size`.
  private func residentPages(at address: UInt, count: Int, each size: Int) throws(TargetError) -> [Int] {
    var groups: [Int] = []
    for done in stride(from: 0, to: count, by: size) {
      groups.append(try pages(at: address + UInt(done * 4096), count: size).count { $0 })
    }
    return groups
  }
}
