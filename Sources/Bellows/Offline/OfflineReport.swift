import BellowsCore

/// What happens to a section that cannot go offline as a whole.
public enum OfflinePolicy: String, Hashable, Sendable, Codable, CaseIterable {
  /// It comes back as it was: all of it can be allocated again, and nothing was returned to the system.
  case wholeOnly
  /// Its wholly free pageblocks (2 MiB, less in small sections) stay out of circulation, the rest comes back.
  /// (The way of Linux' virtio-mem.)
  case keepPartial
  /// It stays on its way: what is freed in it goes back to the system at once, and nothing is allocated there, until
  /// somebody goes on with it or brings it back.
  case stay
}

/// What an offline came to, exact in pages.
///
/// An allocation never reaches into another section, so none can be in the way of a section that it does not lie in: pages come
/// from one section, and what is larger than a section holds is refused, or by malloc mapped apart.
public struct OfflineReport: Hashable, Sendable, Codable {
  /// What holds memory that was to go.
  public struct Blocker: Hashable, Sendable, Codable {
    /// The kinds of what holds memory.
    @nonexhaustive
    public enum Reason: Hashable, Sendable, Codable {
      /// Live blocks of a size class, by its block size.
      case blocks(ByteCount)
      /// Live blocks above 32 KiB.
      case runs
      /// Pages that were allocated as such, or withheld by a balloon.
      case pages
      /// A thread that runs and has not acknowledged that the section goes, by its number.
      case thread(Int)
      /// Relocatable blocks that are pinned.
      case pinned
      /// Relocatable blocks in memory that the program locked (`mlock`), which they may not leave; or free pages that the system
      /// does not take back: locked ones before Linux 5.18, which drops them.
      case locked
      /// A listener objected, with an errno.
      case vetoed(Int32)
    }

    /// Why it holds.
    public var reason: Reason
    /// How many: blocks, runs, pages or shards; of a veto, the number of the listener.
    public var count: Int
    /// What they take of the sections.
    public var byteCount: ByteCount
  }

  /// Out of circulation now, of the sections that were asked for.
  public var taken: ByteCount
  /// Of these sections, what is not.
  public var left: ByteCount
  /// Resident memory that went back to the system during the call.
  public var returned: ByteCount
  /// Sections that went as a whole.
  public var sections: Int
  /// Sections of which a part went, or that are on their way.
  public var partialSections: Int
  /// The number of passes over the sections.
  public var passes: Int
  /// By order: how many pieces of 2^order pages were taken in one.
  public var pieces: [Int]
  /// What is in the way.
  public var blockers: [Blocker]

  /// Whether all went that was asked for.
  public var isWhole: Bool { left == .zero && blockers.isEmpty }
}

/// Why sections did not go offline, or come back, as asked.
@nonexhaustive
public enum OfflineError: Error, Hashable, Sendable {
  /// No section is there, or it is neither online nor on its way.
  case noSuchSection
  /// Another thread takes sections offline, or brings them back, at this moment.
  case busy
  /// Asked by a listener of such a change.
  case calledByListener
  /// Fewer sections than asked for are out of circulation.
  case noneLeft
  /// The malloc of this process is not Bellows.
  case notInstalled
}

extension OfflineReport.Blocker.Reason {
  init?(_ kind: UInt32, detail: Int) {
    guard let kind = BellowsCore.Blocker.Kind(rawValue: kind) else { return nil }
    switch kind {
    case .blocks: self = .blocks(.bytes(detail))
    case .runs: self = .runs
    case .pages: self = .pages
    case .thread: self = .thread(detail)
    case .pinned: self = .pinned
    case .locked: self = .locked
    case .vetoed: self = .vetoed(Int32(truncatingIfNeeded: detail))
    case .none: return nil
    }
  }
}

extension OfflineReport {
  init(_ report: BellowsCore.OfflineReport) {
    taken = ByteCount(pages: report.takenPages)
    left = ByteCount(pages: report.leftPages)
    returned = ByteCount(pages: report.returnedPages)
    sections = Int(report.wholeSections)
    partialSections = Int(report.partialSections)
    passes = Int(report.passes)
    pieces = (0..<Int(Pieces.orders)).map { Int(report.pieces.taken[$0]) }
    blockers = (0..<report.blockerCount).compactMap { place in
      let blocker = report.blockers[place]
      guard let reason = Blocker.Reason(blocker.kind.rawValue, detail: Int(bitPattern: blocker.detail)) else {
        return nil
      }
      return Blocker(
        reason: reason, count: Int(blocker.count), byteCount: .bytes(Int(bitPattern: blocker.bytes)))
    }
  }
}

extension OfflinePolicy {
  var core: BellowsCore.OfflinePolicy {
    switch self {
    case .wholeOnly: .wholeOnly
    case .keepPartial: .keepPartial
    case .stay: .stay
    }
  }
}
