// What a number on an axis or in a cell counts, and how it reads. Memory in powers of two with IEC names, all else in
// powers of ten.

/// The unit of an axis or a column.
package enum Unit: Sendable, Equatable {
  /// Memory.
  case bytes
  /// Time of a run.
  case seconds
  /// Time of one operation.
  case nanoseconds
  /// Things.
  case count
  /// One figure divided by another.
  case ratio
  /// A part of one.
  case fraction

  /// Returns a value as it stands in a table or at a mark: `37.5 MiB`, `1.2 µs`, `3.4 M`, `1.07`, `85 %`.
  package func text(_ value: Double) -> String {
    guard value.isFinite else { return "–" }
    switch self {
    case .bytes: return Self.scaled(value, 1024, ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"])
    case .seconds: return "\(Number.brief(value)) s"
    case .nanoseconds: return Self.scaled(value, 1000, ["ns", "µs", "ms", "s"])
    case .count: return Self.scaled(value, 1000, ["", "k", "M", "G", "T"])
    case .ratio: return Number.fixed(value, decimals: 2)
    case .fraction: return "\(Number.short(value * 100, decimals: value.magnitude < 0.0995 ? 1 : 0)) %"
    }
  }

  private static func scaled(_ value: Double, _ step: Double, _ names: [String]) -> String {
    var value = value
    var index = 0
    // 1023.96 rounds to 1024, which is the next unit.
    while index < names.count - 1, value.magnitude >= step * 0.99995 {
      value /= step
      index += 1
    }
    let text = index == 0 && step == 1024 ? Number.short(value, decimals: 0) : Number.brief(value)
    return names[index].isEmpty ? text : "\(text) \(names[index])"
  }

  /// Returns round values from 0 or `low` to `high`, about `count` of them.
  func ticks(from low: Double, to high: Double, count: Int) -> [Double] {
    guard high > low, high.isFinite, low.isFinite else { return [low] }
    let step = step(for: (high - low) / Double(max(1, count)))
    var ticks: [Double] = []
    var tick = (low / step).rounded(.up) * step
    while tick <= high + step * 1e-9, ticks.count < 100 {
      ticks.append(tick)
      tick += step
    }
    return ticks
  }

  /// Returns the least round step that is no less than this.
  private func step(for least: Double) -> Double {
    var power = 1.0
    if self == .bytes {
      while power < least { power *= 2 }
      return power
    }
    while power > least { power /= 10 }
    while power * 10 <= least { power *= 10 }
    return [1, 2, 5, 10].map { $0 * power }.first { $0 >= least * 0.999999 } ?? power * 10
  }
}
