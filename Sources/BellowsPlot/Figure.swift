// A figure: a title, the command that made it, and charts one below the other. The same value is drawn as SVG, put into
// an HTML page, or sketched on a terminal.

/// A part of a figure.
package enum Panel: Sendable {
  /// Lines over a common axis.
  case lines(LineChart)
  /// How full places are over time.
  case heat(HeatMap)
  /// A cell for each pair.
  case matrix(Matrix)
  /// A mark for each row and series.
  case dots(DotChart)

  var height: Double {
    switch self {
    case .lines(let chart): chart.height
    case .heat(let map): map.height
    case .matrix(let matrix): matrix.height
    case .dots(let chart): chart.height
    }
  }

  func draw(on canvas: inout Canvas, top: Double) {
    switch self {
    case .lines(let chart): chart.draw(on: &canvas, top: top)
    case .heat(let map): map.draw(on: &canvas, top: top)
    case .matrix(let matrix): matrix.draw(on: &canvas, top: top)
    case .dots(let chart): chart.draw(on: &canvas, top: top)
    }
  }
}

/// Charts one below the other, with their title and origin.
package struct Figure: Sendable {
  /// The width of every figure, in pixels.
  static let width = 960.0

  /// The title.
  package var title: String
  /// A line or two below the title; each is one line of the drawing.
  package var notes: [String]
  /// The command that makes the figure anew; embedded, and shown in the page.
  package var command: String
  /// The data as JSON; embedded. Empty: none.
  package var data: String
  /// The charts.
  package var panels: [Panel]

  /// Makes a figure.
  package init(
    title: String, notes: [String] = [], command: String = "", data: String = "", panels: [Panel]
  ) {
    self.title = title
    self.notes = notes
    self.command = command
    self.data = data
    self.panels = panels
  }

  /// The figure as an SVG file, which needs nothing else: style, data and command are in it.
  package var svg: String {
    drawing(
      panels: panels, heading: true,
      style: "<style>\(Palette.variables(on: ":root"))\n\(Palette.classes)</style>",
      metadata: metadata)
  }

  private var metadata: String {
    guard !command.isEmpty || !data.isEmpty else { return "" }
    return
      "<metadata><command>\(Canvas.escaped(command))</command><data>\(Canvas.escaped(data))</data></metadata>"
  }

  /// One drawing for use in a page, which has the style.
  func inline(_ panel: Panel) -> String { drawing(panels: [panel], heading: false, style: "", metadata: "") }

  private func drawing(panels: [Panel], heading: Bool, style: String, metadata: String) -> String {
    var canvas = Canvas()
    var y = 8.0
    if heading {
      canvas.text(20, y + 24, title, "text head")
      y += 34
      for note in notes {
        canvas.text(20, y + 12, note, "soft")
        y += 18
      }
      y += 10
    }
    for panel in panels {
      panel.draw(on: &canvas, top: y)
      y += panel.height + 18
    }
    if !heading { y -= 10 }
    let size = "viewBox=\"0 0 \(Number.short(Self.width)) \(Number.short(y))\""
    let fixed = heading ? " width=\"\(Number.short(Self.width))\" height=\"\(Number.short(y))\"" : ""
    let paper =
      heading ? "<rect width=\"100%\" height=\"100%\" class=\"paper\"/>" : ""
    let definitions = canvas.parts.contains { $0.contains("class=\"hatch\"") } ? Palette.definitions : ""
    let name = heading ? "<title>\(Canvas.escaped(title))</title>" : ""
    return """
      <svg xmlns="http://www.w3.org/2000/svg" \(size)\(fixed) role="img">\(name)\(metadata)\(style)\(definitions)\(paper)
      \(canvas.parts.joined(separator: "\n"))
      </svg>

      """
  }
}
