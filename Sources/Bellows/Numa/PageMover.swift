// Moves pages between nodes, of this process or another. The steps are the engine's (PageMigration); here are the order,
// the room, the deadline and the account.
//
//   count what is on the sources ─► is there room? ─► pass over all ranges, batch by batch ─► anything left? again, at most 5
//                                    │ no                                                        │ no, or the deadline
//                                    ▼                                                           ▼
//                                 thrown, nothing has moved                                    the outcome

import BellowsCore
import CShims
import Glibc

/// Moves pages to other nodes while the program runs: addresses and contents stay.
///
/// Works for any memory of a process, whoever allocated it: nothing is told to it, and pointers stay valid. What is
/// allocated meanwhile goes where its policy says; give that the other nodes first.
public struct PageMover: Sendable {
  /// How far a move is.
  public struct Progress: Hashable, Sendable {
    /// Pages that have been looked at in this pass.
    public var visitedPages: Int
    /// Pages of all ranges, resident or not.
    public var totalPages: Int
    /// Pages that have moved.
    public var movedPages: Int
    /// The number of the pass, from 1.
    public var pass: Int
  }

  /// Why pages stayed.
  public enum Reason: String, Hashable, Sendable, Codable, CaseIterable {
    /// The kernel is at work on them, or they are pinned for a device. Another try may help.
    case busy
    /// The same, in memory that is locked (`mlock`). Of the process heap alone: elsewhere they count as busy.
    case locked
    /// Other processes have them mapped too.
    case shared
    /// The targets had no memory left.
    case noRoom
    /// The deadline came first, the caller stopped it, or the program touched them first meanwhile.
    case notReached
    /// The kernel gave another reason.
    case other
  }

  /// Pages that stayed for one reason.
  public struct Blocker: Hashable, Sendable, Encodable {
    /// Why.
    public var reason: Reason
    /// How many.
    public var pages: Int
  }

  /// What a move came to, counted after it.
  public struct Outcome: Hashable, Sendable, Encodable {
    /// The version of this form; changes when a field changes its meaning.
    public var schema = 1
    /// Pages that were on a source node and are not any more.
    public var movedPages: Int
    /// Pages that are still there.
    public var leftPages: Int
    /// What became of those.
    public var blockers: [Blocker]
    /// The lowest address that stayed.
    public var firstLeft: UInt?
    /// The passes that it took.
    public var passes: Int
    /// The time that it took, in seconds.
    public var seconds: Double

    /// Whether nothing is left on the sources.
    public var isComplete: Bool { leftPages == 0 }
  }

  /// Why a move did not begin.
  @nonexhaustive
  public enum Failure: Error, Hashable, Sendable {
    /// The targets have `available` free where `needed` is to move.
    case notEnoughRoom(needed: ByteCount, available: ByteCount)
    /// A source is a target too, there is no target, or a number is beyond 63.
    case invalidNodes
    /// The kernel refuses: no such process or node, or no permission.
    case refused(errno: Int32)
  }

  /// The nodes that pages leave.
  public let sources: [NodeNumber]
  /// The nodes that they go to: the first one as long as it has room, then the next.
  public let targets: [NodeNumber]
  /// The process; 0: this one.
  package let process: Int32
  private let mask: NodeMask

  /// Makes a mover from `sources` to `targets`, for this process.
  ///
  /// - Throws: ``Failure/invalidNodes``.
  public init(from sources: [NodeNumber], to targets: [NodeNumber]) throws(Failure) {
    try self.init(from: sources, to: targets, process: 0)
  }

  package init(from sources: [NodeNumber], to targets: [NodeNumber], process: Int32) throws(Failure) {
    guard let mask = NodeMask(sources), let others = NodeMask(targets), mask.bits != 0, others.bits != 0,
      mask.bits & others.bits == 0
    else { throw .invalidNodes }
    self.sources = sources
    self.targets = targets
    self.process = process
    self.mask = mask
  }

  /// Moves what is on the sources.
  ///
  /// - Parameters:
  ///   - ranges: Addresses. What is not resident, or elsewhere, costs a third of a microsecond a page.
  ///   - limit: The time after which no further batch of 512 pages is begun; nil: none.
  ///   - progress: Called after each batch; false stops.
  /// - Returns: What moved, and what stayed for which reason: a move that could not be finished is not an error.
  /// - Throws: ``Failure/notEnoughRoom(needed:available:)`` or ``Failure/refused(errno:)``; nothing has moved then.
  /// - Complexity: O(pages). A page that moves is copied.
  public func move(
    _ ranges: [AddressRange], within limit: Duration? = nil, progress: (Progress) -> Bool = { _ in true }
  ) throws(Failure) -> Outcome {
    let clock = ContinuousClock()
    let begin = clock.now
    let end = limit.map { begin + $0.bounded }
    let total = ranges.reduce(0) { $0 + $1.byteCount.rawValue / 4096 }
    try requireRoom(ranges)

    var moved = 0
    var last = PageMigration()
    var passes = 0
    var isStopped = false
    while passes < Self.mostPasses, !isStopped {
      passes += 1
      last = PageMigration()
      var visited = 0
      for range in ranges {
        forEachBatch(range) { address, pages in
          if isStopped { return }
          if let end, clock.now >= end {
            isStopped = true
            return
          }
          guard let part = migrate(address, pages) else { return }
          last += part
          visited += Int(pages)
          isStopped = !progress(
            Progress(
              visitedPages: visited, totalPages: total, movedPages: moved + Int(last.moved), pass: passes))
        }
      }
      moved += Int(last.moved)
      // Busy pages are worth another try; the others are not, but what the program wrote meanwhile is found too.
      if last.left == 0 && last.found == last.moved && (passes > 1 || last.found == 0) { break }
      if last.left > 0 && last.busy == 0 { break }
    }
    let left = Int((try? count(ranges)) ?? last.left)
    return Outcome(
      movedPages: moved, leftPages: left, blockers: blockers(last, left: left),
      firstLeft: left == 0 || last.firstLeft == 0 ? nil : last.firstLeft, passes: passes,
      seconds: Self.seconds(clock.now - begin))
  }

  /// Throws ``Failure/notEnoughRoom(needed:available:)`` unless the targets can take what is on the sources.
  func requireRoom(_ ranges: [AddressRange]) throws(Failure) {
    let needed = Int(try count(ranges)) * 4096
    let room = targets.reduce(0) { $0 + NodeRoom.bytes(on: $1) }
    guard needed <= room else { throw .notEnoughRoom(needed: .bytes(needed), available: .bytes(room)) }
  }

  /// Passes over all ranges at most: pages that are busy are so for milliseconds, those that are pinned for ever.
  private static let mostPasses = 5

  private func blockers(_ last: PageMigration, left: Int) -> [Blocker] {
    let counted: [(Reason, UInt)] = [
      (.busy, last.busy), (.shared, last.shared), (.noRoom, last.refused), (.other, last.other),
    ]
    var named = counted.filter { $0.1 > 0 }.map { Blocker(reason: $0.0, pages: min(Int($0.1), left)) }
      .filter { $0.pages > 0 }
    let rest = left - named.reduce(0) { $0 + $1.pages }
    if rest > 0 { named.append(Blocker(reason: .notReached, pages: rest)) }
    return named
  }

  private func count(_ ranges: [AddressRange]) throws(Failure) -> UInt {
    var found: UInt = 0
    for range in ranges {
      var isRefused = false
      forEachBatch(range) { address, pages in
        if isRefused { return }
        guard let part = platform.migrate(address, pages: pages, from: mask.bits, to: nil) else {
          isRefused = true
          return
        }
        found += part.found
      }
      if isRefused { throw .refused(errno: refusal(range)) }
    }
    return found
  }

  private func refusal(_ range: AddressRange) -> Int32 {
    var result: Int32 = 0
    var address = range.start
    return unsafe Int32(-bellows_move_pages(process, 1, &address, nil, &result))
  }

  /// To the first target that has room for a batch.
  private func migrate(_ address: UInt, _ pages: UInt) -> PageMigration? {
    let target = targets.first { NodeRoom.bytes(on: $0) >= Int(pages) * 4096 } ?? targets[0]
    return platform.migrate(address, pages: pages, from: mask.bits, to: UInt32(target.rawValue))
  }

  private func forEachBatch(_ range: AddressRange, _ body: (UInt, UInt) -> Void) {
    var address = range.start & ~(Page.bytes - 1)
    while address < range.end {
      let pages = min(PageMigration.batchPages, (range.end - address + Page.bytes - 1) >> Page.shift)
      body(address, pages)
      address += pages << Page.shift
    }
  }

  /// The engine's step, with its one system call made for the process in question.
  private var platform: Platform {
    Platform(context: UInt(process)) { process, _, count, addresses, nodes, results in
      unsafe bellows_move_pages(
        Int32(process), Int(bitPattern: count), UnsafePointer(bitPattern: addresses),
        UnsafePointer(bitPattern: nodes),
        UnsafeMutablePointer(bitPattern: results))
    }
  }

  static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }
}

extension PageMover {
  /// Moves all private memory of a process, whoever allocated it.
  package static func moveAll(
    of process: Int32, from sources: [NodeNumber], to targets: [NodeNumber], within limit: Duration? = nil,
    progress: (Progress) -> Bool = { _ in true }
  ) throws(Failure) -> Outcome {
    let mover = try PageMover(from: sources, to: targets, process: process)
    guard let maps = ProcessMappings(reading: SystemFiles(), process: process == 0 ? "self" : "\(process)")
    else {
      throw .refused(errno: ESRCH)
    }
    // A mapping that is not accessible may still have pages: protection does not take them away. But a reservation of
    // terabytes has none, and would be asked about page by page: numa_maps knows which mappings have any.
    let populated = Set(
      NumaMaps(reading: SystemFiles(), process: process == 0 ? "self" : "\(process)")?.mappings
        .filter { !$0.pages.isEmpty }.map(\.start) ?? maps.mappings.map(\.range.start))
    let ranges = maps.mappings.filter { $0.isPrivate && populated.contains($0.range.start) }.map(\.range)
    return try mover.move(ranges, within: limit, progress: progress)
  }
}
