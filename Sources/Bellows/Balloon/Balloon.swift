import BellowsCore
import CShims
import SystemPackage

/// Pages of an arena that are there and that nobody can use, because no memory is behind them.
///
/// ```swift
/// let balloon = try arena.makeBalloon(.init(floor: .mebibytes(64)))
/// try balloon.addSection()                       // 128 MiB more in the arena, none of it memory yet
/// balloon.deflate(by: .mebibytes(8))             // 8 MiB of it become memory, for anybody to allocate
/// balloon.inflate(by: .mebibytes(4))             // 4 MiB of free memory go back to the system
/// ```
///
/// *Deflating* binds memory to pages and gives them to the arena's allocator; *inflating* takes free pages away and
/// returns what is behind them to the system. So the balloon says how much memory the arena may use, page by page,
/// and the resident size follows. A section may come online with all its pages in the balloon. Xen's and Hyper-V's guests
/// live with such balloons; the figures of the retries are Xen's.
///
/// An allocation that is about to fail deflates what it needs, down to ``Configuration/kept``. Inflating leaves
/// ``Configuration/floor`` to the program: below that, no allocation fails because of the balloon.
///
/// A balloon keeps its arena alive. When the balloon goes, its pages become ordinary free pages. All functions may be
/// called from any thread; they wait for each other.
public final class Balloon: Sendable {
  /// What is taken and given as one.
  public enum Unit: Hashable, Sendable, Codable {
    /// A page of 4 KiB.
    case page
    /// A pageblock, which is 2 MiB in sections of 128 MiB and more; bound as a huge page where the system has them.
    case pageblock
  }

  /// What may be chosen when a balloon is made.
  public struct Configuration: Hashable, Sendable, Codable {
    /// What is taken and given as one.
    public var unit: Unit
    /// What inflating leaves to the arena's allocator.
    public var floor: ByteCount
    /// What an allocation that is about to fail leaves in the balloon, unless the arena has less than ``floor``.
    public var kept: ByteCount
    /// Whether allocations about to fail may deflate it at all.
    public var answersShortage: Bool
    /// Whether ``advance()`` adds sections for a target that is beyond what the balloon holds.
    public var grows: Bool

    /// Makes a configuration.
    public init(
      unit: Unit = .page, floor: ByteCount = .zero, kept: ByteCount = .zero, answersShortage: Bool = true,
      grows: Bool = false
    ) {
      self.unit = unit
      self.floor = floor
      self.kept = kept
      self.answersShortage = answersShortage
      self.grows = grows
    }
  }

  /// What a call changed.
  public struct Change: Hashable, Sendable {
    /// What was bound or returned; a multiple of the unit.
    public var byteCount: ByteCount
    /// Why it was not more; nil where all was done.
    public var reason: Errno?

    /// Makes a change of `byteCount` that ended for `reason`.
    public init(byteCount: ByteCount, reason: Errno? = nil) {
      self.byteCount = byteCount
      self.reason = reason
    }
  }

  /// The figures of a balloon at one moment.
  public struct Statistics: Hashable, Sendable, Codable {
    /// What it holds.
    public var held: ByteCount
    /// What the arena's allocator has, in use or free.
    public var managed: ByteCount
    /// Bound since the start, of that for allocations that were about to fail, and returned: running sums.
    public var deflated: ByteCount
    public var relieved: ByteCount
    public var inflated: ByteCount
  }

  /// The arena whose pages it holds.
  public let arena: Arena
  /// What was chosen when it was made.
  public let configuration: Configuration

  private let core: BalloonRef

  fileprivate init(in arena: Arena, core: BalloonRef, configuration: Configuration) {
    self.arena = arena
    self.core = core
    self.configuration = configuration
  }

  deinit { arena.core.retire(core) }

  // MARK: Pages

  /// Adds a section to the arena and brings it online with all of its pages in the balloon. With memory blocks of several
  /// sections (``Arena/Configuration/sectionsPerBlock``) it adds a block of them.
  ///
  /// - Returns: Its place, or the first section's. Of its memory the descriptors are resident: 1/64.
  /// - Throws: `ENOMEM` where the arena's capacity is used up or the system refuses. The arena is as it was then.
  /// - Complexity: O(pages of a section).
  @discardableResult
  public func addSection() throws(Errno) -> SectionIndex { try arena.addSection(for: .balloon(core)) }

  /// Binds memory to held pages and gives them to the allocator. The resident size grows by exactly what is answered.
  ///
  /// - Parameter byteCount: How much, rounded up to the unit; below zero counts as zero.
  /// - Returns: What was bound. The reason is `ENOSPC` where the balloon holds no more, `ENOMEM` where the system has no
  ///   memory.
  /// - Complexity: About 0.3 ms per MiB, for the kernel to clear the pages.
  @discardableResult
  public func deflate(by byteCount: ByteCount) -> Change { change(core.deflate(pages(byteCount))) }

  /// Takes free pages from the allocator and returns the memory behind them.
  ///
  /// - Parameter byteCount: How much, rounded up to pages; below zero counts as zero.
  /// - Returns: What was returned. The reason is `ENOSPC` at the floor, `EBUSY` where no more is free in whole units,
  ///   `ENOMEM` where the system refuses.
  /// - Complexity: O(pages): one or two system calls for each run of free pages.
  @discardableResult
  public func inflate(by byteCount: ByteCount) -> Change { change(core.inflate(pages(byteCount))) }

  /// Lets go of the pages that it holds of one section: they become ordinary free pages, none of them resident. After that
  /// the section can go offline.
  ///
  /// - Returns: What was let go.
  /// - Complexity: O(pages of the section, runs that the balloon holds).
  @discardableResult
  public func letGo(of section: SectionIndex) -> ByteCount {
    let size = UInt(arena.configuration.sectionSize.rawValue)
    guard section.rawValue >= 0, UInt(section.rawValue) < UInt(arena.addressRange.byteCount.rawValue) / size
    else {
      return .zero
    }
    let start = arena.addressRange.start + UInt(section.rawValue) * size
    return ByteCount(pages: core.letGo(from: start, to: start + size))
  }

  /// The figures of this moment.
  public func statistics() -> Statistics {
    core.lock.acquire()
    defer { core.lock.release() }
    let balloon = core.it
    return Statistics(
      held: ByteCount(pages: balloon.held.pages), managed: ByteCount(pages: core.managedPages),
      deflated: ByteCount(pages: balloon.deflatedPages), relieved: ByteCount(pages: balloon.relievedPages),
      inflated: ByteCount(pages: balloon.inflatedPages))
  }

  // MARK: Target

  /// Sets how much the arena's allocator shall have. Nothing happens but in ``advance()`` and ``follow()``.
  ///
  /// - Parameter byteCount: The target, rounded down to pages; below zero counts as zero.
  public func setTarget(_ byteCount: ByteCount) {
    core.setTarget(UInt(max(byteCount.rawValue, 0)) >> Page.shift)
  }

  /// What is missing to the target; below zero: what is too much.
  public var credit: ByteCount { .pages(core.credit) }

  /// Goes towards the target, if a round is due.
  ///
  /// A round that does not get there is followed by others after 1, 2 and 4 seconds; then the balloon rests for an
  /// hour. A new target ends all waiting.
  ///
  /// - Returns: What was bound or returned. The reason is `EAGAIN` where no round is due yet or the target was changed
  ///   meanwhile; else as ``deflate(by:)`` and ``inflate(by:)``.
  /// - Complexity: As those.
  @discardableResult
  public func advance() -> Change { change(core.advance(bellows_clock_milliseconds())) }

  /// The time until the next round; nil where the target is met.
  public var nextRound: Duration? {
    core.lock.acquire()
    defer { core.lock.release() }
    guard core.it.schedule.state != .done else { return nil }
    let now = bellows_clock_milliseconds()
    return .milliseconds(core.it.due > now ? Int(core.it.due - now) : 0)
  }

  /// Follows the target until the task is cancelled: looks once a second, and when a round is due.
  public func follow() async throws {
    while true {
      advance()
      try await Task.sleep(for: min(nextRound ?? .seconds(1), .seconds(1)))
    }
  }

  private func pages(_ byteCount: ByteCount) -> UInt { Page.count(UInt(max(byteCount.rawValue, 0))) }

  private func change(_ outcome: BalloonOutcome) -> Change {
    Change(
      byteCount: ByteCount(pages: outcome.pages), reason: outcome.reason.map { Errno(rawValue: $0.number) })
  }
}

extension Arena {
  /// Makes a balloon that holds nothing.
  ///
  /// - Parameter configuration: Its unit and its bounds; below zero they count as zero.
  /// - Returns: The balloon.
  /// - Throws: `ENOMEM` where the system has no memory for the record.
  /// - Complexity: O(1).
  public func makeBalloon(_ configuration: Balloon.Configuration = .init()) throws(Errno) -> Balloon {
    let isHuge = configuration.unit == .pageblock
    let traits = BalloonTraits(
      unitPages: isHuge ? core.it.geometry.pageblockPages : 1, isHuge: isHuge,
      floorPages: Page.count(UInt(max(configuration.floor.rawValue, 0))),
      keptPages: Page.count(UInt(max(configuration.kept.rawValue, 0))),
      answersShortage: configuration.answersShortage, isGrowing: configuration.grows)
    guard let record = core.makeBalloon(traits) else { throw .noMemory }
    return Balloon(in: self, core: record, configuration: configuration)
  }

  /// Adds a section and brings it online, with all of its pages in `owner`'s hands.
  func addSection(for owner: FreshOwner) throws(Errno) -> SectionIndex {
    guard let section = core.addSection(for: owner) else { throw .noMemory }
    return SectionIndex(
      rawValue: Int((section.it.base - addressRange.start) >> core.it.geometry.sectionShift))
  }
}
