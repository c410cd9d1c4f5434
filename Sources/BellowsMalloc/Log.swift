// BELLOWS_LOG: what happened to the heap, a line an event, as words or as JSON, without allocation.
//
//   bellows[4711]: limit kind=soft held=67121152 soft=67108864 hard=0
//   {"time":1763690000.123,"process":4711,"event":"limit","kind":"soft","held":67121152,...}
//
// The line is put where the helper finds it, which writes it (log.c) and is there from the start because of that. What could
// not be written is counted, and said as soon as it can be: `log lost=3`.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Log {
  @inline(__always)
  static var isOn: Bool { Watch.words.it.log_kind != 0 }
  private static var isJSON: Bool { Watch.words.it.log_is_json != 0 }

  /// Takes over the value of BELLOWS_LOG: a descriptor or a file name, and perhaps ",json". False: neither.
  static func open(_ value: UInt) -> Bool {
    var end = value
    var comma: UInt = 0
    while case let byte = Ref<UInt8>(end).it, byte != 0 {
      if byte == 44 { comma = end }
      end = end &+ 1
    }
    var isJSON = false
    if comma != 0, Settings.isEqual(comma &+ 1, "json") {
      isJSON = true
      end = comma
    }
    guard end != value else { return false }
    if let number = Settings.number(value, until: end) {
      guard number < 1 << 20 else { return false }
      Watch.words.it.log_descriptor = Int32(truncatingIfNeeded: number)
      Watch.words.it.log_kind = 1
    } else {
      guard bellows_absolute_path(value, end &- value, Watch.logPath) else { return false }
      Watch.words.it.log_kind = 2
    }
    Watch.words.it.log_is_json = isJSON ? 1 : 0
    return true
  }

  /// Nothing is to be written, for a reason that is said.
  static func drop(_ reason: StaticString) {
    Settings.ignore("BELLOWS_LOG", reason)
    Watch.words.it.log_kind = 0
  }

  // MARK: Called by the helper

  /// The descriptor that the helper is to take over from the program; -1: none.
  static var descriptorToKeep: Int32 {
    Watch.words.it.log_kind == 1 && !bellows_log_was_opened() ? Watch.words.it.log_descriptor : -1
  }

  static func openAgain() {
    guard isOn else { return }
    bellows_log_open(Watch.words.it.log_kind == 2 ? Watch.logPath : 0, Watch.words.it.log_descriptor)
  }

  static func writeWaiting() {
    guard isOn, bellows_log_waiting() != 0 else { return }
    let lost = bellows_log_lost()
    if lost != 0 {
      var event = Event("log")
      event.add("lost", UInt(lost))
      // Where that cannot be written either, they count on.
      if !event.writeNow() { bellows_log_lose(lost) }
    }
    bellows_log_write_waiting()
  }

  /// At the end of the process: what waits is written, if that takes no longer than a tenth of a second.
  static func end() {
    var tries = 0
    while isOn, Helper.isThere, bellows_log_waiting() != 0, tries < 20 {
      Helper.ring()
      bellows_sleep_milliseconds(5)
      tries &+= 1
    }
  }

  // MARK: Called by anybody

  /// Writes what pages went back since the last line about it; not urgent: at most ten lines a second.
  static func notePurges(isUrgent: Bool) {
    guard isOn else { return }
    let words = Watch.words
    let returned = UInt64(Process.arena.returnedPages())
    guard returned != words.it.log_returned else { return }
    let now = bellows_clock_milliseconds()
    guard isUrgent || now &- words.it.log_time >= 100 else { return }
    let bytes = (returned &- words.it.log_returned) &<< UInt64(Page.shift)
    words.it.log_returned = returned
    words.it.log_time = now
    var event = Event("purge")
    event.add("returned", UInt(bytes))
    event.add("total", UInt(returned) &<< Page.shift)
    event.write()
  }

  /// A line on its way.
  struct Event: ~Copyable {
    private var line: Line

    init(_ name: StaticString) {
      line = Line()
      if isJSON {
        let now = bellows_wall_milliseconds()
        line.append("{\"time\":")
        line.append(UInt(now / 1000))
        line.append(".")
        line.append(UInt(now % 1000), digits: 3)
        line.append(",\"process\":")
        line.append(Process.processID)
        line.append(",\"event\":\"")
        line.append(name)
        line.append("\"")
      } else {
        line.append("bellows[")
        line.append(Process.processID)
        line.append("]: ")
        line.append(name)
      }
    }

    private mutating func key(_ name: StaticString) {
      line.append(isJSON ? ",\"" : " ")
      line.append(name)
      line.append(isJSON ? "\":" : "=")
    }

    mutating func add(_ name: StaticString, _ value: UInt) {
      key(name)
      line.append(value)
    }

    mutating func add(_ name: StaticString, _ word: StaticString) {
      key(name)
      if isJSON { line.append("\"") }
      line.append(word)
      if isJSON { line.append("\"") }
    }

    /// An address: in quotes where JSON, whose numbers end at 2^53.
    mutating func add(_ name: StaticString, address: UInt) {
      key(name)
      if isJSON { line.append("\"") }
      line.append(hex: address)
      if isJSON { line.append("\"") }
    }

    consuming func write() {
      if isJSON { line.append("}") }
      line.write { bellows_log_put($0, $1) }
      Helper.ring()
    }

    /// The helper alone.
    fileprivate consuming func writeNow() -> Bool {
      if isJSON { line.append("}") }
      var isWritten = false
      line.write { isWritten = bellows_log_write($0, $1) }
      return isWritten
    }
  }
}

@c(bellows_log_ended)
func logEnded() { Log.end() }
