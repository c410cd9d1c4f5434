import CShims
import Glibc

/// The malloc of this process, where that is Bellows: preloaded, or linked.
///
/// This library does not contain the process heap. It looks for `libbellows-malloc.so` among what is loaded, and
/// says so where it is not there. All functions may be called from any thread.
public enum ProcessHeap {
  /// The figures of the process heap at one moment, exact in pages.
  public struct Statistics: Hashable, Sendable, Codable {
    /// The version of this form; changes when a field changes its meaning.
    public var schema = 1
    /// Address space of sections, inaccessible parts included.
    public var reserved: ByteCount
    /// Of that, accessible.
    public var committed: ByteCount
    /// Page descriptors, in `committed`.
    public var memmap: ByteCount
    /// Pages that blocks lie in, huge blocks included.
    public var allocated: ByteCount
    /// Free pages that were used and not yet returned.
    public var freeResident: ByteCount
    /// Blocks that are mappings of their own, in `allocated`.
    public var huge: ByteCount
    /// Returned to the system since the start: a running sum.
    public var returned: ByteCount
    /// The number of sections.
    public var sections: Int
    /// The number of thread heaps, idle ones included.
    public var heaps: Int
    /// Of the sections, those that are offline.
    public var offlineSections: Int
    /// Free and out of circulation, in sections that are on their way offline.
    public var caged: ByteCount
  }

  /// Whether the malloc of this process is Bellows.
  ///
  /// False, too, where the library is loaded but another malloc is in use: loaded late, or behind another one.
  public static var isInstalled: Bool { functions != nil }

  /// The version of the malloc library in use, in the form `major.minor.patch`; nil where there is none.
  ///
  /// It may differ from `BellowsVersion.current`, which is this library's.
  public static var version: String? {
    guard let number = functions?.version() else { return nil }
    return "\(number / 10000).\(number / 100 % 100).\(number % 100)"
  }

  /// The figures of this moment; nil where the malloc of this process is not Bellows.
  ///
  /// All of them are zero where it stepped aside (`BELLOWS_OFF=1`, or pages that are not 4 KiB).
  ///
  /// - Complexity: O(sections + threads).
  public static func statistics() -> Statistics? {
    guard let functions else { return nil }
    var figures = bellows_statistics()
    unsafe functions.statistics(&figures, MemoryLayout<bellows_statistics>.size)
    return Statistics(
      reserved: .bytes(figures.reserved), committed: .bytes(figures.committed),
      memmap: .bytes(figures.memmap), allocated: .bytes(figures.allocated),
      freeResident: .bytes(figures.free_resident), huge: .bytes(figures.huge),
      returned: .bytes(figures.returned), sections: figures.sections, heaps: figures.heaps,
      offlineSections: figures.offline, caged: .bytes(figures.caged))
  }

  /// Returns free memory of the process heap to the system until `reserve` of it is left resident.
  ///
  /// Reaches the free pages and cached runs of all threads, and the calling thread's own empty shards.
  ///
  /// - Parameter reserve: What may stay resident; below zero counts as zero.
  /// - Returns: What went back; zero where the malloc of this process is not Bellows.
  /// - Complexity: About 75 us per MiB that goes back.
  @discardableResult
  public static func trim(keeping reserve: ByteCount = .zero) -> ByteCount {
    guard let functions else { return .zero }
    return .bytes(functions.trim(max(reserve.rawValue, 0)))
  }

  // MARK: Finding it

  @safe
  private struct Functions: Sendable {
    var version: @convention(c) @Sendable () -> UInt32
    var statistics: @convention(c) @Sendable (UnsafeMutablePointer<bellows_statistics>, Int) -> Void
    var trim: @convention(c) @Sendable (Int) -> Int
  }

  /// Looked up once: what serves as malloc does not change while a process runs.
  private static let functions: Functions? = {
    guard let version = unsafe dlsym(nil, "bellows_version"),
      let statistics = unsafe dlsym(nil, "bellows_statistics"),
      let trim = unsafe dlsym(nil, "bellows_trim"),
      let malloc = unsafe dlsym(nil, "malloc"),
      let maps = try? SystemFiles().text("proc/self/maps"),
      let library = file(at: UInt(bitPattern: version), in: maps),
      library == file(at: UInt(bitPattern: malloc), in: maps)
    else { return nil }
    return unsafe Functions(
      version: unsafeBitCast(version, to: (@convention(c) @Sendable () -> UInt32).self),
      statistics: unsafeBitCast(
        statistics,
        to: (@convention(c) @Sendable (UnsafeMutablePointer<bellows_statistics>, Int) -> Void).self),
      trim: unsafeBitCast(trim, to: (@convention(c) @Sendable (Int) -> Int).self))
  }()

  /// Device, inode and path of the file that `address` is mapped from, by the text of /proc/self/maps.
  package static func file(at address: UInt, in maps: String) -> Substring? {
    for line in maps.split(separator: "\n") {
      // start-end permissions offset device inode path
      let words = line.split(separator: " ", maxSplits: 3)
      let bounds = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
      if words.count == 4, bounds.count == 2, bounds[0] <= address, address < bounds[1] { return words[3] }
    }
    return nil
  }
}
