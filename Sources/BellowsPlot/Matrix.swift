// A cell with a figure for each pair, coloured by it: distances, bandwidths, latencies between nodes.

/// A cell for each row and column.
package struct Matrix: Sendable {
  /// The title.
  package var title: String
  /// What a reader has to know, beside the title.
  package var note: String
  /// What the rows are, what the columns are.
  package var sides: (rows: String, columns: String)
  /// The names of the rows.
  package var rows: [String]
  /// The names of the columns.
  package var columns: [String]
  /// The values by row, then column; nan where there is none.
  package var values: [[Double]]
  /// The unit of the values.
  package var unit: Unit

  /// Makes a matrix.
  package init(
    title: String, note: String = "", sides: (rows: String, columns: String) = ("", ""), rows: [String],
    columns: [String], values: [[Double]], unit: Unit
  ) {
    self.title = title
    self.note = note
    self.sides = sides
    self.rows = rows
    self.columns = columns
    self.values = values
    self.unit = unit
  }

  private static let rowHeight = 34.0

  var height: Double { 58 + Double(rows.count) * Self.rowHeight + 8 }

  func draw(on canvas: inout Canvas, top: Double) {
    let left = 30 + max(70, rows.map { Canvas.width(of: $0) }.max() ?? 0)
    let wide = min(120, (Figure.width - left - 20) / Double(max(1, columns.count)))
    let all = values.joined().filter(\.isFinite)
    let (least, most) = (all.min() ?? 0, all.max() ?? 1)
    canvas.group(title) { canvas in
      canvas.text(20, top + 14, title, "text name")
      if !note.isEmpty { canvas.text(20 + Canvas.titleWidth(title), top + 14, note, "soft") }
      canvas.text(
        20, top + 46, sides.rows.isEmpty ? "" : "\(sides.rows) ↓  \(sides.columns) →", "soft small")
      for (index, name) in columns.enumerated() {
        canvas.text(left + (Double(index) + 0.5) * wide, top + 46, name, "text strong", .middle)
      }
      for (row, name) in rows.enumerated() {
        let y = top + 54 + Double(row) * Self.rowHeight
        canvas.text(left - 10, y + 21, name, "text strong", .end)
        for column in columns.indices {
          let value = row < values.count && column < values[row].count ? values[row][column] : .nan
          let x = left + Double(column) * wide
          let step =
            value.isFinite
            ? most > least ? 1 + Int((value - least) / (most - least) * Double(Palette.heatSteps - 1)) : 3 : 0
          let hint = "\(name), \(columns[column]): \(unit.text(value))"
          canvas.box(
            x + 1, y + 1, wide - 2, Self.rowHeight - 2, step == 0 ? "band" : "h\(step)", round: 3, title: hint
          )
          // On the strong half of the colours the paper's own colour reads better.
          canvas.text(
            x + wide / 2, y + 21, value.isFinite ? unit.text(value) : "–",
            step >= 6 ? "inverse strong" : "text",
            .middle)
        }
      }
    }
  }
}
