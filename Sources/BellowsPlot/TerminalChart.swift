// Lines on a terminal: braille cells of 2 by 4 dots. Each line has a letter in the key and at its end, because colours
// may be absent.

/// A sketch of a line chart in text.
package struct TerminalChart: Sendable {
  private let chart: LineChart
  private let columns: Int
  private let rows: Int

  /// Makes a sketch that is this many characters wide and whose plot has this many rows.
  package init(_ chart: LineChart, columns: Int, rows: Int = 14) {
    self.chart = chart
    self.columns = max(40, columns)
    self.rows = max(4, rows)
  }

  /// The sketch; `paint` adds the colour of a series (nil for the quiet ones) to a text.
  package func text(paint: (String, Int?) -> String = { text, _ in text }) -> String {
    let (x, y) = (chart.fittedX, chart.fittedY)
    let labels = y.ticks.map { y.label($0) }
    let margin = (labels.map(\.count).max() ?? 0) + 1
    let wide = columns - margin - 3
    var dots = [[UInt8]](repeating: [UInt8](repeating: 0, count: wide), count: rows)
    var owner = [[Int]](repeating: [Int](repeating: -1, count: wide), count: rows)
    for (index, line) in chart.series.enumerated() where line.style != .limit {
      plot(line, index, x, y, wide, &dots, &owner)
    }
    var lines = [chart.title]
    for row in 0..<rows {
      let tick = y.ticks.firstIndex { Int((1 - y.place($0)) * Double(rows - 1) + 0.5) == row }
      let label = tick.map { labels[$0] } ?? ""
      var line = String(repeating: " ", count: margin - label.count) + label + (tick == nil ? " │" : " ┤")
      for column in 0..<wide {
        let cell = dots[row][column]
        let text = cell == 0 ? " " : String(Character(UnicodeScalar(0x2800 + UInt32(cell)) ?? " "))
        line += cell == 0 ? text : paint(text, color(owner[row][column]))
      }
      lines.append(line)
    }
    lines.append(String(repeating: " ", count: margin) + " └" + String(repeating: "─", count: wide))
    lines.append(ticksLine(x, margin + 2, wide))
    if !chart.marks.isEmpty {
      let marks = chart.marks.map { "\($0.label) at \(chart.x.unit.text($0.x))" }
      lines.append(String(repeating: " ", count: margin + 2) + marks.joined(separator: ", "))
    }
    let key = chart.series.enumerated().filter { $0.element.style != .limit && !$0.element.name.isEmpty }
      .map { paint("⠒⠒ \($0.element.name)", color($0.offset)) }
    lines.append(String(repeating: " ", count: margin + 2) + key.joined(separator: "   "))
    return lines.joined(separator: "\n")
  }

  private func color(_ index: Int) -> Int? {
    guard chart.series.indices.contains(index), chart.series[index].style != .area else { return nil }
    return chart.series[index].color
  }

  private func ticksLine(_ x: FittedAxis, _ margin: Int, _ wide: Int) -> String {
    var line = [Character](repeating: " ", count: margin + wide + 8)
    var free = 0
    for tick in x.ticks {
      let label = Array(x.label(tick))
      let start = max(0, margin + Int(x.place(tick) * Double(wide - 1)) - label.count / 2)
      guard start >= free, start + label.count <= line.count else { continue }
      line.replaceSubrange(start..<start + label.count, with: label)
      free = start + label.count + 1
    }
    while line.last == " " { line.removeLast() }
    return String(line)
  }

  private func plot(
    _ line: Series, _ index: Int, _ x: FittedAxis, _ y: FittedAxis, _ wide: Int, _ dots: inout [[UInt8]],
    _ owner: inout [[Int]]
  ) {
    let (width, height) = (wide * 2, rows * 4)
    let places = line.points.filter { $0.x.isFinite && $0.y.isFinite }.map { point in
      (
        x: min(width - 1, max(0, Int(x.place(point.x) * Double(width - 1)))),
        y: min(height - 1, max(0, Int((1 - min(max(y.place(point.y), 0), 1)) * Double(height - 1) + 0.5)))
      )
    }
    // The bits of a braille character by column and row of its dots.
    let bits: [[UInt8]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]
    func set(_ x: Int, _ y: Int) {
      dots[y / 4][x / 2] |= bits[x % 2][y % 4]
      owner[y / 4][x / 2] = index
    }
    for (from, to) in zip(places, places.dropFirst()) {
      let steps = max(abs(to.x - from.x), abs(to.y - from.y), 1)
      for step in 0...steps {
        set(from.x + (to.x - from.x) * step / steps, from.y + (to.y - from.y) * step / steps)
      }
    }
  }
}
