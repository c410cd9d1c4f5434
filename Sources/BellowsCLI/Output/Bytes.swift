/// Amounts of memory as people read them: powers of two with IEC names.
enum Bytes {
  /// Returns for example `8 MiB`, `23.5 GiB` or `512 bytes`.
  static func text(_ bytes: Int) -> String {
    guard bytes >= 1024 else { return "\(bytes) bytes" }
    var unit = 1024
    var names = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][...]
    // Rounding to a tenth may reach the next unit: 1023.96 KiB is 1 MiB.
    while names.count > 1, bytes / unit > 1023 || tenths(bytes, unit) >= 10240 {
      names.removeFirst()
      unit *= 1024
    }
    let tenths = tenths(bytes, unit)
    return tenths % 10 == 0
      ? "\(tenths / 10) \(names[names.startIndex])"
      : "\(tenths / 10).\(tenths % 10) \(names[names.startIndex])"
  }

  /// Returns the amount in tenths of a unit, rounded; exact for whole units at any size.
  private static func tenths(_ bytes: Int, _ unit: Int) -> Int {
    bytes / unit * 10 + Int((Double(bytes % unit) * 10 / Double(unit)).rounded())
  }

  /// Returns for example `8M`, `23.5G` or `512B`, as lsmem does: for columns.
  static func short(_ bytes: Int) -> String {
    let words = text(bytes).split(separator: " ")
    return words[0] + (words[1] == "bytes" ? "B" : String(words[1].prefix(1)))
  }

  /// Reads `128M`, `1.5GiB`, `4096` and the like; a number alone counts `unit` bytes. Nil: it is no size.
  static func parse(_ text: String, unit: Int = 1) -> Int? {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits), number.isFinite, digits.first != "." else { return nil }
    let suffix = text.dropFirst(digits.count).uppercased()
    let factor: Double
    switch suffix {
    case "": factor = Double(unit)
    case "B": factor = 1
    default:
      guard let power = "KMGTPE".firstIndex(of: suffix.first ?? " "),
        ["", "B", "IB"].contains(suffix.dropFirst())
      else { return nil }
      factor = Double(
        sign: .plus, exponent: 10 * ("KMGTPE".distance(from: "KMGTPE".startIndex, to: power) + 1),
        significand: 1)
    }
    let bytes = number * factor
    return bytes < 9e18 ? Int(bytes.rounded()) : nil
  }
}
