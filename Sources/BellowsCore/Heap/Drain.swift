// What a caller asks of a drain, and what it is told.

/// A node to empty, or to fill again, and the bounds of that.
@safe
package struct DrainRequest: BitwiseCopyable, Sendable {
  /// `(context, done, total)` in pages, after each batch; not 0 ends it. With no lock held.
  package typealias Progress = @convention(c) (_ context: UInt, _ done: UInt, _ total: UInt) -> Int32

  package var node: Int32
  /// Milliseconds (CLOCK_MONOTONIC_COARSE) after which no further batch begins.
  package var deadline: UInt64
  /// The address of a 32-bit word that becomes non-zero when the caller wants it to end; 0: none.
  package var cancelWord: UInt
  /// Memory of the engine's that no arena knows: the static storage of the process heap. 0 bytes: none.
  package var ownStart: UInt = 0
  package var ownBytes: UInt = 0
  /// The stacks of its threads: start and bytes.
  package var stacks = InlineArray<2, (start: UInt, bytes: UInt)>(repeating: (0, 0))
  package var progress: Progress?
  package var context: UInt

  package init(
    node: Int32, deadline: UInt64, cancelWord: UInt = 0, progress: Progress? = nil, context: UInt = 0
  ) {
    self.node = node
    self.deadline = deadline
    self.cancelWord = cancelWord
    self.progress = progress
    self.context = context
  }
}

/// What a drain came to: pages as the kernel counts them.
package struct DrainReport: BitwiseCopyable, Sendable {
  /// What was to move when it began.
  package var found: UInt = 0
  /// What the other nodes (or this one, on the way home) could take then.
  package var room: UInt = 0
  package var moved: UInt = 0
  /// Free pages that went back to the system instead.
  package var returned: UInt = 0
  /// What is still to move.
  package var left: UInt = 0
  /// Of these, why.
  package var busy: UInt = 0
  package var locked: UInt = 0
  package var shared: UInt = 0
  package var refused: UInt = 0
  package var notReached: UInt = 0
  package var other: UInt = 0
  /// The first address that was left behind; 0: none.
  package var firstLeft: UInt = 0
  /// Sections that went offline, or came back.
  package var sections: UInt = 0
  package var passes: UInt = 0

  package init() {}
}
