// How values become places along a side of a chart, and which values have a tick.

import Glibc

/// One side of a chart.
package struct Axis: Sendable {
  /// How values are spread.
  package enum Scale: Sendable, Equatable {
    /// Evenly.
    case linear
    /// By their logarithm.
    case logarithmic
    /// Percentiles, by their number of nines: 50 %, 90 %, 99 %, 99.9 % lie nearly evenly. Values are parts of one.
    case nines
  }

  /// What is counted.
  package var unit: Unit
  /// How values are spread.
  package var scale: Scale
  /// What stands beside the axis; empty where the unit says enough.
  package var title: String
  /// The least value shown; nil for the least of the data (0 on a linear axis).
  package var low: Double?
  /// The largest value shown; nil for the largest of the data.
  package var high: Double?

  /// Makes an axis.
  package init(
    _ unit: Unit, scale: Scale = .linear, title: String = "", low: Double? = nil, high: Double? = nil
  ) {
    self.unit = unit
    self.scale = scale
    self.title = title
    self.low = low
    self.high = high
  }
}

/// An axis that has been fitted to its data: from value to a place between 0 and 1.
struct FittedAxis {
  let axis: Axis
  let low: Double
  let high: Double
  /// Where the ticks are, by value.
  let ticks: [Double]

  /// Fits an axis to the range of the data; ticks are about `count`.
  init(_ axis: Axis, from least: Double, to most: Double, ticks count: Int) {
    self.axis = axis
    switch axis.scale {
    case .linear:
      let low = axis.low ?? min(0, least)
      var high = max(axis.high ?? most, low)
      if high <= low { high = low + 1 }
      var ticks = axis.unit.ticks(from: low, to: high, count: count)
      if axis.high == nil, axis.unit != .seconds, ticks.count > 1, let last = ticks.last, last < high {
        // Up to the next tick, so that the highest value does not touch the edge.
        high = last + (ticks[1] - ticks[0])
        ticks.append(high)
      }
      (self.low, self.high, self.ticks) = (low, high, ticks)
    case .logarithmic:
      let low = max(axis.low ?? least, 1e-12)
      let high = max(axis.high ?? most, low * 1.0001)
      var ticks = Self.powers(from: low, to: high, factors: [1])
      if ticks.count < 3 { ticks = Self.powers(from: low, to: high, factors: [1, 2, 5]) }
      let first = axis.low == nil ? min(low, ticks.first ?? low) : low
      (self.low, self.high, self.ticks) = (first, high, ticks)
    case .nines:
      let high = min(axis.high ?? most, 0.9999999)
      (low, self.high) = (0, max(high, 0.5))
      ticks = [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999].filter { $0 <= high * 1.0000001 }
    }
  }

  private static func powers(from low: Double, to high: Double, factors: [Double]) -> [Double] {
    var ticks: [Double] = []
    var power = pow(10, log10(low).rounded(.down))
    while power <= high * 1.000001 {
      ticks += factors.map { $0 * power }.filter { $0 >= low * 0.999999 && $0 <= high * 1.000001 }
      power *= 10
    }
    return ticks
  }

  /// Returns the place of a value: 0 at the low end, 1 at the high end.
  func place(_ value: Double) -> Double {
    switch axis.scale {
    case .linear: (value - low) / (high - low)
    case .logarithmic: (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
    case .nines: -log10(1 - min(value, high)) / -log10(1 - high)
    }
  }

  /// Returns the text at a tick.
  func label(_ tick: Double) -> String {
    switch axis.scale {
    case .nines: tick == 0 ? "least" : "p\(Number.short(tick * 100, decimals: 4))"
    default: tick == 0 ? "0" : axis.unit.text(tick)
    }
  }
}
