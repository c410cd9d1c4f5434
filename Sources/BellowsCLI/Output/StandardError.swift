import Glibc

/// The tool's messages: on stderr, each with the tool's name, as users of pipes expect.
enum StandardError {
  /// Writes `bellows: error: ...`.
  static func error(_ message: String) { write("bellows: error: \(message)\n") }

  /// Writes `bellows: warning: ...`.
  static func warning(_ message: String) { write("bellows: warning: \(message)\n") }

  /// Writes text as it is, without a buffer: the process may be replaced right after.
  static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(2, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}
