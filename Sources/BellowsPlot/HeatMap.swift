// How full places are over time: rows are places, columns are moments. Equal neighbours are one shape, so a map of
// ten thousand cells stays a small file.

/// A cell for each place and moment.
package struct HeatMap: Sendable {
  /// The title.
  package var title: String
  /// What a reader has to know, beside the title.
  package var note: String
  /// The axis of the columns.
  package var x: Axis
  /// Where each column begins on the x axis, in order; the last one ends at `end`.
  package var columns: [Double]
  /// Where the last column ends.
  package var end: Double
  /// The names of groups of rows, with the number of rows in each, from the top.
  package var groups: [(name: String, rows: Int)]
  /// The cells by row, then column: from 0 (empty) to 1 (full); nan where there is nothing.
  package var cells: [[Double]]
  /// Cells to hatch, by row, then column; empty where there are none.
  package var hatched: [[Bool]]
  /// What the colours mean, from little to much, and what hatching means.
  package var legend: (low: String, high: String, hatched: String)
  /// Events.
  package var marks: [Mark]

  /// Makes a map.
  package init(
    title: String, note: String = "", x: Axis, columns: [Double], end: Double,
    groups: [(name: String, rows: Int)], cells: [[Double]], hatched: [[Bool]] = [],
    legend: (low: String, high: String, hatched: String), marks: [Mark] = []
  ) {
    self.title = title
    self.note = note
    self.x = x
    self.columns = columns
    self.end = end
    self.groups = groups
    self.cells = cells
    self.hatched = hatched
    self.legend = legend
    self.marks = marks
  }

  /// The height of one row: small enough for several sections, large enough to be seen.
  var rowHeight: Double { min(8, max(1.5, 360 / Double(max(1, cells.count)))) }

  var height: Double {
    34 + Double(cells.count) * rowHeight + Double(max(0, groups.count - 1)) * 4 + 28
  }

  func draw(on canvas: inout Canvas, top: Double) {
    let (left, right) = (LineChart.left, Figure.width - LineChart.right)
    let upper = top + 30
    let x = FittedAxis(self.x, from: columns.first ?? 0, to: end, ticks: 10)
    let across = { (value: Double) in left + x.place(value) * (right - left) }
    let edges = (columns + [end]).map(across)
    canvas.group(title) { canvas in
      canvas.text(20, top + 14, title, "text name")
      if !note.isEmpty { canvas.text(20 + Canvas.titleWidth(title), top + 14, note, "soft") }
      var y = upper
      var row = 0
      var shapes = [String](repeating: "", count: Palette.heatSteps + 1)
      var hatching = ""
      for group in groups {
        let tall = Double(group.rows) * rowHeight
        canvas.box(left, y, right - left, tall, "band")
        canvas.text(left - 8, y + min(tall / 2 + 4, tall + 2), group.name, "soft small", .end)
        for _ in 0..<group.rows {
          append(row: row, y: y, edges: edges, to: &shapes, &hatching)
          y += rowHeight
          row += 1
        }
        y += 4
      }
      for (step, data) in shapes.enumerated() where step > 0 { canvas.path(data, "h\(step)") }
      canvas.path(hatching, "hatch")
      let lower = y - 4
      for mark in marks { canvas.line(across(mark.x), upper - 4, across(mark.x), lower, "rule") }
      for tick in x.ticks {
        canvas.line(across(tick), lower, across(tick), lower + 4, "axis")
        canvas.text(across(tick), lower + 18, x.label(tick), "soft", .middle)
      }
      drawLegend(on: &canvas, at: right + 13, top: upper)
    }
  }

  private func drawLegend(on canvas: inout Canvas, at x: Double, top: Double) {
    canvas.text(x, top + 10, legend.high, "soft small")
    for step in 1...Palette.heatSteps {
      canvas.box(x, top + 16 + Double(Palette.heatSteps - step) * 9, 16, 9, "h\(step)")
    }
    let bottom = top + 16 + Double(Palette.heatSteps) * 9
    canvas.box(x, bottom, 16, 9, "band")
    canvas.text(x, bottom + 22, legend.low, "soft small")
    guard !hatched.isEmpty, !legend.hatched.isEmpty else { return }
    canvas.box(x, bottom + 30, 16, 10, "band")
    canvas.box(x, bottom + 30, 16, 10, "hatch")
    canvas.text(x + 22, bottom + 39, legend.hatched, "soft small")
  }

  /// Adds one row's cells to the shape of their step.
  private func append(
    row: Int, y: Double, edges: [Double], to shapes: inout [String], _ hatching: inout String
  ) {
    guard row < cells.count else { return }
    let steps = cells[row].map { value in
      value.isFinite && value > 0 ? min(Palette.heatSteps, Int(value * Double(Palette.heatSteps)) + 1) : 0
    }
    func runs<Value: Equatable>(_ values: [Value], _ body: (Value, Double, Double) -> Void) {
      var start = 0
      for index in 1...max(1, values.count) where index == values.count || values[index] != values[start] {
        if index < edges.count, start < values.count { body(values[start], edges[start], edges[index]) }
        start = index
      }
    }
    // A little taller than the row, or the paper would shine through between rows.
    let tall = Number.short(rowHeight + 0.2)
    runs(steps) { step, from, to in
      if step > 0 {
        let wide = Number.short(to - from)
        shapes[step] += "M\(Number.short(from)) \(Number.short(y))h\(wide)v\(tall)h-\(wide)z"
      }
    }
    guard row < hatched.count else { return }
    runs(hatched[row]) { isHatched, from, to in
      guard isHatched else { return }
      let wide = Number.short(to - from)
      hatching += "M\(Number.short(from)) \(Number.short(y))h\(wide)v\(tall)h-\(wide)z"
    }
  }
}
