import BellowsCore
import CShims

/// A heap on an arena: blocks of 1 byte to half a section, all of them inside the arena's addresses.
///
/// Made by ``Arena/makeHeap()``. Its blocks lie in 40 size classes up to 32 KiB and in runs of whole pages above.
/// Several heaps may share an arena; the pages of their blocks never mix.
///
/// Any thread may allocate, and free what another allocated. Allocations of one heap wait for each other;
/// frees take no lock in most cases. That is right at any number of threads, but made for threads that allocate
/// now and then: threads that allocate all the time want a heap each, or the process heap.
public final class Heap: Sendable {
  /// The arena that the blocks lie in.
  public let arena: Arena

  private let core: HeapRef
  /// What allocations take blocks from, under its lock.
  private let own: ThreadHeapRef

  init(on arena: Arena, core: HeapRef, own: ThreadHeapRef) {
    self.arena = arena
    self.core = core
    self.own = own
  }

  // Blocks keep their heap alive, so none is left but those that were leaked, which stay what they are.
  deinit {
    own.lock.acquire()
    core.empty(own)
    own.lock.release()
    arena.keep(core)
  }

  /// Allocates a block.
  ///
  /// - Parameters:
  ///   - byteCount: The number of bytes.
  ///   - alignment: What the address is a multiple of: a power of two, by default 16.
  /// - Returns: The bytes, all zero, in the hands of an owner that frees them.
  /// - Throws: ``AllocationError/invalidByteCount``, ``AllocationError/invalidAlignment``,
  ///   ``AllocationError/tooLarge`` above half a section in size or alignment, or ``AllocationError/exhausted``.
  ///   The heap is as it was then.
  /// - Complexity: O(1) in most cases, and clearing the block.
  public func allocate(byteCount: ByteCount, alignment: ByteCount = 16) throws(AllocationError) -> Allocation
  {
    guard byteCount > .zero else { throw .invalidByteCount }
    guard alignment > .zero, UInt(alignment.rawValue).isPowerOfTwo else { throw .invalidAlignment }
    let limit = arena.configuration.sectionSize.rawValue / 2
    guard byteCount.rawValue <= limit, alignment.rawValue <= limit else { throw .tooLarge }
    let block = block(UInt(byteCount.rawValue), UInt(alignment.rawValue))
    guard block != 0 else { throw .exhausted }
    return Allocation(of: byteCount, blockOf: self, at: block)
  }

  /// Frees a block that ``Allocation/leak()`` let go of.
  ///
  /// What is not a block of this heap, and a block that is freed twice in a row, ends the program with a line
  /// on standard error that says why.
  ///
  /// - Parameter leaked: What `leak` answered; only its start counts.
  /// - Complexity: O(1) in most cases.
  @unsafe
  public func deallocate(_ leaked: UnsafeMutableRawBufferPointer) {
    free(UInt(bitPattern: leaked.baseAddress))
  }

  /// Returns free memory to the system until `reserve` of it is left resident: empty blocks of this heap,
  /// and the free pages of its arena.
  ///
  /// What has been free for a quarter of a second also goes back by itself while blocks of this heap are freed.
  ///
  /// - Parameter reserve: What may stay resident; below zero counts as zero.
  /// - Returns: What went back.
  /// - Complexity: As ``Arena/trim(keeping:)``. Allocations of this heap wait for the first part.
  @discardableResult
  public func trim(keeping reserve: ByteCount = .zero) -> ByteCount {
    ByteCount(pages: core.trim(own, keep: UInt(max(reserve.rawValue, 0)) >> Page.shift))
  }

  /// A block of zero bytes, or 0. Never a mapping of its own: that would lie outside of the arena.
  private func block(_ bytes: UInt, _ alignment: UInt) -> UInt {
    if bytes <= SizeClass.largestBytes, alignment <= SizeClass.largestBytes,
      let sizeClass = SizeClass(bytes: bytes, alignment: max(alignment, 16))
    {
      let block = core.allocateSmall(own, sizeClass)
      if block != 0 { bellows_zero(block, bytes) }
      return block
    }
    guard let run = core.allocateRun(own, bytes: bytes, alignment: max(alignment, Page.granuleBytes)) else {
      return 0
    }
    if !run.isZero { bellows_zero(run.address, bytes) }
    return run.address
  }

  /// Frees as a thread without a heap does: what lies in a shard in use waits there for the next allocation.
  /// The thread heap is many threads' here, so the paths by which a thread frees in its own are not for it.
  func free(_ block: UInt) {
    precondition(core.free(block, nil), "not a block of this heap")
  }
}
