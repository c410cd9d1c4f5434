import Glibc

/// Lines of standard input, as they come.
struct Commands {
  private var pending: [UInt8] = []
  private(set) var isAtEnd = false

  /// The next line, or nil: none came within the time, or there is no more. Below 0: waits as long as it takes.
  mutating func next(milliseconds: Int) -> String? {
    while !pending.contains(10), !isAtEnd {
      guard wait(milliseconds) else { return nil }
      read()
    }
    guard let end = pending.firstIndex(of: 10) ?? (pending.isEmpty ? nil : pending.endIndex) else {
      return nil
    }
    let line = String(decoding: pending[..<end], as: UTF8.self)
    pending.removeFirst(min(end + 1, pending.count))
    return line
  }

  /// Whether the next line is there and asks for another size.
  mutating func isResizeNext() -> Bool {
    while !pending.contains(10), !isAtEnd, wait(0) { read() }
    return pending.starts(with: "resize ".utf8)
  }

  private func wait(_ milliseconds: Int) -> Bool {
    var input = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&input, 1, Int32(clamping: milliseconds)) > 0
  }

  private mutating func read() {
    var chunk = [UInt8](repeating: 0, count: 4096)
    let count = unsafe Glibc.read(STDIN_FILENO, &chunk, chunk.count)
    if count > 0 { pending += chunk[..<count] } else { isAtEnd = true }
  }
}
