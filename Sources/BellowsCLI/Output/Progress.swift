import Glibc

/// What a person sees of work that takes longer than two seconds: a line on stderr that counts the seconds where that
/// is a terminal, and else one line that says what is going on.
final class Progress {
  private let words: String
  private let isTerminal: Bool
  private let start = ContinuousClock.now
  private var shown = -1

  init(_ words: String, isTerminal: Bool = isatty(STDERR_FILENO) == 1) {
    self.words = words
    self.isTerminal = isTerminal
  }

  /// Called now and then while the work goes on; `done` says how far it is.
  func tick(_ done: String? = nil) {
    let seconds = Int((ContinuousClock.now - start).components.seconds)
    guard seconds >= 2, seconds > shown, isTerminal || shown < 0 else { return }
    shown = seconds
    StandardError.write(
      isTerminal
        ? "\r\(words)\(done.map { ", \($0)" } ?? "") ... \(seconds) s\u{1b}[K" : "bellows: \(words) ...\n")
  }

  /// Takes the line away.
  func end() {
    if isTerminal, shown >= 0 { StandardError.write("\r\u{1b}[K") }
    shown = -1
  }

  deinit { end() }
}
