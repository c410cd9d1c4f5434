// Times to wait, for the engine: milliseconds, and never more than there can be.

import CShims

extension Duration {
  /// Whole milliseconds, rounded up: 0 of what is negative, and 30,000 years at most.
  var milliseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    guard seconds < 1 << 40 else { return 1000 << 40 }
    return UInt64(seconds) * 1000 + (UInt64(attoseconds) + 999_999_999_999_999) / 1_000_000_000_000_000
  }

  /// The engine's time when it is over.
  var deadline: UInt64 { bellows_clock_milliseconds() + milliseconds }

  /// What can be added to a clock's time.
  var bounded: Duration { .milliseconds(milliseconds) }
}
