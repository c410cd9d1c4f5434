import BellowsCore

/// Memory that may move: a block of whole pages that has no address but while it is pinned.
///
/// When its section goes offline, an unpinned block is copied elsewhere; its owner does not notice. A pinned one stays
/// and is named in the report, and so does one whose pages were locked (`mlock`), unless it can go where memory is locked, too. It
/// lies in a movable zone where the arena has one with room.
///
/// ```swift
/// var block = try arena.allocateRelocatable(byteCount: .mebibytes(1))
/// block.withPinned { $0[0] = 1 }
/// ```
///
/// The bytes are zero at first. They are freed when the owner goes. A block can be handed to another thread.
@safe
public struct RelocatableBlock: ~Copyable, Sendable {
  /// The number of bytes that were asked for. The rest of the last page is the block's too, but out of sight.
  public let byteCount: ByteCount

  private let arena: Arena
  private let table: RelocatablesRef
  private let handle: RelocatableHandle
  /// Pins for long that are under way.
  private var longPins = 0

  init(of byteCount: ByteCount, in arena: Arena, _ table: RelocatablesRef, _ handle: RelocatableHandle) {
    self.byteCount = byteCount
    self.arena = arena
    self.table = table
    self.handle = handle
  }

  deinit {
    for _ in 0..<longPins { table.unpin(handle) }
    // Nobody else can have a pin; the block may be on the move for a moment.
    while !table.free(handle) { continue }
  }

  /// Calls `body` with the bytes, to write; they stay where they are until it returns.
  ///
  /// - Parameter body: What to do. It may throw.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws.
  /// - Complexity: O(1); waits for a copy of this block where it is being moved.
  public mutating func withPinned<R: ~Copyable, E: Error>(
    _ body: (inout MutableRawSpan) throws(E) -> R
  ) throws(E) -> R {
    let start = unsafe UnsafeMutableRawPointer(bitPattern: hold()).unsafelyUnwrapped
    defer { table.unpin(handle) }
    var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: byteCount.rawValue)
    return try body(&span)
  }

  /// Calls `body` with the bytes, to read; they stay where they are until it returns.
  ///
  /// - Parameter body: What to do. It may throw.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws.
  /// - Complexity: As ``withPinned(_:)``.
  public func withBytes<R: ~Copyable, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let start = unsafe UnsafeRawPointer(bitPattern: hold()).unsafelyUnwrapped
    defer { table.unpin(handle) }
    return try body(unsafe RawSpan(_unsafeStart: start, byteCount: byteCount.rawValue))
  }

  /// Keeps the bytes where they are until ``unpin()``, or until the block goes: for who keeps their address, as a device does.
  ///
  /// A block in a movable zone is moved to a normal one first, so that the movable zone's sections can still go offline. Where
  /// no normal zone has room, or the block is locked (`mlock`), it stays, and holds its section.
  ///
  /// - Returns: Where the bytes are.
  /// - Complexity: A copy of the block where it has to move, else O(1).
  public mutating func pin() -> AddressRange {
    let start = table.pinForLong(handle)!
    longPins += 1
    return AddressRange(start: start, byteCount: byteCount)
  }

  /// Ends a ``pin()``. Traps where there is none.
  public mutating func unpin() {
    precondition(longPins > 0, "not pinned")
    longPins -= 1
    table.unpin(handle)
  }

  /// Whether it is pinned at this moment.
  public var isPinned: Bool { table.isPinned(handle) }

  private func hold() -> UInt { table.pin(handle)! }
}

extension Arena {
  /// Allocates a relocatable block of whole pages.
  ///
  /// Such blocks lie in pageblocks of their own, apart from what cannot move.
  ///
  /// - Parameter byteCount: The number of bytes.
  /// - Returns: The block, all zero, in the hands of an owner that frees it.
  /// - Throws: ``AllocationError/invalidByteCount``, ``AllocationError/tooLarge`` above half a section, or
  ///   ``AllocationError/exhausted``.
  /// - Complexity: As ``allocate(pages:alignment:near:)``.
  public func allocateRelocatable(byteCount: ByteCount) throws(AllocationError) -> RelocatableBlock {
    guard byteCount > .zero else { throw .invalidByteCount }
    guard byteCount.rawValue <= configuration.sectionSize.rawValue / 2 else { throw .tooLarge }
    guard let table = relocatables(), let handle = table.allocate(pages: Page.count(UInt(byteCount.rawValue)))
    else { throw .exhausted }
    return RelocatableBlock(of: byteCount, in: self, table, handle)
  }
}
