// What a scenario cost, and the table of all of them, printed when the test process ends. For people to read:
// no test asserts a time or a size.

import Foundation
import Synchronization

struct Figures {
  var peakRSS: Int  // KiB
  var processor: Int  // microseconds
  var elapsed: Int  // microseconds

  init(_ line: String) throws {
    let numbers = line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    guard numbers.count == 3 else { throw CocoaError(.fileReadCorruptFile) }
    (peakRSS, processor, elapsed) = (numbers[0], numbers[1], numbers[2])
  }
}

enum FigureTable {
  private static let rows = Mutex<[String]>([])

  static func add(_ name: String, glibc: Figures, bellows: Figures) {
    let row =
      name.padding(toLength: 30, withPad: " ", startingAt: 0)
      + cells(glibc.peakRSS, bellows.peakRSS, unit: 1024)
      + cells(glibc.processor, bellows.processor, unit: 1_000_000)
    rows.withLock { rows in
      if rows.isEmpty { atexit { FigureTable.print() } }
      rows.append(row)
    }
  }

  private static func cells(_ glibc: Int, _ bellows: Int, unit: Double) -> String {
    String(
      format: "%9.1f %9.1f %6.2f", Double(glibc) / unit, Double(bellows) / unit,
      Double(bellows) / Double(max(glibc, 1)))
  }

  private static func print() {
    let lines = [
      "",
      "Real programs, both runs at the same time (for information, nothing is asserted)",
      "                              peak RSS in MiB of the        processor seconds",
      "                              largest process               of all processes",
      "                                  glibc   Bellows  ratio    glibc   Bellows  ratio",
    ]
    Swift.print((lines + rows.withLock { $0 }).joined(separator: "\n"))
    fflush(nil)
  }
}
