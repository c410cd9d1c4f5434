// Where the records of a process on Bellows are: its header, found as a dynamic symbol of the image in its memory.
//
// In memory and not in the file, because the file may have been replaced since (an upgrade) or lie in another mount
// namespace (a container).

import Bellows
import CShims
import Glibc
import SystemPackage

/// The header that a process on Bellows shows to readers.
struct TargetHeader {
  /// The form of the records that this tool knows.
  static let knownLayout = Int(BELLOWS_HEADER_LAYOUT)
  private static let symbol = "bellows_process_header"

  let record: bellows_header

  /// Finds and checks the header of a process.
  init(of process: Int32, files: SystemFiles = SystemFiles()) throws(TargetError) {
    guard ProcView.isThere else { throw .noProc }
    let memory = try TargetMemory(process: process)
    guard let images = try Self.images(of: process, files) else {
      // One that ended and that its parent did not look after yet is still listed, without memory.
      if TargetProcess.isEnded(process, files) { throw .ended(process) }
      throw .noHeap(process, reason: "has no memory of its own: it is a kernel thread")
    }
    var found: UInt?
    for base in images {
      if let address = try ImageSymbols(memory: memory, base: base)?.address(of: Self.symbol) {
        found = address
        break
      }
    }
    guard let address = found else { throw .noHeap(process, reason: "does not run on Bellows") }
    try self.init(of: process, at: address)
  }

  /// Checks the header of a process that is at an address.
  init(of process: Int32, at address: UInt) throws(TargetError) {
    let memory = try TargetMemory(process: process)
    // What holds for ever comes first; only then the rest.
    let start = try memory.bytes(at: address, count: 32)
    let magic = TargetMemory.value(UInt64.self, in: start, at: 0)
    let layout = TargetMemory.value(UInt32.self, in: start, at: 8)
    let bytes = TargetMemory.value(UInt32.self, in: start, at: 12)
    let version = String(decoding: start[16..<32].prefix { $0 != 0 }, as: UTF8.self)
    guard magic == UInt64(BELLOWS_HEADER_MAGIC) else {
      throw .noHeap(process, reason: "has something else under Bellows' name")
    }
    guard Int(layout) == Self.knownLayout, version == BellowsVersion.current,
      Int(bytes) == MemoryLayout<bellows_header>.size
    else {
      throw .otherVersion(process, version: version, layout: Int(layout))
    }
    record = try memory.value(bellows_header.self, at: address)
    guard record.status != 0, record.arena != 0 else {
      throw .noHeap(process, reason: "has loaded Bellows and not yet allocated, or another malloc serves it")
    }
    guard try memory.words(at: UInt(record.status), count: 1)[0] == 2 else {
      throw .noHeap(process, reason: "has Bellows loaded, which stepped aside: the system's malloc serves")
    }
    // Two builds under one version: somebody is developing.
    guard HeapReader.knows(record) else {
      throw .otherVersion(process, version: "\(version), another build", layout: Int(layout))
    }
  }

  /// Whether a process has a file with Bellows' name mapped: cheap, for going over all processes.
  static func isLikely(_ process: Int32, _ files: SystemFiles = SystemFiles()) -> Bool {
    guard let maps = try? files.text("proc/\(process)/maps") else { return false }
    return maps.contains("bellows-malloc")
  }

  /// The addresses where files are mapped from their beginning: those with Bellows' name first. Nil where the process
  /// has no memory.
  private static func images(of process: Int32, _ files: SystemFiles) throws(TargetError) -> [UInt]? {
    let text: String
    do throws(Errno) { text = try files.text("proc/\(process)/maps") } catch {
      switch error {
      case .noSuchFileOrDirectory, .noSuchProcess: throw .noProcess("\(process)")
      case .permissionDenied, .notPermitted:
        throw .notPermitted(process, reason: TargetMemory.refusal(process))
      default: throw .system(error, doing: "cannot read /proc/\(process)/maps")
      }
    }
    if text.isEmpty { return nil }
    var named: [UInt] = []
    var others: [UInt] = []
    for line in text.split(separator: "\n") {
      // start-end permissions offset device inode path
      let words = line.split(separator: " ", maxSplits: 5)
      guard words.count == 6, words[2].allSatisfy({ $0 == "0" }), words[1].hasPrefix("r"), words[4] != "0",
        let start = UInt(words[0].prefix { $0 != "-" }, radix: 16)
      else { continue }
      if words[5].contains("bellows") { named.append(start) } else { others.append(start) }
    }
    return named + others
  }
}
