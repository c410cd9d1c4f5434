/// Memory from an arena or a heap, in the hands of its one owner.
///
/// The bytes are zero at first. They are freed when the owner goes, and the arena lives at least as long.
///
/// An allocation can be handed to another thread, or read by several; writing takes exclusive access, which
/// the compiler sees to.
@safe
public struct Allocation: ~Copyable, Sendable {
  /// The number of bytes that were asked for.
  public let byteCount: ByteCount

  private enum Source {
    case arena(Arena)
    case heap(Heap)
  }
  private let source: Source
  /// 0: let go of.
  private var start: UInt

  init(of byteCount: ByteCount, pagesOf arena: Arena, at start: UInt) {
    self.byteCount = byteCount
    self.start = start
    source = .arena(arena)
  }

  init(of byteCount: ByteCount, blockOf heap: Heap, at start: UInt) {
    self.byteCount = byteCount
    self.start = start
    source = .heap(heap)
  }

  deinit {
    guard start != 0 else { return }
    switch source {
    case .arena(let arena): arena.free(start, byteCount)
    case .heap(let heap): heap.free(start)
    }
  }

  /// Where the bytes lie.
  public var addressRange: AddressRange { AddressRange(start: start, byteCount: byteCount) }

  /// The bytes, to read.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeStart: pointer, byteCount: byteCount.rawValue)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The bytes, to write.
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeStart: pointer, byteCount: byteCount.rawValue)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Lets go of the memory without freeing it.
  ///
  /// Hand it back with ``Arena/deallocate(_:)`` or ``Heap/deallocate(_:)``, whichever it came from, and keep
  /// that alive until then: the memory goes with its arena.
  ///
  /// - Returns: The bytes.
  @unsafe
  public consuming func leak() -> UnsafeMutableRawBufferPointer {
    let leaked = unsafe UnsafeMutableRawBufferPointer(start: pointer, count: byteCount.rawValue)
    start = 0
    return unsafe leaked
  }

  private var pointer: UnsafeMutableRawPointer {
    unsafe UnsafeMutableRawPointer(bitPattern: start).unsafelyUnwrapped
  }
}
