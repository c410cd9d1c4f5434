import Testing

@testable import BellowsPlot

@Suite struct NumberTests {
  @Test(arguments: [
    (1.0, 1, "1"), (1.25, 1, "1.3"), (-0.04, 1, "0"), (-1.5, 1, "-1.5"), (1234.5678, 2, "1234.57"),
    (0, 3, "0"),
    (.infinity, 1, "0"), (.nan, 1, "0"), (1e300, 1, "1e+300"),
  ])
  func shortNumbersHaveNoZerosAtTheEnd(value: Double, decimals: Int, text: String) {
    #expect(Number.short(value, decimals: decimals) == text)
  }

  @Test(arguments: [
    (0.05, 2, "0.05"), (1, 2, "1.00"), (0.999, 2, "1.00"), (-0.004, 2, "0.00"), (12.3456, 3, "12.346"),
  ])
  func fixedNumbersHaveTheirDecimals(value: Double, decimals: Int, text: String) {
    #expect(Number.fixed(value, decimals: decimals) == text)
  }

  @Test func thousandsAreSetApart() {
    #expect(
      [0, 7, 999, 1000, 1_234_567, -1000].map(Number.grouped) == [
        "0", "7", "999", "1,000", "1,234,567", "-1,000",
      ])
  }

  @Test(arguments: [
    (Unit.bytes, 512.0, "512 bytes"), (.bytes, 1536, "1.5 KiB"), (.bytes, 1_048_575, "1 MiB"),
    (.nanoseconds, 999, "999 ns"), (.nanoseconds, 1500, "1.5 µs"), (.seconds, 2.5, "2.5 s"),
    (.count, 1_500_000, "1.5 M"),
    (.ratio, 1.066, "1.07"), (.fraction, 0.85, "85 %"), (.fraction, 0.005, "0.5 %"), (.bytes, .nan, "–"),
  ])
  func unitsAreWritten(unit: Unit, value: Double, text: String) {
    #expect(unit.text(value) == text)
  }

  @Test func ticksAreRoundAndInside() {
    #expect(Unit.seconds.ticks(from: 0, to: 10, count: 10) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    #expect(
      Unit.bytes.ticks(from: 0, to: 300 * 1_048_576, count: 5).allSatisfy {
        $0.truncatingRemainder(dividingBy: 67_108_864) == 0
      })
    #expect(Unit.count.ticks(from: 0, to: 0, count: 5) == [0])
    #expect(Unit.count.ticks(from: 0, to: .infinity, count: 5) == [0])
  }

  @Test func axesAreMonotonic() {
    let axes = [Axis(.bytes), Axis(.nanoseconds, scale: .logarithmic), Axis(.fraction, scale: .nines)]
    for axis in axes {
      let high = axis.scale == .nines ? 0.9999 : 1e6
      let fitted = FittedAxis(axis, from: axis.scale == .nines ? 0 : 10, to: high, ticks: 6)
      let places = stride(from: 0.0, through: 1, by: 0.01).map { fitted.place($0 * high) }
      #expect(zip(places, places.dropFirst()).allSatisfy { $0 <= $1 })
      #expect(places.allSatisfy { $0 >= -1e-9 && $0 <= 1 + 1e-9 })
      #expect(fitted.ticks.count >= 3)
    }
  }
}
