// The environment: BELLOWS_* variables, read once at start without allocation.
//
//   BELLOWS_CHECK=1              check every free: double frees, interior pointers, wrong sizes
//   BELLOWS_OFF=1                step aside: glibc's malloc serves
//   BELLOWS_PURGE_DELAY=250      milliseconds that free memory stays resident
//   BELLOWS_THREAD=0|1           have no thread of ours at all, or the helper from the start
//   BELLOWS_STATISTICS=1|json    print the figures of malloc_stats at exit
//   BELLOWS_CONTROL=1            take commands of the tool: trim, limit, offline, online
//   BELLOWS_LIMIT=SOFT[:HARD]    how much the heap may hold
//   BELLOWS_LOG=FD|FILE[,json]   a line for each event
//   BELLOWS_DEEPBIND=1           leave RTLD_DEEPBIND to dlopen
//
// Unknown names and malformed values are reported once and ignored. A set-user-ID program ignores them all.

import BellowsCoreEmbedded
import CMalloc
import CShims

struct Settings: BitwiseCopyable {
  var isChecking: Bool
  var isOff: Bool
  enum Statistics: UInt8, BitwiseCopyable { case none, text, json }
  var statistics: Statistics
  var hasControl: Bool
  var keepsDeepBinding: Bool
  /// In bytes; 0: none.
  var softLimit: UInt
  var hardLimit: UInt
  /// The helper thread: 0 in programs that have threads, 1 never, 2 always.
  var helper: UInt8
  var purgeDelay: UInt64

  private static var names: InlineArray<20, StaticString> {
    [
      "CHECK", "OFF", "PURGE_DELAY", "THREAD", "STATISTICS", "CONTROL", "LIMIT", "LOG",
      "DEEPBIND",
      // What the tool and the tests read: not ours.
      "LIB", "SOAK", "BENCH_EXTRA", "PROGRAMS", "VM_KERNEL",
      "TRACE", "TRACE_PROCESS", "TRACE_SAMPLED", "TRACE_CHILDREN", "WORKLOAD", "RECORDER",
    ]
  }

  mutating func read() {
    self = Settings(
      isChecking: false, isOff: false, statistics: .none, hasControl: false, keepsDeepBinding: false,
      softLimit: 0, hardLimit: 0, helper: 0, purgeDelay: 250)
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

  /// Says what cannot be had because no thread of ours may be: control and the log.
  mutating func dropWhatTakesThreads() {
    guard helper == 1 || bellows_saw_filter() else { return }
    let reason: StaticString =
      helper == 1 ? ": BELLOWS_THREAD=0" : ": a system call filter is in force"
    if hasControl { Self.ignore("BELLOWS_CONTROL", reason) }
    hasControl = false
    if Log.isOn { Log.drop(reason) }
  }

  static func ignore(_ name: StaticString, _ reason: StaticString) {
    var line = Line()
    line.append("bellows: ignoring ")
    line.append(name)
    line.append(reason)
    line.write()
  }

  /// Takes over one "NAME=value"; false if it means nothing.
  private mutating func apply(_ entry: UInt) -> Bool {
    for index in 0..<Self.names.count {
      guard let value = Self.match(entry, Self.names[index]) else { continue }
      return set(index, value)
    }
    return false
  }

  private mutating func set(_ name: Int, _ value: UInt) -> Bool {
    switch name {
    case 2:
      guard let number = Self.number(value), number <= 3_600_000 else { return false }
      purgeDelay = UInt64(number)
      return true
    case 4 where Self.isEqual(value, "json"):
      statistics = .json
      return true
    case 6: return setLimit(value)
    case 7: return Log.open(value)
    case 9...: return true
    default: break
    }
    guard let number = Self.number(value), number <= 1 else { return false }
    switch name {
    case 0: isChecking = number == 1
    case 1: isOff = number == 1
    case 3: helper = number == 0 ? 1 : 2
    case 4: statistics = number == 1 ? .text : .none
    case 5: hasControl = number == 1
    default: keepsDeepBinding = number == 1
    }
    return true
  }

  /// SOFT, SOFT:HARD or :HARD.
  private mutating func setLimit(_ value: UInt) -> Bool {
    var colon = value
    while case let byte = Ref<UInt8>(colon).it, byte != 0, byte != 58 { colon = colon &+ 1 }
    var soft: UInt = 0
    var hard: UInt = 0
    if colon != value {
      guard let size = Self.size(value, until: colon) else { return false }
      soft = size
    }
    if Ref<UInt8>(colon).it != 0 {
      guard let size = Self.size(colon &+ 1, until: Self.end(of: colon)) else { return false }
      hard = size
    }
    guard soft != 0 || hard != 0, hard == 0 || soft <= hard else { return false }
    softLimit = soft
    hardLimit = hard
    return true
  }

  private static func end(of text: UInt) -> UInt {
    var place = text
    while Ref<UInt8>(place).it != 0 { place = place &+ 1 }
    return place
  }

  /// A number of bytes with K, M, G or T behind it, or none.
  private static func size(_ text: UInt, until end: UInt) -> UInt? {
    guard end != text else { return nil }
    var shift: UInt = 0
    switch Ref<UInt8>(end &- 1).it {
    case 75, 107: shift = 10
    case 77, 109: shift = 20
    case 71, 103: shift = 30
    case 84, 116: shift = 40
    default: break
    }
    guard let number = number(text, until: shift == 0 ? end : end &- 1) else { return nil }
    return number < 1 &<< (62 &- shift) ? number &<< shift : nil
  }

  /// Whether the C string at `text` is `word`.
  static func isEqual(_ text: UInt, _ word: StaticString) -> Bool {
    let expected = UInt(bitPattern: unsafe UnsafeRawPointer(word.utf8Start))
    let count = UInt(bitPattern: word.utf8CodeUnitCount)
    for index in 0..<count where Ref<UInt8>(text &+ index).it != Ref<UInt8>(expected &+ index).it {
      return false
    }
    return Ref<UInt8>(text &+ count).it == 0
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

  private static func number(_ text: UInt) -> UInt? { number(text, until: end(of: text)) }

  /// A decimal number of up to twelve digits, and nothing behind it.
  static func number(_ text: UInt, until end: UInt) -> UInt? {
    guard end != text, end &- text <= 12 else { return nil }
    var result: UInt = 0
    for place in text..<end {
      let digit = Ref<UInt8>(place).it
      guard digit >= 48, digit <= 57 else { return nil }
      result = result &* 10 &+ UInt(digit &- 48)
    }
    return result
  }
}
