// Random numbers that can be had again: every failure message carries the seed.
//
//   BELLOWS_SEED=1234 swift test --filter BellowsCoreTests

import Foundation
import Testing

/// SplitMix64.
struct Random: RandomNumberGenerator {
  let seed: UInt64
  private var state: UInt64

  /// The seed of this run: BELLOWS_SEED, or the clock.
  static let runSeed: UInt64 =
    ProcessInfo.processInfo.environment["BELLOWS_SEED"].flatMap { UInt64($0) }
    ?? UInt64(Date().timeIntervalSince1970 * 1000)

  init(stream: UInt64 = 0) {
    seed = Self.runSeed
    state = seed &+ stream &* 0x632b_e59b_d9b4_e019
  }

  mutating func next() -> UInt64 {
    state = state &+ 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z &>> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z &>> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z &>> 31
  }

  /// A number below `limit`.
  mutating func below(_ limit: UInt) -> UInt {
    UInt(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(limit)).high)
  }

  /// A number of `range`, small ones as likely as large ones: uniform in the exponent.
  mutating func spread(_ range: ClosedRange<UInt>) -> UInt {
    let top = UInt(UInt.bitWidth) - UInt(range.upperBound.leadingZeroBitCount)
    let value = below(1 &<< (below(top) + 1))
    return min(max(value, range.lowerBound), range.upperBound)
  }

  /// True once in `times`.
  mutating func chance(oneIn times: UInt) -> Bool { below(times) == 0 }
}

/// What a random test found, with the seed that finds it again.
struct Violation: Error, CustomStringConvertible {
  let description: String
}

/// Ends the test at the first violation: `#expect` in a loop of a million steps is too slow, and what follows
/// a broken invariant says nothing.
func check(
  _ holds: Bool, _ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) throws {
  if !holds {
    throw Violation(description: "\(file):\(line): \(message()) [BELLOWS_SEED=\(Random.runSeed)]")
  }
}

func check<Value: Equatable>(
  _ value: Value, is expected: Value, _ message: @autoclosure () -> String,
  file: StaticString = #fileID, line: UInt = #line
) throws {
  try check(value == expected, "\(message()): \(value), not \(expected)", file: file, line: line)
}
