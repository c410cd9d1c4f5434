// The drawing of lines. Points that fall into one pixel column are drawn by their least and largest, so that a peak is
// never lost and a long run stays a small file.

extension LineChart {
  func draw(on canvas: inout Canvas, top: Double) {
    let rows = markRows
    let (x, y) = (fittedX, fittedY)
    let (left, right) = (Self.left, Figure.width - Self.right)
    let upper = top + 30 + Double(rows.count) * 14
    let lower = upper + plotHeight
    let across = { (value: Double) in left + x.place(value) * (right - left) }
    let up = { (value: Double) in lower - min(max(y.place(value), 0), 1) * (lower - upper) }

    canvas.group(title) { canvas in
      canvas.text(20, top + 14, title, "text name")
      if !note.isEmpty { canvas.text(20 + Canvas.titleWidth(title), top + 14, note, "soft") }
      for tick in y.ticks {
        canvas.line(left, up(tick), right, up(tick), tick == y.low ? "axis" : "grid")
        canvas.text(left - 8, up(tick) + 4, y.label(tick), "soft", .end)
      }
      if y.ticks.first != y.low { canvas.line(left, lower, right, lower, "axis") }
      for tick in x.ticks {
        canvas.line(across(tick), lower, across(tick), lower + 4, "axis")
        canvas.text(across(tick), lower + 18, x.label(tick), "soft", .middle)
      }
      if !self.x.title.isEmpty { canvas.text(right, lower + 34, self.x.title, "soft", .end) }
      for (index, row) in rows.enumerated() {
        let base = upper - 6 - Double(rows.count - 1 - index) * 14
        for mark in row {
          canvas.line(across(mark.x), base + 2, across(mark.x), lower, "rule")
          canvas.text(across(mark.x) + 4, base, mark.label, "soft small")
        }
      }
      for line in series.filter({ $0.style == .area }) + series.filter({ $0.style != .area }) {
        let points = line.points.filter { $0.x.isFinite }
          .map { (x: across($0.x), y: $0.y.isFinite ? up($0.y) : .nan) }
        let data = Self.path(Self.thinned(points), isStep: line.isStep)
        switch line.style {
        case .solid: canvas.path(data, "line s\(line.color % Palette.seriesCount)", title: line.name)
        case .dashed:
          canvas.path(data, "line thin dashed s\(line.color % Palette.seriesCount)", title: line.name)
        case .limit: canvas.path(data, "limit", title: line.name)
        case .area:
          if let first = points.first, let last = points.last {
            canvas.path(
              data + "V\(Number.short(lower))H\(Number.short(first.x))Z", "under", title: line.name)
            canvas.path(data, "line neutral dashed", title: line.name)
            _ = last
          }
        }
      }
      drawNames(on: &canvas, at: right + 10, from: upper, to: lower, up: up)
    }
  }

  /// Names stand at the ends of their lines, moved apart where they would overlap.
  private func drawNames(
    on canvas: inout Canvas, at x: Double, from upper: Double, to lower: Double, up: (Double) -> Double
  ) {
    struct Name {
      let series: Series
      let end: Double
      var y: Double
    }
    let gap = 16.0
    var names = series.filter { !$0.name.isEmpty }.compactMap { line in
      line.points.last { $0.y.isFinite }.map { Name(series: line, end: up($0.y), y: up($0.y)) }
    }
    names.sort { $0.end < $1.end }
    for index in names.indices.dropFirst() { names[index].y = max(names[index].y, names[index - 1].y + gap) }
    if let last = names.last, last.y > lower {
      names[names.count - 1].y = lower
      for index in names.indices.dropLast().reversed() {
        names[index].y = min(names[index].y, names[index + 1].y - gap)
      }
    }
    for name in names {
      let color = name.series.color % Palette.seriesCount
      let (stroke, fill) =
        switch name.series.style {
        case .solid, .dashed: ("s\(color) thin", "f\(color)")
        case .area: ("neutral", "fn")
        case .limit: ("limit", "fb")
        }
      canvas.path(
        "M\(Number.short(x - 8)) \(Number.short(name.end))L\(Number.short(x - 1)) \(Number.short(name.y))",
        "line \(stroke)")
      canvas.text(x + 3, name.y + 4, name.series.name, "\(fill) strong")
    }
  }

  /// Keeps of each pixel column the first point, the least, the largest and the last.
  static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    guard points.count > 900 else { return points }
    var kept: [(x: Double, y: Double)] = []
    var start = 0
    while start < points.count {
      var end = start
      while end < points.count, points[end].x.rounded(.down) == points[start].x.rounded(.down) { end += 1 }
      let column = start..<end
      let least = column.min { points[$0].y < points[$1].y } ?? start
      let most = column.max { points[$0].y < points[$1].y } ?? start
      for index in Set([start, least, most, end - 1]).sorted() { kept.append(points[index]) }
      start = end
    }
    return kept
  }

  private static func path(_ points: [(x: Double, y: Double)], isStep: Bool) -> String {
    var data = ""
    var isOpen = false
    for point in points {
      guard point.y.isFinite else {
        isOpen = false
        continue
      }
      if !isOpen {
        data += "M\(Number.short(point.x)) \(Number.short(point.y))"
      } else if isStep {
        data += "H\(Number.short(point.x))V\(Number.short(point.y))"
      } else {
        data += "L\(Number.short(point.x)) \(Number.short(point.y))"
      }
      isOpen = true
    }
    return data
  }
}
