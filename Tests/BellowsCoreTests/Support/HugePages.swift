// Huge pages of the kernel's reserve, for the tests that need some.

import BellowsCore
import Foundation
import Glibc
import Synchronization
import Testing

enum HugePages {
  private static let path = "/proc/sys/vm/nr_hugepages"

  private static func read() -> Int? {
    (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
      Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }

  private static func write(_ count: Int, to path: String = path) {
    let file = unsafe open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    defer { close(file) }
    let text = Array("\(count)\n".utf8)
    _ = unsafe Glibc.write(file, text, text.count)
  }

  private static var free: Int {
    guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return 0 }
    let line = text.split(separator: "\n").first { $0.hasPrefix("HugePages_Free:") }
    return line.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
  }

  /// One test at a time has huge pages.
  private static let turn = Mutex(())

  /// Calls `body` with whether `count` huge pages are free; adds them to the kernel's reserve for that time where
  /// this user may.
  static func with(_ count: Int, _ body: (Bool) throws -> Void) throws {
    try turn.withLock { _ in
      let before = read()
      if let before {
        // Memory in a row may have to be made first.
        for attempt in 0..<50 where free < count {
          if attempt > 0 {
            write(1, to: "/proc/sys/vm/compact_memory")
            usleep(100_000)
          }
          write(before + count)
        }
      }
      defer { if let before { write(before) } }
      try body(free >= count)
    }
  }

  /// Whether memory that was asked to be a transparent huge page is one.
  static func areToBeHad() throws -> Bool {
    let size: UInt = 2 << 20
    let memory = Memory(2 * size)
    let start = memory.address.rounded(upTo: size)
    Platform.system.attempt(.huge, start, size)
    Ref<UInt>(start).it = 1
    return try Kernel.hugeBytes(start, size) >= size
  }

  /// Says that a test did not run; a failure where everything is to run.
  static func skip(_ reason: String) throws {
    print("skipped: \(reason)")
    if ProcessInfo.processInfo.environment["CI"] == "true" { throw Violation(description: reason) }
  }
}
