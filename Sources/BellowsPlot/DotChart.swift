// A mark for each row and series on one axis: several allocators compared in several figures.

/// A mark for each row and series.
package struct DotChart: Sendable {
  /// The title.
  package var title: String
  /// What a reader has to know, beside the title.
  package var note: String
  /// The axis of the values.
  package var axis: Axis
  /// The names of the series, each with its own mark.
  package var series: [String]
  /// The rows: a name, and a value for each series; nan where there is none.
  package var rows: [(name: String, values: [Double])]

  /// Makes a chart.
  package init(
    title: String, note: String = "", axis: Axis, series: [String], rows: [(name: String, values: [Double])]
  ) {
    self.title = title
    self.note = note
    self.axis = axis
    self.series = series
    self.rows = rows
  }

  private static let rowHeight = 24.0

  var height: Double { 56 + Double(rows.count) * Self.rowHeight + 24 }

  func draw(on canvas: inout Canvas, top: Double) {
    let left = max(120, 30 + (rows.map { Canvas.width(of: $0.name) }.max() ?? 0))
    let right = Figure.width - 60
    let all = rows.flatMap(\.values).filter(\.isFinite)
    let fitted = FittedAxis(axis, from: all.min() ?? 0, to: all.max() ?? 1, ticks: 8)
    let across = { (value: Double) in left + min(max(fitted.place(value), 0), 1) * (right - left) }
    canvas.group(title) { canvas in
      canvas.text(20, top + 14, title, "text name")
      if !note.isEmpty { canvas.text(20 + Canvas.titleWidth(title), top + 14, note, "soft") }
      var x = 26.0
      for (index, name) in series.enumerated() {
        canvas.mark(x, top + 34, series: index, title: name)
        canvas.text(x + 10, top + 38, name, index == 0 ? "text strong" : "text")
        x += 34 + Canvas.width(of: name)
      }
      let upper = top + 50
      let lower = upper + Double(rows.count) * Self.rowHeight
      for index in stride(from: 0, to: rows.count, by: 2) {
        canvas.box(
          20, upper + Double(index) * Self.rowHeight, Figure.width - 40, Self.rowHeight, "band", round: 3)
      }
      for tick in fitted.ticks {
        canvas.line(
          across(tick), upper, across(tick), lower, tick == 1 && axis.unit == .ratio ? "axis" : "grid")
        canvas.text(across(tick), lower + 16, fitted.label(tick), "soft", .middle)
      }
      for (index, row) in rows.enumerated() {
        let y = upper + (Double(index) + 0.5) * Self.rowHeight
        canvas.text(left - 14, y + 4, row.name, "text", .end)
        for (number, value) in row.values.enumerated().reversed() where value.isFinite {
          canvas.mark(
            across(value), y, series: number, title: "\(series[number]): \(axis.unit.text(value))")
        }
      }
    }
  }
}
