import BellowsCore
import SystemPackage

/// Large pages that are taken from fresh sections before the allocator sees them, and handed out as huge pages.
///
/// ```swift
/// let pool = try arena.makeHugePagePool()
/// try pool.addSection()                    // 63 huge pages of 2 MiB
/// let page = try pool.take()
/// ```
///
/// An allocator that has given out one small piece of each 2 MiB has no huge page left; what the pool has is kept whole.
/// A page that is not handed out is not resident.
///
/// A pool keeps its arena alive, and its pages keep the pool alive. All functions may be called from any thread.
public final class HugePagePool: Sendable {
  /// Where huge pages come from.
  public enum Source: Hashable, Sendable, Codable {
    /// The system makes them as it can (transparent huge pages): where it cannot, a page is 512 small ones.
    case transparent
    /// The system's reserve (hugetlb). There is no page where that is empty.
    case reserved
  }

  /// The arena whose pages it has.
  public let arena: Arena
  /// Where its huge pages come from.
  public let source: Source
  /// The length of one of its pages: a pageblock, 2 MiB.
  public let pageSize: ByteCount

  private let core: BalloonRef

  fileprivate init(in arena: Arena, core: BalloonRef, source: Source) {
    self.arena = arena
    self.core = core
    self.source = source
    pageSize = .bytes(Int(arena.core.it.geometry.pageblockBytes))
  }

  // Pages keep their pool alive, so all are back.
  deinit { arena.core.retire(core) }

  /// The number of pages that can be taken.
  public var count: Int {
    core.lock.acquire()
    defer { core.lock.release() }
    return Int(core.it.held.pages / core.it.traits.unitPages)
  }

  /// Adds a section to the arena, with all of its pages in the pool.
  ///
  /// - Throws: `ENOMEM` where the arena's capacity is used up or the system refuses. The arena is as it was then.
  /// - Complexity: O(pages of a section).
  @discardableResult
  public func addSection() throws(Errno) -> SectionIndex { try arena.addSection(for: .balloon(core)) }

  /// Takes a page out of the pool: resident, writable, all zero.
  ///
  /// - Throws: `ENOSPC` where the pool is empty, `ENOMEM` where the system has no memory, or no huge page in reserve.
  /// - Complexity: O(1), and the clearing of 2 MiB by the system.
  public func take() throws(Errno) -> HugePage {
    let start = try systemError { () throws(Refusal) in try core.takeUnit(reserved: source == .reserved) }
    return HugePage(of: self, at: AddressRange(start: start, byteCount: pageSize))
  }

  /// Gives pages of the pool to the arena's allocator, for good.
  ///
  /// - Parameter count: How many; below zero counts as zero.
  /// - Returns: How many went: fewer where the pool has no more, or the system no memory.
  /// - Complexity: O(count), and the clearing of them by the system.
  @discardableResult
  public func release(_ count: Int) -> Int {
    Int(core.deflate(UInt(max(count, 0)) * core.it.traits.unitPages).pages / core.it.traits.unitPages)
  }

  /// A page of the pool, in the hands of its one owner; it goes back when the owner goes.
  public struct HugePage: ~Copyable, Sendable {
    /// The pool that it goes back to.
    public let pool: HugePagePool
    /// Where its bytes lie.
    public let addressRange: AddressRange

    fileprivate init(of pool: HugePagePool, at range: AddressRange) {
      self.pool = pool
      addressRange = range
    }

    deinit { pool.giveBack(addressRange.start) }

    /// The bytes, to read.
    public var bytes: RawSpan {
      @_lifetime(borrow self)
      get {
        let span = unsafe RawSpan(_unsafeStart: pointer, byteCount: addressRange.byteCount.rawValue)
        return unsafe _overrideLifetime(span, borrowing: self)
      }
    }

    /// The bytes, to write.
    public var mutableBytes: MutableRawSpan {
      @_lifetime(&self)
      mutating get {
        let span = unsafe MutableRawSpan(_unsafeStart: pointer, byteCount: addressRange.byteCount.rawValue)
        return unsafe _overrideLifetime(span, mutating: &self)
      }
    }

    private var pointer: UnsafeMutableRawPointer {
      unsafe UnsafeMutableRawPointer(bitPattern: addressRange.start).unsafelyUnwrapped
    }
  }

  /// Where the system refuses to take the memory back, the page stays withheld, and resident, until the arena goes.
  private func giveBack(_ start: UInt) {
    do throws(Refusal) {
      try core.giveUnit(start, reserved: source == .reserved)
    } catch {
      precondition(error == .noMemory, "not a page of this pool")
    }
  }
}

extension Arena {
  /// Makes a pool of huge pages that has none.
  ///
  /// - Throws: `EINVAL` where the arena's pageblocks are not 2 MiB: its sections are below 128 MiB. `ENOMEM` where the
  ///   system has no memory for the record.
  /// - Complexity: O(1).
  public func makeHugePagePool(of source: HugePagePool.Source = .transparent) throws(Errno) -> HugePagePool {
    guard core.it.geometry.pageblockShift == 21 else { throw .invalidArgument }
    let traits = BalloonTraits(
      unitPages: core.it.geometry.pageblockPages, isHuge: source == .transparent, answersShortage: false)
    guard let record = core.makeBalloon(traits) else { throw .noMemory }
    return HugePagePool(in: self, core: record, source: source)
  }
}
