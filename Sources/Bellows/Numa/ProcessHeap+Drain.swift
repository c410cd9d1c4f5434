import CShims
import Glibc

extension ProcessHeap {
  /// What emptying a node, or bringing its memory home, came to: as the kernel counts pages.
  public struct DrainReport: Hashable, Sendable, Encodable {
    /// The version of this form; changes when a field changes its meaning.
    public var schema = 1
    /// What was to move when it began.
    public var found: ByteCount
    /// What the nodes that it went to could take then.
    public var room: ByteCount
    /// What moved.
    public var moved: ByteCount
    /// Free memory that went back to the system instead.
    public var returned: ByteCount
    /// What is still to move.
    public var left: ByteCount
    /// What became of that.
    public var blockers: [PageMover.Blocker]
    /// The first address that was left behind.
    public var firstLeft: UInt?
    /// Sections that went offline, or came back.
    public var sections: Int
    /// The passes over all memory.
    public var passes: Int

    /// Whether nothing is left to move.
    public var isComplete: Bool { left == .zero }
  }

  /// Why a node was not emptied, or did not get its memory back.
  @nonexhaustive
  public enum DrainError: Error, Hashable, Sendable {
    /// The malloc of this process is not Bellows, or an older one.
    case notInstalled
    /// Another thread takes sections offline, or brings them back, at this moment.
    case busy
    /// Asked by a listener of such a change.
    case calledByListener
    /// There is no such node, or no other one; on the way home: it was not emptied.
    case invalidNode
    /// The other nodes have `available` free where `needed` is to move: nothing has changed.
    case notEnoughRoom(needed: ByteCount, available: ByteCount)
    /// The kernel does not let pages move, or a system call filter is in force.
    case notPermitted
  }

  /// Empties a NUMA node of the process heap while threads run: blocks keep their addresses, the pages under them move.
  ///
  /// First nothing new is allocated there, then sections in which nothing is left go offline, then what lives there moves to
  /// the nearest other nodes: blocks, page descriptors, records. The node is left out until
  /// ``bringHome(_:within:progress:)``, also where something stayed. Stacks and memory that malloc did not hand out are
  /// not the heap's: ``PageMover`` moves these.
  ///
  /// - Parameters:
  ///   - node: The node to empty.
  ///   - limit: The time after which no further batch of 512 pages is begun.
  ///   - progress: Called after each batch with what has moved and what was to move; false stops.
  /// - Returns: What moved, and what stayed and why: that something stayed is no error.
  /// - Throws: ``DrainError``; nothing has changed then.
  /// - Complexity: 0.2 us for each page in use, and 3 us for each one that moves.
  @discardableResult
  public static func drain(
    _ node: NodeNumber, within limit: Duration = .seconds(60),
    progress: (_ moved: ByteCount, _ total: ByteCount) -> Bool = { _, _ in true }
  ) throws(DrainError) -> DrainReport {
    try perform("bellows_drain_node", node, limit, progress)
  }

  /// Lets a node that was emptied serve again: its sections come back online, and what lies in them moves there.
  ///
  /// What never had a node (blocks above 64 MiB, records) stays where it is. Parameters as of
  /// ``drain(_:within:progress:)``.
  ///
  /// - Throws: ``DrainError``; after ``DrainError/notEnoughRoom(needed:available:)`` the node serves again, and nothing has
  ///   moved.
  @discardableResult
  public static func bringHome(
    _ node: NodeNumber, within limit: Duration = .seconds(60),
    progress: (_ moved: ByteCount, _ total: ByteCount) -> Bool = { _, _ in true }
  ) throws(DrainError) -> DrainReport {
    try perform("bellows_bring_home", node, limit, progress)
  }

  private typealias Step = (ByteCount, ByteCount) -> Bool
  private typealias Function =
    @convention(c) (
      Int32, UInt32, UnsafePointer<Int32>?, (@convention(c) (UnsafeMutableRawPointer?, Int, Int) -> Int32)?,
      UnsafeMutableRawPointer?, UnsafeMutablePointer<bellows_drain_report>?, Int
    ) -> Int32

  private static func perform(
    _ name: String, _ node: NodeNumber, _ limit: Duration, _ progress: Step
  ) throws(DrainError) -> DrainReport {
    guard isInstalled, let symbol = unsafe dlsym(nil, name) else { throw .notInstalled }
    guard 0..<64 ~= node.rawValue else { throw .invalidNode }
    var report = bellows_drain_report()
    let error = withoutActuallyEscaping(progress) { progress in
      var step = progress
      return unsafe withUnsafeMutablePointer(to: &step) { step in
        unsafe unsafeBitCast(symbol, to: Function.self)(
          Int32(node.rawValue), UInt32(clamping: limit.milliseconds), nil,
          { context, done, total in
            guard let step = unsafe context?.assumingMemoryBound(to: Step.self) else { return 0 }
            return unsafe step.pointee(.bytes(done), .bytes(total)) ? 0 : 1
          }, step, &report, MemoryLayout<bellows_drain_report>.size)
      }
    }
    switch error {
    case 0, EINTR: break
    case EBUSY where report.passes > 0: break
    case EBUSY: throw .busy
    case EDEADLK: throw .calledByListener
    case EINVAL: throw .invalidNode
    case ENOMEM: throw .notEnoughRoom(needed: .bytes(report.found), available: .bytes(report.room))
    case ENOSYS: throw .notInstalled
    default: throw .notPermitted
    }
    return DrainReport(report)
  }
}

extension ProcessHeap.DrainReport {
  fileprivate init(_ report: bellows_drain_report) {
    found = .bytes(report.found)
    room = .bytes(report.room)
    moved = .bytes(report.moved)
    returned = .bytes(report.returned)
    left = .bytes(report.left)
    let counted: [(PageMover.Reason, Int)] = [
      (.busy, report.busy), (.locked, report.locked), (.shared, report.shared), (.noRoom, report.no_room),
      (.notReached, report.not_reached), (.other, report.other),
    ]
    blockers = counted.filter { $0.1 > 0 }.map { PageMover.Blocker(reason: $0.0, pages: $0.1 / 4096) }
    firstLeft = report.first_left == 0 ? nil : UInt(report.first_left)
    sections = Int(report.sections)
    passes = Int(report.passes)
  }
}
