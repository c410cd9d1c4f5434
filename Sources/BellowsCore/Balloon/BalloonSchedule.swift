// When a balloon tries again: delays that double, and a long rest after the last try.
//
//            all done                      some is missing, tries left
//     done ◄────────── (a round) ──────────────────────────────────────► again, after the delay
//      ▲                   │
//      │ a new target      │ some is missing, no tries left
//      └───────────────────┴──────────────────────────────────────────► resting
//
// The figures are those of the Xen balloon (drivers/xen/balloon.c): a lack of memory passes in seconds or stays for a
// while, and a balloon that asks all the time makes it worse.

package struct BalloonSchedule: BitwiseCopyable, Equatable, Sendable {
  /// What a balloon is up to.
  package enum State: UInt8, BitwiseCopyable, Sendable {
    /// The target is met.
    case done
    /// Some is missing: another round is due after the delay.
    case again
    /// Tried often enough: the next round is due after the rest.
    case resting
  }

  package private(set) var state: State = .done
  /// Rounds that failed in a row.
  package private(set) var failures: UInt32 = 0
  /// Milliseconds until the next round, from the last one; 0 while none is due.
  package private(set) var delay: UInt64 = 0

  /// Milliseconds before the second try.
  package static var firstDelay: UInt64 { 1000 }
  package static var longestDelay: UInt64 { 32000 }
  /// Tries in a row before the rest.
  package static var tries: UInt32 { 4 }
  package static var rest: UInt64 { 3_600_000 }

  package init() {}

  /// Takes in what a round came to.
  package mutating func note(isMet: Bool) {
    guard !isMet else {
      self = BalloonSchedule()
      return
    }
    failures &+= 1
    if failures >= Self.tries {
      state = .resting
      delay = Self.rest
      // After the rest it starts anew.
      failures = 0
    } else {
      delay = state == .again ? min(delay &* 2, Self.longestDelay) : Self.firstDelay
      state = .again
    }
  }
}
