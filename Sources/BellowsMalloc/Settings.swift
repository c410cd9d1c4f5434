// The environment: BELLOWS_* variables, read once at start without allocation.
//
//   BELLOWS_CHECK=1              check every free: double frees, interior pointers, wrong sizes
//   BELLOWS_OFF=1                step aside: glibc's malloc serves
//   BELLOWS_PURGE_DELAY=250      milliseconds that free memory stays resident
//   BELLOWS_THREAD=0|1           never, or always, have a helper thread for that
//   BELLOWS_STATISTICS=1         print the figures of malloc_stats at exit
//
// Unknown names and malformed values are reported once and ignored. A set-user-ID program ignores them all.

import BellowsCoreEmbedded
import CMalloc
import CShims

struct Settings: BitwiseCopyable {
  var isChecking: Bool
  var isOff: Bool
  var printsStatistics: Bool
  /// The helper thread: 0 in programs that have threads, 1 never, 2 always.
  var helper: UInt8
  var purgeDelay: UInt64

  private static var names: InlineArray<10, StaticString> {
    [
      "CHECK", "OFF", "PURGE_DELAY", "THREAD", "STATISTICS", "LIB", "SOAK", "BENCH_EXTRA", "PROGRAMS",
      "VM_KERNEL",
    ]
  }

  mutating func read() {
    self = Settings(isChecking: false, isOff: false, printsStatistics: false, helper: 0, purgeDelay: 250)
    var place: UInt = 0
    while case let entry = bellows_environment(place), entry != 0 {
      _ = apply(entry)
      place = place &+ 1
    }
  }

  /// Says what could not be understood.
  func report() {
    var ignored = self
    var place: UInt = 0
    while case let entry = bellows_environment(place), entry != 0 {
      if !ignored.apply(entry) {
        var line = Line()
        line.append("bellows: ignoring BELLOWS_")
        line.append(cString: entry)
        line.append(": unknown name or malformed value")
        line.write()
      }
      place = place &+ 1
    }
  }

  /// Takes over one "NAME=value"; false if it means nothing.
  private mutating func apply(_ entry: UInt) -> Bool {
    for index in 0..<10 {
      guard let value = Self.match(entry, Self.names[index]) else { continue }
      return set(index, value)
    }
    return false
  }

  private mutating func set(_ name: Int, _ value: UInt) -> Bool {
    // What the tool and the tests read: not ours.
    if name >= 5 { return true }
    guard let number = Self.number(value) else { return false }
    if name == 2 {
      guard number <= 3_600_000 else { return false }
      purgeDelay = UInt64(number)
      return true
    }
    guard number <= 1 else { return false }
    switch name {
    case 0: isChecking = number == 1
    case 1: isOff = number == 1
    case 3: helper = number == 0 ? 1 : 2
    default: printsStatistics = number == 1
    }
    return true
  }

  /// The address behind "name=" if the C string at `entry` starts with it.
  private static func match(_ entry: UInt, _ name: StaticString) -> UInt? {
    let count = name.utf8CodeUnitCount
    let expected = UInt(bitPattern: unsafe UnsafeRawPointer(name.utf8Start))
    for index in 0..<UInt(bitPattern: count) {
      if Ref<UInt8>(entry &+ index).it != Ref<UInt8>(expected &+ index).it { return nil }
    }
    let end = entry &+ UInt(bitPattern: count)
    return Ref<UInt8>(end).it == 61 ? end &+ 1 : nil
  }

  /// A decimal number of up to nine digits, and nothing behind it.
  private static func number(_ text: UInt) -> UInt? {
    var place = text
    var result: UInt = 0
    while case let digit = Ref<UInt8>(place).it, digit != 0 {
      guard digit >= 48, digit <= 57, place &- text < 9 else { return nil }
      result = result &* 10 &+ UInt(digit &- 48)
      place = place &+ 1
    }
    return place == text ? nil : result
  }
}
