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
}
