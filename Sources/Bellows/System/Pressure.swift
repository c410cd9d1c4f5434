// Pressure stall information: /proc/pressure/memory, or memory.pressure of a control group. Absent where the kernel is
// built without it or started with psi=0 (then opening works and reading gives EOPNOTSUPP).

/// The share of time in which work stood still for lack of memory.
package struct Pressure: Hashable, Sendable, Encodable {
  /// One line, in per cent.
  package struct Averages: Hashable, Sendable, Encodable {
    /// Over the last 10 seconds.
    package let tenSeconds: Double
    /// Over the last 60 seconds.
    package let sixtySeconds: Double
    /// Over the last 300 seconds.
    package let fiveMinutes: Double
  }

  /// Some task stood still.
  package let some: Averages
  /// All tasks stood still at once.
  package let full: Averages

  /// Parses the two lines; nil where they are anything else.
  package init?(parsing text: String) {
    func averages(_ name: String) -> Averages? {
      guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("\(name) ") }) else {
        return nil
      }
      var values: [Substring: Double] = [:]
      for pair in line.split(separator: " ").dropFirst().map({ $0.split(separator: "=") })
      where pair.count == 2 {
        values[pair[0]] = Double(pair[1])
      }
      guard let ten = values["avg10"], let sixty = values["avg60"], let five = values["avg300"] else {
        return nil
      }
      return Averages(tenSeconds: ten, sixtySeconds: sixty, fiveMinutes: five)
    }
    guard let some = averages("some"), let full = averages("full") else { return nil }
    self.some = some
    self.full = full
  }

  /// Reads the pressure on the whole machine's memory.
  package init?(reading files: SystemFiles) {
    guard let text = try? files.text("proc/pressure/memory") else { return nil }
    self.init(parsing: text)
  }
}
