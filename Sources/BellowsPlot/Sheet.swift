// A table, the twin of a chart for those who want the figures: as HTML, and as text with aligned columns.

/// Rows under headings.
package struct Sheet: Sendable {
  /// One cell.
  package struct Cell: Sendable, Equatable {
    /// What it says.
    package var text: String
    /// Whether it is a figure (right-aligned) or words.
    package var isFigure: Bool
    /// Whether it says that something went wrong.
    package var isBad: Bool

    /// Makes a cell.
    package init(_ text: String, isFigure: Bool = true, isBad: Bool = false) {
      self.text = text
      self.isFigure = isFigure
      self.isBad = isBad
    }
  }

  /// The heading of the whole table.
  package var title: String
  /// The headings of the columns.
  package var columns: [String]
  /// The rows; the first cell is the row's name.
  package var rows: [[Cell]]

  /// Makes a table.
  package init(title: String = "", columns: [String], rows: [[Cell]]) {
    self.title = title
    self.columns = columns
    self.rows = rows
  }

  /// The table as text: two blanks between columns, figures right-aligned; `mark` may add emphasis to cells that say
  /// that something went wrong.
  package func text(mark: (String) -> String = { $0 }) -> String {
    let widths = columns.indices.map { column in
      max(columns[column].count, rows.map { $0.count > column ? $0[column].text.count : 0 }.max() ?? 0)
    }
    func padded(_ text: String, _ width: Int, right: Bool) -> String {
      let blanks = String(repeating: " ", count: max(0, width - text.count))
      return right ? blanks + text : text + blanks
    }
    func joined(_ parts: [String]) -> String {
      var line = parts.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }
    let isFigure = columns.indices.map { column in rows.contains { $0.count > column && $0[column].isFigure }
    }
    let head = joined(columns.indices.map { padded(columns[$0], widths[$0], right: isFigure[$0]) })
    let body = rows.map { row in
      joined(
        row.indices.map { column in
          let text = padded(row[column].text, widths[column], right: isFigure[column])
          return row[column].isBad ? mark(text) : text
        })
    }
    return ([head] + body).joined(separator: "\n")
  }

  /// The table as HTML.
  var html: String {
    let head = columns.enumerated().map { index, name in
      let isFigure = rows.contains { $0.count > index && $0[index].isFigure }
      return "<th scope=\"col\"\(isFigure ? " class=\"figure\"" : "")>\(Canvas.escaped(name))</th>"
    }.joined()
    let body = rows.map { row in
      let cells = row.enumerated().map { index, cell in
        let tag = index == 0 ? "th scope=\"row\"" : "td"
        let classes = [cell.isFigure ? "figure" : "", cell.isBad ? "wrong" : ""].filter { !$0.isEmpty }
        let style = classes.isEmpty ? "" : " class=\"\(classes.joined(separator: " "))\""
        return "<\(tag)\(style)>\(Canvas.escaped(cell.text))</\(index == 0 ? "th" : "td")>"
      }
      return "<tr>\(cells.joined())</tr>"
    }
    let caption = title.isEmpty ? "" : "<caption>\(Canvas.escaped(title))</caption>"
    return
      "<div class=\"scroll\"><table>\(caption)<thead><tr>\(head)</tr></thead><tbody>\(body.joined(separator: "\n"))</tbody></table></div>"
  }
}
