// How a section's memory was made: where its descriptors lie, who had a hand in it, who gets its pages.
//
// Lies in the section's record, so that adding one needs no memory for it. Written by whoever has the section's
// token (`Section.token`).

/// Where the descriptors of a section lie.
package enum MemmapPlacement: UInt8, BitwiseCopyable, Sendable {
  /// At the section's own start. Refused where the geometry cannot.
  case required
  /// At the section's own start where the geometry can, else outside.
  case preferred
  /// In a mapping of its own.
  case outside
  /// In memory of the caller's.
  case storage
  /// In one of the memmaps that the arena keeps in reserve.
  case reserve
}

/// What somebody else does to a section on its way in and out. Each function may be left out. They run with no lock
/// held, and are handed the address of a `SectionPlan`.
@safe
package struct SectionStrategy: BitwiseCopyable, Sendable {
  package typealias Step = @convention(c) (_ context: UInt, _ plan: UInt) -> Int32
  package typealias Ending = @convention(c) (_ context: UInt, _ plan: UInt) -> Void

  /// Before the memmap is placed: may change the altmap. 0 or an errno.
  package var setUp: Step?
  /// When all descriptors are valid and nobody else sees them: 0 or an errno, which ends as if never added.
  package var construct: Step?
  /// When the section goes, or its addition fails behind `setUp`: its memmap has gone by then.
  package var tearDown: Ending?
  package var context: UInt

  package init(setUp: Step? = nil, construct: Step? = nil, tearDown: Ending? = nil, context: UInt = 0) {
    self.setUp = setUp
    self.construct = construct
    self.tearDown = tearDown
    self.context = context
  }
}

/// What a strategy sees.
package struct SectionPlan: BitwiseCopyable, Sendable {
  package var arena: UInt
  package var base: UInt
  package var bytes: UInt
  /// Where the descriptors lie; 0 in `setUp` and `tearDown`.
  package var memmap: UInt
  package var memmapBytes: UInt
  /// May be changed in `setUp`. All zero where the section does not host itself.
  package var altmap: Altmap
  package var node: Int
}

/// Who gets the pages of a section when it comes online. Without one they are the page allocator's.
@safe
package struct OnlineHook: BitwiseCopyable, Sendable {
  /// `(context, arena, address, pages)`: an aligned run, the largest that its address allows. 0 gives it to the page
  /// allocator; 1 keeps it: its pages are withheld until `Arena.supply` gives them to the allocator, in whatever pieces.
  package typealias Function =
    @convention(c) (_ context: UInt, _ arena: UInt, _ address: UInt, _ pages: UInt) -> Int32

  package var function: Function?
  package var context: UInt

  package init(function: Function? = nil, context: UInt = 0) {
    self.function = function
    self.context = context
  }
}

package struct SectionMemory: BitwiseCopyable {
  /// The node that the section is bound to; -1: none in particular.
  package var node: Int32
  package var placement: MemmapPlacement
  /// It went offline when its node was drained, and comes back with it.
  package var isDrained: Bool
  package var flags: UInt16
  /// The memory group that it belongs to; 0: none.
  package var group: UInt32
  /// Of a self-hosted memmap; else all zero.
  package var altmap: Altmap
  package var strategy: SectionStrategy
  package var hook: OnlineHook

  package static var selfHosted: UInt16 { 1 }
  /// Visible to listings and daemons.
  package static var registered: UInt16 { 2 }
  /// All descriptors are resident, and stay so.
  package static var populated: UInt16 { 4 }
  /// The memmap was advised to be of huge pages.
  package static var huge: UInt16 { 8 }
  /// Kept offline in reserve.
  package static var spare: UInt16 { 16 }
  /// `setUp` has run, `tearDown` has not.
  package static var isSetUp: UInt16 { 32 }
  /// It is the first memory of its node on the way in, or the last on the way out.
  package static var decidesNode: UInt16 { 64 }

  /// Counted among its node's online sections.
  package static var counted: UInt16 { 128 }

  /// Added by need for a thread on its node: that comes first, and others where it is full.
  package static var prefersNode: UInt16 { 256 }
  /// All of it was accessible when it was about to leave its zone.
  package static var wasWhole: UInt16 { 512 }
  /// Its body was inaccessible before it was asked to come online.
  package static var opened: UInt16 { 1024 }
  /// No descriptor was resident before that.
  package static var filled: UInt16 { 2048 }
  /// A removal under way has made it inaccessible.
  package static var isClosed: UInt16 { 4096 }
  /// Of what the arena began with: an automatic choice of zones measures against it. (Linux: boot memory.)
  package static var early: UInt16 { 8192 }
  /// The zone that it is in, or was in last, is a movable one.
  package static var movable: UInt16 { 16384 }
  /// Counted in that zone and in its group: it is online there or on its way.
  package static var joined: UInt16 { 32768 }

  package func has(_ flag: UInt16) -> Bool { flags & flag != 0 }
  package mutating func set(_ flag: UInt16, _ value: Bool = true) {
    flags = value ? flags | flag : flags & ~flag
  }
}
