// Numbers as text, without locale and without Foundation. Short numbers halve the size of a drawing.

/// Numbers as text.
package enum Number {
  /// Returns a number with at most this many decimals, without zeros at the end: `1.5`, `-0.25`, `12`.
  package static func short(_ value: Double, decimals: Int = 1) -> String {
    guard value.isFinite else { return "0" }
    var text = fixed(value, decimals: decimals)
    guard text.contains(".") else { return text }
    while text.last == "0" { text.removeLast() }
    if text.last == "." { text.removeLast() }
    return text == "-0" ? "0" : text
  }

  /// Returns a number with exactly this many decimals, rounded half away from zero.
  package static func fixed(_ value: Double, decimals: Int) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
    let scale = (0..<decimals).reduce(1.0) { product, _ in product * 10 }
    let scaled = (value.magnitude * scale).rounded()
    // What 64 bits cannot hold has no decimals worth printing.
    guard scaled < 9e18 else { return "\(value)" }
    let whole = UInt64(scaled)
    let unit = UInt64(scale)
    let sign = value < 0 && whole > 0 ? "-" : ""
    guard decimals > 0 else { return "\(sign)\(whole)" }
    let fraction = String(whole % unit)
    return "\(sign)\(whole / unit).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
  }

  /// Returns a number with about three digits that count: `1234`, `56.7`, `8.9`, `0.123`.
  package static func brief(_ value: Double) -> String {
    let size = value.magnitude
    return short(value, decimals: size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)
  }

  /// Returns a whole number with its thousands set apart: `1,234,567`.
  package static func grouped(_ value: Int) -> String {
    var text = ""
    for (index, digit) in String(value.magnitude).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return (value < 0 ? "-" : "") + String(text.reversed())
  }
}
