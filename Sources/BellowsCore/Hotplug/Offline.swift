// What a caller asks of an offline, and what it is told.

/// What happens to a section that cannot go as a whole.
package enum OfflinePolicy: UInt8, BitwiseCopyable, Sendable {
  /// It comes back: all of it can be allocated again, and nothing of it was returned to the system.
  case wholeOnly
  /// Pageblocks that are wholly free stay out of circulation, the others come back, the section is online.
  /// (Linux: virtio-mem.)
  case keepPartial
  /// It stays on its way: what is freed goes, nothing is allocated, until somebody asks again or brings it back.
  case stay
}

/// One offline: its policy and its bounds. There is always a bound.
package struct OfflineRequest: BitwiseCopyable, Sendable {
  package var policy: OfflinePolicy
  /// Milliseconds (CLOCK_MONOTONIC_COARSE) after which no further pass begins.
  package var deadline: UInt64
  /// Passes at most; 0: as many as fit before the deadline.
  package var passes: UInt32
  /// The address of a 32-bit word that becomes non-zero when the caller wants it to end; 0: none.
  package var cancelWord: UInt
  /// Whether the memmap of a section that goes stays resident.
  package var keepsMemmap: Bool
  /// Whether a cancelled one leaves nothing behind, whatever its policy: who asked is gone, and nobody knows what to bring back.
  package var isUndoneWhenCancelled = false

  package init(
    policy: OfflinePolicy, deadline: UInt64 = 0, passes: UInt32 = 0, cancelWord: UInt = 0,
    keepsMemmap: Bool = true
  ) {
    self.policy = policy
    self.deadline = deadline
    self.passes = passes
    self.cancelWord = cancelWord
    self.keepsMemmap = keepsMemmap
  }
}

/// What holds a page of a section that should go.
package struct Blocker: BitwiseCopyable, Sendable {
  package enum Kind: UInt32, BitwiseCopyable, Sendable {
    case none
    /// Live blocks of a size class; `detail` is its block size.
    case blocks
    /// Live blocks of whole pages.
    case runs
    /// Pages that were allocated as such.
    case pages
    /// A thread that runs and has not acknowledged the cage; `detail` is its number.
    case thread
    /// Relocatable blocks that are pinned; `detail` is the first one's handle.
    case pinned
    /// Relocatable blocks in memory that is locked (mlock), which they may not leave: `detail` is the first one's handle. With
    /// `detail` 0 free pages that the system does not take back: locked ones before Linux 5.18, or it refuses for another reason.
    case locked
    // 7 was kept for allocations that reach into another section. There are none: a run lies in one section, which has its own
    // pageblocks and descriptors, and what is larger than a section holds is a mapping of its own.
    /// A listener objected; `detail` is its errno, `count` its place in the chain.
    case vetoed = 8
  }

  package var kind: Kind
  package var detail: UInt
  /// Blocks, runs, pages, threads; in `bytes` what they take of the section.
  package var count: UInt
  package var bytes: UInt
}

/// What an offline came to: exact in pages.
package struct OfflineReport: BitwiseCopyable {
  /// Sections that are offline now, and those that are so in part.
  package var wholeSections: UInt = 0
  package var partialSections: UInt = 0
  /// Pages that are out of circulation now, of the sections that were asked for, and pages that are not.
  package var takenPages: UInt = 0
  package var leftPages: UInt = 0
  /// Pages that went back to the system during the call.
  package var returnedPages: UInt = 0
  /// Pages that were out of circulation and are back: of a section that was offline all.
  package var broughtPages: UInt = 0
  /// Pageblocks that are out of circulation as a whole.
  package var wholeBlocks: UInt = 0
  package var passes: UInt = 0
  package var pieces = Pieces()
  package private(set) var blockers: InlineArray<48, Blocker> = InlineArray(
    repeating: Blocker(kind: .none, detail: 0, count: 0, bytes: 0))
  package private(set) var blockerCount: Int = 0

  @inline(__always) package init() {}

  /// Counts a blocker; one with the same kind and detail becomes larger.
  package mutating func add(_ kind: Blocker.Kind, _ detail: UInt, count: UInt, bytes: UInt) {
    for place in 0..<blockerCount where blockers[place].kind == kind && blockers[place].detail == detail {
      blockers[place].count = blockers[place].count &+ count
      blockers[place].bytes = blockers[place].bytes &+ bytes
      return
    }
    // There are fewer size classes than places; threads beyond that are counted with the last one.
    let place = blockerCount < 48 ? blockerCount : 47
    if blockerCount < 48 { blockerCount &+= 1 }
    blockers[place].kind = kind
    blockers[place].detail = detail
    blockers[place].count = blockers[place].count &+ count
    blockers[place].bytes = blockers[place].bytes &+ bytes
  }
}

/// What listeners are told.
package enum OfflineEvent: UInt32, BitwiseCopyable, Sendable {
  /// Nothing is allocated in the range any more; a listener may object.
  case goingOffline
  /// It stays, wholly or in part.
  case cancelOffline
  case offline
  /// It is back.
  case online
}

/// The errno values of a transition.
package enum HotplugErrno {
  package static var notPermitted: Int32 { 1 }
  package static var interrupted: Int32 { 4 }
  package static var outOfMemory: Int32 { 12 }
  package static var busy: Int32 { 16 }
  package static var invalid: Int32 { 22 }
  package static var deadlock: Int32 { 35 }
}

/// Who uses the pages of a section: what the engine cannot know by itself.
package protocol OfflineClient {
  /// Tells the listeners; an errno where one of them objects (to `goingOffline` alone).
  func announce(_ event: OfflineEvent, _ section: SectionRef, _ report: inout OfflineReport) -> Int32
  /// Nothing more is allocated in the section.
  func began(_ section: SectionRef)
  /// Gives back what is kept for later allocations, caches of all kinds: once a pass.
  func drain()
  /// The same for what is kept with a section's own pages.
  func drain(_ section: SectionRef)
  /// Says what holds the pages that are still allocated. `isTried`: what can move was to move; else it was not asked to, because
  /// a listener objected, and holds nothing.
  func explain(_ section: SectionRef, isTried: Bool, _ report: inout OfflineReport)
  /// The section is back in circulation after `began`, or offline.
  func ended(_ section: SectionRef, isOffline: Bool)
  func wait(milliseconds: UInt64)
}
