// How much the process heap may hold.

import CShims
import Glibc

extension ProcessHeap {
  /// The limits of the process heap, and what is compared with them.
  public struct Limits: Hashable, Sendable, Codable {
    /// Above it free memory goes back at once, and new sections come only when that brought no room; nil: none.
    public var soft: ByteCount?
    /// What would go above it fails with ENOMEM; nil: none.
    public var hard: ByteCount?
    /// Pages that blocks lie in, free pages that were not yet returned, and huge blocks.
    public var held: ByteCount

    /// Makes limits with what is held.
    public init(soft: ByteCount?, hard: ByteCount?, held: ByteCount) {
      self.soft = soft
      self.hard = hard
      self.held = held
    }
  }

  /// The limits of this moment; nil where the malloc of this process is not Bellows.
  public static func limits() -> Limits? {
    guard isInstalled, let fill = unsafe dlsym(nil, "bellows_statistics") else { return nil }
    typealias Fill = @convention(c) (UnsafeMutablePointer<bellows_statistics>, Int) -> Void
    var figures = bellows_statistics()
    unsafe unsafeBitCast(fill, to: Fill.self)(&figures, MemoryLayout<bellows_statistics>.size)
    return Limits(
      soft: figures.soft_limit == 0 ? nil : .bytes(figures.soft_limit),
      hard: figures.hard_limit == 0 ? nil : .bytes(figures.hard_limit), held: .bytes(figures.held))
  }

  /// Limits what the process heap may hold; nil: no limit.
  ///
  /// What counts are whole pages as they are handed out, touched or not. While there is no limit it costs nothing.
  /// Any thread.
  ///
  /// - Returns: False, and nothing changed, where the malloc of this process is not Bellows, a limit is negative, or the
  ///   soft limit is above the hard one.
  @discardableResult
  public static func setLimits(soft: ByteCount?, hard: ByteCount? = nil) -> Bool {
    guard isInstalled, let set = unsafe dlsym(nil, "bellows_limit") else { return false }
    let bytes = [soft, hard].map { $0?.rawValue ?? 0 }
    guard bytes.allSatisfy({ $0 >= 0 }) else { return false }
    typealias Set = @convention(c) (Int, Int, UnsafeRawPointer?, UnsafeRawPointer?) -> Int32
    return unsafe unsafeBitCast(set, to: Set.self)(bytes[0], bytes[1], nil, nil) == 0
  }
}
