import BellowsCore
import CShims

extension Arena {
  /// Allocates pages that lie in a row.
  ///
  /// - Parameters:
  ///   - pages: The number of pages of 4 KiB.
  ///   - alignment: What the address is a multiple of: a power of two; below a page counts as a page.
  ///   - node: Whose section they come from where one has room, else from the nearest that has; nil: from whichever.
  ///   - isMovable: Whether the owner gives them up when their section goes offline, as an observer of
  ///     ``HotplugEvent/goingOffline``. Only such pages come from movable zones, and from there first.
  /// - Returns: The pages, all zero, in the hands of an owner that frees them.
  /// - Throws: ``AllocationError/invalidByteCount``, ``AllocationError/invalidAlignment``,
  ///   ``AllocationError/tooLarge`` where no section can hold that, or ``AllocationError/exhausted``. The arena
  ///   is as it was then.
  /// - Complexity: O(1) up to a pageblock (1/64 of a section, at most 2 MiB), O(sections) above; and clearing
  ///   the pages where they were used before.
  public func allocate(
    pages: Int, alignment: ByteCount = 1, near node: NodeNumber? = nil, isMovable: Bool = false
  ) throws(AllocationError) -> Allocation {
    guard pages > 0 else { throw .invalidByteCount }
    guard pages <= configuration.sectionSize.rawValue >> Page.shift else { throw .tooLarge }
    return Allocation(
      of: .pages(pages), pagesOf: self, at: try allocate(UInt(pages), alignment, node, isMovable))
  }

  /// Allocates whole pages for `byteCount` bytes.
  ///
  /// - Parameters:
  ///   - byteCount: The number of bytes. The rest of the last page is the allocation's too, but out of sight.
  ///   - alignment: What the address is a multiple of: a power of two; below a page counts as a page.
  /// - Returns: The bytes, all zero, in the hands of an owner that frees them.
  /// - Throws: As ``allocate(pages:alignment:near:)``.
  /// - Complexity: As ``allocate(pages:alignment:near:)``.
  public func allocate(byteCount: ByteCount, alignment: ByteCount = 1) throws(AllocationError) -> Allocation {
    guard byteCount > .zero else { throw .invalidByteCount }
    guard byteCount <= configuration.sectionSize else { throw .tooLarge }
    let address = try allocate(Page.count(UInt(byteCount.rawValue)), alignment)
    return Allocation(of: byteCount, pagesOf: self, at: address)
  }

  /// Frees pages that ``Allocation/leak()`` let go of. Traps where they are not in this arena.
  ///
  /// - Parameter leaked: What `leak` answered: the same start and the same count.
  /// - Complexity: O(1) a pageblock.
  @unsafe
  public func deallocate(_ leaked: UnsafeMutableRawBufferPointer) {
    let start = UInt(bitPattern: leaked.baseAddress)
    precondition(start.isAligned(to: Page.bytes), "not the start of an allocation of pages")
    free(start, .bytes(leaked.count))
  }

  func free(_ start: UInt, _ byteCount: ByteCount) {
    let pages = Page.count(UInt(byteCount.rawValue))
    guard let section = core.section(at: start),
      start - section.it.base + pages << Page.shift <= core.it.geometry.sectionBytes
    else { preconditionFailure("not an allocation of this arena") }
    core.zone(of: section).free(section, address: start, pages: pages)
  }

  private func allocate(
    _ pages: UInt, _ alignment: ByteCount, _ node: NodeNumber? = nil, _ isMovable: Bool = false
  ) throws(AllocationError) -> UInt {
    guard alignment > .zero, UInt(alignment.rawValue).isPowerOfTwo else { throw .invalidAlignment }
    let step = max(UInt(alignment.rawValue), Page.bytes)
    guard
      let run = core.allocate(
        pages: pages, alignment: step >> Page.shift, isMovable: isMovable,
        node: node.map { Int32(clamping: max($0.rawValue, 0)) } ?? -1)
    else {
      // Sections that host their descriptors themselves have room for less than a section.
      let geometry = core.it.geometry
      let (end, overflow) = geometry.memmapBytes.rounded(upTo: step)
        .addingReportingOverflow(pages << Page.shift)
      throw overflow || end > geometry.sectionBytes ? .tooLarge : .exhausted
    }
    if !run.isZero { bellows_zero(run.address, run.bytes) }
    return run.address
  }
}
