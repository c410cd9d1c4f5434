// How the engine's answers become those of bellows.h.

import BellowsCoreEmbedded
import CShims

enum Answer {
  static let noSystem: Int32 = 38

  /// 0, or the errno that `body` throws.
  static func number(_ body: () throws(Refusal) -> Void) -> Int32 {
    do throws(Refusal) {
      try body()
      return 0
    } catch {
      return error.number
    }
  }

  /// Reads what a caller handed in: its first `size` bytes, and of `initial` what lies behind them.
  static func read<Options>(_ initial: Options, from source: UInt, size: UInt) -> Options {
    var options = initial
    guard source != 0 else { return options }
    unsafe withUnsafeMutableBytes(of: &options) { memory in
      bellows_copy(UInt(bitPattern: memory.baseAddress), source, min(size, UInt(bitPattern: memory.count)))
    }
    return options
  }

  /// Writes the first `size` bytes of `value` to the caller's.
  static func write<Value>(_ value: Value, to target: UInt, size: UInt) {
    var value = value
    unsafe withUnsafeMutableBytes(of: &value) { memory in
      bellows_copy(target, UInt(bitPattern: memory.baseAddress), min(size, UInt(bitPattern: memory.count)))
    }
  }
}
