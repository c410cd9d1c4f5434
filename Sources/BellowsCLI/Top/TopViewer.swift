// The loop of `bellows top`: look, draw, wait for a key. The terminal is given back before anything else is said.

import Bellows
import CShims
import Glibc

/// A full-screen display of one process.
struct TopViewer {
  let target: TargetProcess
  let reader: HeapReader
  let style: Style
  let isUnicode: Bool
  var seconds: Double

  private var panel = TopScreen.Panel.sections
  private var scroll = 0
  private var isHeld = false

  init(target: TargetProcess, reader: HeapReader, style: Style, isUnicode: Bool, seconds: Double) {
    self.target = target
    self.reader = reader
    self.style = style
    self.isUnicode = isUnicode
    self.seconds = seconds
  }

  /// What a key asks for.
  private enum Wish {
    case nothing, redraw, quit
  }

  /// Shows the process until it ends or the user has seen enough.
  mutating func show() throws(TargetError) {
    var earlier: Sample?
    var now = try Sample(of: reader, withCensus: true)
    guard bellows_terminal_enter() else {
      throw .failed(target.id, what: "can be shown live on a terminal only; `--once` prints it for scripts")
    }
    defer { bellows_terminal_leave() }
    while true {
      draw(Interval(earlier: earlier, now: now))
      let next = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
      while true {
        let left = max(0, (next - .now) / .milliseconds(1))
        let event = bellows_terminal_wait(isHeld ? 3_600_000 : Int32(min(left.rounded(.up), 3_600_000)))
        if event == -1 { break }
        let wish = event < -1 ? signalled(-2 - event) : pressed(UInt8(truncatingIfNeeded: event))
        if wish == .quit { return }
        if wish == .redraw { draw(Interval(earlier: earlier, now: now)) }
      }
      if isHeld { continue }
      let sample: Sample
      do throws(TargetError) { sample = try Sample(of: reader, withCensus: true) } catch {
        if case .changing = error { continue }
        bellows_terminal_leave()
        if case .ended = error { return print("\(target.name) (\(target.id)) ended.") }
        throw error
      }
      earlier = now
      now = sample
    }
  }

  private mutating func signalled(_ number: Int32) -> Wish {
    switch number {
    case SIGWINCH: return .redraw
    case SIGTSTP:
      bellows_terminal_suspend()
      return .redraw
    default: return .quit
    }
  }

  private mutating func pressed(_ key: UInt8) -> Wish {
    switch UnicodeScalar(key) {
    case "q", "Q", "\u{3}": return .quit
    case "s": panel = .sections
    case "c": panel = .sizes
    case "t": panel = .threads
    case "j": scroll += 1
    case "k": scroll -= 1
    case " ": isHeld.toggle()
    case "+": seconds = min(60, seconds * 2)
    case "-": seconds = max(0.05, seconds / 2)
    case "\u{1b}": return escaped()
    default: return .nothing
    }
    if "sct".unicodeScalars.contains(UnicodeScalar(key)) { scroll = 0 }
    return .redraw
  }

  /// Arrow keys: ESC [ A and the like. ESC alone quits.
  private mutating func escaped() -> Wish {
    guard bellows_terminal_wait(20) == 0x5b else { return .quit }
    switch bellows_terminal_wait(20) {
    case 0x41: scroll -= 1
    case 0x42: scroll += 1
    case 0x35:
      scroll -= 10
      _ = bellows_terminal_wait(20)
    case 0x36:
      scroll += 10
      _ = bellows_terminal_wait(20)
    default: return .nothing
    }
    return .redraw
  }

  private mutating func draw(_ interval: Interval) {
    var columns: Int32 = 80
    var rows: Int32 = 24
    unsafe bellows_terminal_size(&columns, &rows)
    let screen = TopScreen(
      process: target, interval: interval, style: style, isUnicode: isUnicode, columns: Int(columns))
    let head = screen.head + [""]
    let body = screen.lines(of: panel)
    let foot = [
      panel == .sections ? screen.legend : "",
      "q quit  s sections  c size classes  t threads  space \(isHeld ? "go on" : "hold")  every \(seconds) s",
    ]
    let room = max(1, Int(rows) - head.count - foot.count)
    scroll = max(0, min(scroll, body.count - room))
    let shown = Array(body[scroll..<min(scroll + room, body.count)])
    let blank = [String](repeating: "", count: room - shown.count)
    // Home, each line cut to the screen and cleared to its end; no line feed after the last, which would scroll.
    let lines = (head + shown + blank + foot).prefix(Int(rows))
      .map { Self.cut($0, Int(columns)) + "\u{1b}[0m\u{1b}[K" }
    Self.write("\u{1b}[H" + lines.joined(separator: "\r\n") + "\u{1b}[J")
  }

  /// Cuts a line to a width; marks have none.
  static func cut(_ line: String, _ width: Int) -> String {
    var result = ""
    var count = 0
    var isMark = false
    for character in line {
      if character == "\u{1b}" { isMark = true }
      if !isMark {
        if count == width { break }
        count += 1
      }
      result.append(character)
      if isMark, character == "m" { isMark = false }
    }
    return result
  }

  private static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(1, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}
