import BellowsCore
import CShims
import Synchronization

/// Memory that a program keeps apart: a range of addresses of its own, cut into sections that become memory
/// when they are needed.
///
/// ```swift
/// let arena = try Arena(reserving: .tebibytes(1))
/// var pages = try arena.allocate(byteCount: .mebibytes(3))
/// let heap = try arena.makeHeap()
/// var block = try heap.allocate(byteCount: 100)
/// ```
///
/// An arena reserves the capacity asked for when it is made. That costs address space only; memory is added
/// section by section as allocations need it, and what is free goes back with ``trim(keeping:)``. Of each
/// section 1/64 holds the descriptors of its pages, so that much of the capacity is not for use.
///
/// Allocations keep their arena alive. When the last reference goes, everything that the arena took goes back
/// to the system.
///
/// Any number of arenas may exist at once. All functions may be called from any thread at any time; they
/// wait for each other where they must, with locks that are held for no system calls but those that add
/// memory. An arena does not survive `fork` while other threads use it: leave it alone in the child.
public final class Arena: Sendable {
  /// What may be chosen when an arena is made.
  public struct Configuration: Hashable, Sendable {
    /// The unit in which memory is added: a power of two from 4 MiB to 1 GiB, by default 128 MiB.
    ///
    /// It bounds the largest allocation, which lies in one section.
    public var sectionSize: ByteCount

    /// Makes a configuration with sections of `sectionSize`.
    public init(sectionSize: ByteCount = .mebibytes(128)) { self.sectionSize = sectionSize }

    /// Whether an allocation adds a memory block where there is no room, or takes one of the spares
    /// (``Arena/keepSpares(_:options:)``), without a question to observers. Otherwise memory comes by
    /// ``Arena/add(sections:at:options:)`` and ``Arena/online(_:)`` alone.
    public var growsByNeed = true

    /// Sections of a memory block: what comes and goes together. With more than one no balloon, pool or sub-block unit adds a
    /// section of its own.
    public var sectionsPerBlock = 1
  }

  /// The largest capacity: 64 TiB, half of the addresses that a process has.
  public static var largestCapacity: ByteCount { .tebibytes(64) }

  /// What was chosen when the arena was made.
  public let configuration: Configuration

  /// The addresses of the arena: the capacity asked for, rounded up to whole sections, and aligned to them.
  public let addressRange: AddressRange

  let core: ArenaRef
  let records: ArenaRecords
  let guests = ArenaGuests()
  /// Heaps that nobody uses any more. Their records lie in the arena's metadata, from which nothing is freed.
  private let spareHeaps = Mutex<[HeapRef]>([])
  /// The table of relocatable blocks; nil until there is one.
  private let relocatableTable = Mutex<RelocatablesRef?>(nil)

  /// Reserves addresses for `capacity` bytes, rounded up to whole sections.
  ///
  /// Nothing of it is memory yet, and nothing is counted against limits but that of address space. What is
  /// resident afterwards is a few pages of records.
  ///
  /// - Parameters:
  ///   - capacity: The most that the arena can grow to: 1 byte to 64 TiB.
  ///   - configuration: The section size, and more.
  /// - Throws: ``ArenaError/invalidCapacity``, ``ArenaError/invalidSectionSize``, ``ArenaError/invalidBlockSize``,
  ///   ``ArenaError/unsupportedPageSize``, or ``ArenaError/noAddressSpace``. Nothing is left behind then.
  /// - Complexity: O(1): a dozen system calls.
  public init(reserving capacity: ByteCount, configuration: Configuration = .init()) throws(ArenaError) {
    guard capacity > .zero, capacity <= Self.largestCapacity else { throw .invalidCapacity }
    guard configuration.sectionSize > .zero,
      let geometry = Geometry(sectionBytes: UInt(configuration.sectionSize.rawValue))
    else { throw .invalidSectionSize }
    guard configuration.sectionsPerBlock > 0,
      configuration.sectionsPerBlock
        <= (capacity.rawValue - 1) / configuration.sectionSize.rawValue + 1
    else { throw .invalidBlockSize }
    guard bellows_page_size() == Page.bytes else { throw .unsupportedPageSize }
    guard let records = ArenaRecords() else { throw .noAddressSpace }
    let core = records.arena
    guard
      core.initialise(
        geometry: geometry, platform: records.platform, zone: records.zone, capacity: UInt(capacity.rawValue))
    else {
      records.release()
      throw .noAddressSpace
    }
    self.records = records
    self.core = core
    core.it.growsByNeed = configuration.growsByNeed
    core.it.blockSections = UInt32(clamping: configuration.sectionsPerBlock)
    self.configuration = configuration
    addressRange = AddressRange(start: core.it.reservation, byteCount: .bytes(Int(core.it.capacity)))
  }

  deinit {
    core.releaseMemmaps()
    core.releaseReservation()
    records.release()
  }

  // MARK: Giving back

  /// Returns free pages to the system until `reserve` of them are left resident.
  ///
  /// Pages stay resident when they are freed, since they will often be wanted again; until this is called, or
  /// a heap on the arena returns what has been free for a quarter of a second.
  ///
  /// - Parameter reserve: What may stay resident; below zero counts as zero.
  /// - Returns: What went back.
  /// - Complexity: O(*n*) system calls, where *n* is the number of runs of free resident pages, about 75 us per
  ///   MiB. Other threads can allocate meanwhile.
  @discardableResult
  public func trim(keeping reserve: ByteCount = .zero) -> ByteCount {
    let keep = UInt(max(reserve.rawValue, 0)) >> Page.shift
    return ByteCount(pages: core.purge(dirtySince: .max, keep: keep))
  }

  // MARK: Heaps

  /// Makes a heap on the arena, for blocks of any size up to half a section.
  ///
  /// - Throws: ``AllocationError/exhausted`` where the system has no memory for the heap's records (6 KiB).
  /// - Complexity: O(1).
  public func makeHeap() throws(AllocationError) -> Heap {
    if let spare = spareHeaps.withLock({ $0.popLast() }), let own = spare.commonHeap() {
      return Heap(on: self, core: spare, own: own)
    }
    guard let memory = core.allocateMetadata(BellowsCore.Heap.bytes) else { throw .exhausted }
    let heap = HeapRef(memory)
    heap.initialise(arena: core)
    guard let own = heap.commonHeap() else {
      keep(heap)
      throw .exhausted
    }
    return Heap(on: self, core: heap, own: own)
  }

  /// The table of relocatable blocks, made when it is first asked for; nil: no memory for it.
  func relocatables() -> RelocatablesRef? {
    relocatableTable.withLock { table in
      if table == nil, let memory = core.allocateMetadata(UInt(MemoryLayout<Relocatables>.size)) {
        table = RelocatablesRef(memory)
        table?.initialise(arena: core)
      }
      return table
    }
  }

  /// Keeps a heap's records for the next heap.
  func keep(_ heap: HeapRef) { spareHeaps.withLock { $0.append(heap) } }
}
