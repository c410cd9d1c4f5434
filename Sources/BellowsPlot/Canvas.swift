// Writes SVG. Knows shapes and classes, nothing of charts.

/// A drawing that grows.
struct Canvas {
  /// Text at a place.
  enum Anchor: String {
    case start = ""
    case middle = " mid"
    case end = " end"
  }

  private(set) var parts: [String] = []

  /// Makes text safe to stand between tags and in attributes.
  static func escaped(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      // What XML cannot hold at all.
      case let c where c.value < 0x20 && c != "\n" && c != "\t": result += "\u{fffd}"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }

  /// The width of a text in pixels, roughly: no font is asked. Tends to more than it takes.
  static func width(of text: String, size: Double = 12) -> Double {
    let units = text.unicodeScalars.reduce(0.0) { sum, character in
      switch character {
      case "i", "l", "j", ".", ",", ":", ";", "'", "|", "!", " ", "(", ")", "[", "]", "f", "t", "r":
        sum + 0.38
      case "m", "w", "M", "W", "%", "@", "+", "<", ">", "=": sum + 0.9
      case "A"..."Z": sum + 0.72
      default: sum + 0.64
      }
    }
    return units * size
  }

  /// The room that a chart's title takes, with a gap after it.
  static func titleWidth(_ title: String) -> Double { width(of: title, size: 14) * 1.04 + 18 }

  mutating func text(
    _ x: Double, _ y: Double, _ words: String, _ style: String = "text", _ anchor: Anchor = .start,
    title: String? = nil
  ) {
    let hint = title.map { "<title>\(Self.escaped($0))</title>" } ?? ""
    parts.append(
      "<text x=\"\(Number.short(x))\" y=\"\(Number.short(y))\" class=\"\(style)\(anchor.rawValue)\">\(hint)\(Self.escaped(words))</text>"
    )
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
    parts.append(
      "<path d=\"M\(Number.short(x1)) \(Number.short(y1))L\(Number.short(x2)) \(Number.short(y2))\" class=\"\(style)\"/>"
    )
  }

  mutating func box(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String, round: Double = 0,
    title: String? = nil
  ) {
    let corners = round > 0 ? " rx=\"\(Number.short(round))\"" : ""
    let shape =
      "<rect x=\"\(Number.short(x))\" y=\"\(Number.short(y))\" width=\"\(Number.short(max(0, width)))\" height=\"\(Number.short(max(0, height)))\" class=\"\(style)\"\(corners)"
    parts.append(title.map { "\(shape)><title>\(Self.escaped($0))</title></rect>" } ?? "\(shape)/>")
  }

  mutating func path(_ data: String, _ style: String, title: String? = nil) {
    guard !data.isEmpty else { return }
    let shape = "<path d=\"\(data)\" class=\"\(style)\""
    parts.append(title.map { "\(shape)><title>\(Self.escaped($0))</title></path>" } ?? "\(shape)/>")
  }

  /// A dot, or for the first series a diamond: shape and colour both tell them apart.
  mutating func mark(_ x: Double, _ y: Double, series: Int, title: String) {
    let r = series == 0 ? 6.0 : 4.5
    let hint = "<title>\(Self.escaped(title))</title>"
    if series == 0 {
      parts.append(
        "<path d=\"M\(Number.short(x - r)) \(Number.short(y))L\(Number.short(x)) \(Number.short(y - r))L\(Number.short(x + r)) \(Number.short(y))L\(Number.short(x)) \(Number.short(y + r))Z\" class=\"f0\">\(hint)</path>"
      )
    } else {
      parts.append(
        "<circle cx=\"\(Number.short(x))\" cy=\"\(Number.short(y))\" r=\"\(Number.short(r))\" class=\"f\(series % Palette.seriesCount)\">\(hint)</circle>"
      )
    }
  }

  /// A group of shapes with a name for those who do not see the drawing.
  mutating func group(_ label: String, _ body: (inout Canvas) -> Void) {
    parts.append("<g role=\"group\" aria-label=\"\(Self.escaped(label))\">")
    body(&self)
    parts.append("</g>")
  }
}
