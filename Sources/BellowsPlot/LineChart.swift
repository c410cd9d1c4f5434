// Lines over a common axis, most often time. Each line is named at its right end; events are vertical rules that all
// lines share.

/// One line.
package struct Series: Sendable {
  /// How it is drawn.
  package enum Style: Sendable {
    /// A line in the colour of its index.
    case solid
    /// A broken line in the colour of its index.
    case dashed
    /// Grey, with the area below it filled: what the others are measured against.
    case area
    /// A bound that must not be passed.
    case limit
  }

  /// The name at its end.
  package var name: String
  /// Which colour; lines of one index belong together.
  package var color: Int
  /// How it is drawn.
  package var style: Style
  /// Whether a value holds until the next point, as samples do, or runs on to it.
  package var isStep: Bool
  /// The points in order of x; a y that is not finite leaves a gap.
  package var points: [(x: Double, y: Double)]

  /// Makes a line.
  package init(
    _ name: String, color: Int = 0, style: Style = .solid, isStep: Bool = false,
    points: [(x: Double, y: Double)]
  ) {
    self.name = name
    self.color = color
    self.style = style
    self.isStep = isStep
    self.points = points
  }
}

/// Something that happened at one place of the x axis.
package struct Mark: Sendable, Equatable {
  /// Where.
  package var x: Double
  /// What.
  package var label: String

  /// Makes a mark.
  package init(x: Double, label: String) {
    self.x = x
    self.label = label
  }
}

/// Lines over a common axis.
package struct LineChart: Sendable {
  /// The title.
  package var title: String
  /// What a reader has to know, beside the title.
  package var note: String
  /// The axis from left to right.
  package var x: Axis
  /// The axis from bottom to top.
  package var y: Axis
  /// The lines, in order of drawing.
  package var series: [Series]
  /// Events.
  package var marks: [Mark]
  /// The height of the plot without its titles.
  package var plotHeight: Double

  /// Makes a chart.
  package init(
    title: String, note: String = "", x: Axis, y: Axis, series: [Series], marks: [Mark] = [],
    plotHeight: Double = 280
  ) {
    self.title = title
    self.note = note
    self.x = x
    self.y = y
    self.series = series
    self.marks = marks
    self.plotHeight = plotHeight
  }

  static let left = 78.0
  static let right = 150.0

  /// The rows that the labels of the marks take.
  var markRows: [[Mark]] {
    var rows: [[Mark]] = []
    let axis = fittedX
    var ends: [Double] = []
    for mark in marks.sorted(by: { $0.x < $1.x }) {
      let start = axis.place(mark.x) * (Figure.width - Self.left - Self.right)
      let end = start + Canvas.width(of: mark.label, size: 11) + 14
      if let row = ends.firstIndex(where: { $0 <= start }) {
        rows[row].append(mark)
        ends[row] = end
      } else if rows.count < 3 {
        rows.append([mark])
        ends.append(end)
      }
    }
    return rows
  }

  var height: Double { 34 + Double(markRows.count) * 14 + plotHeight + 28 + (x.title.isEmpty ? 0 : 16) }

  var fittedX: FittedAxis {
    let all = series.flatMap { $0.points.map(\.x) }.filter(\.isFinite)
    return FittedAxis(x, from: all.min() ?? 0, to: all.max() ?? 1, ticks: 10)
  }

  var fittedY: FittedAxis {
    let all = series.flatMap { $0.points.map(\.y) }.filter(\.isFinite)
    return FittedAxis(y, from: all.min() ?? 0, to: all.max() ?? 1, ticks: 5)
  }
}
