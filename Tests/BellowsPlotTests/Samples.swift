import Glibc

@testable import BellowsPlot

/// Figures with every kind of chart, and names that would break a careless writer.
enum Samples {
  static let nasty = "<b>&\"quotes\"</b></script>]]>"

  static var lines: LineChart {
    let times = (0..<200).map { Double($0) / 20 }
    func curve(_ peak: Double, _ left: Double, _ delay: Double) -> [(x: Double, y: Double)] {
      times.map { time in
        let full = 1_048_576 * peak
        let value =
          time < 2
          ? time / 2 * full
          : time < 4 + delay ? full : left * full + (1 - left) * full * exp(-(time - 4 - delay) * 8)
        return (time, value)
      }
    }
    return LineChart(
      title: "Resident memory and live bytes", note: "Rss of smaps_rollup, every 50 ms", x: Axis(.seconds),
      y: Axis(.bytes),
      series: [
        Series("live", style: .area, points: curve(256, 0, 0)),
        Series("bellows", color: 0, points: curve(270, 0.05, 0.25)),
        Series("glibc", color: 1, points: curve(266, 0.98, 0)),
        Series("jemalloc", color: 2, points: curve(290, 0.97, 0)),
        Series("bound", style: .limit, points: [(6, 1.3 * 1_048_576 * 32), (10, 1.3 * 1_048_576 * 32)]),
      ],
      marks: [
        Mark(x: 2, label: "full"), Mark(x: 2.1, label: "settled"), Mark(x: 4, label: "free"),
        Mark(x: 6, label: "+2 s"),
      ])
  }

  static var percentiles: LineChart {
    let parts = [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999]
    func curve(_ base: Double, _ tail: Double) -> [(x: Double, y: Double)] {
      parts.enumerated().map { ($1, base * pow(tail, Double($0))) }
    }
    return LineChart(
      title: "Latency of one operation", x: Axis(.fraction, scale: .nines),
      y: Axis(.nanoseconds, scale: .logarithmic),
      series: [
        Series("bellows", color: 0, points: curve(20, 2)), Series("glibc", color: 1, points: curve(25, 2.3)),
      ])
  }

  static var heat: HeatMap {
    func cell(_ row: Int, _ column: Int) -> Double {
      if column < 20 { return column * 6 > row ? 1 : 0 }
      return column < 60 ? 1 - Double(row % 7) / 8 : row < 12 ? 0.4 : 0
    }
    let cells = (0..<128).map { row in (0..<100).map { cell(row, $0) } }
    let hatched = (0..<128).map { row in (0..<100).map { column in row > 100 && column > 30 && column < 60 } }
    return HeatMap(
      title: "Pageblocks of bellows over time", note: "2 MiB each", x: Axis(.seconds),
      columns: (0..<100).map { Double($0) / 10 },
      end: 10, groups: [("section 0", 64), ("section 1", 64)], cells: cells, hatched: hatched,
      legend: ("nothing", "all resident", "caged"), marks: [Mark(x: 4, label: "free")])
  }

  static var matrix: Matrix {
    Matrix(
      title: "Distance", sides: ("from", "to"), rows: ["node 0", "node 1", "node 2"],
      columns: ["node 0", "node 1", "node 2"],
      values: [[10, 21, 31], [21, 10, .nan], [31, 21, 10]], unit: .count)
  }

  static var dots: DotChart {
    DotChart(
      title: "Compared", note: "1 is glibc", axis: Axis(.ratio, scale: .logarithmic),
      series: ["bellows", "glibc", nasty],
      rows: [
        ("operations per second", [1.2, 1, 0.9]), ("resident at the end", [0.1, 1, .nan]),
        ("p99.9", [0.8, 1, 3]),
      ])
  }

  static var figure: Figure {
    Figure(
      title: "spike: \(nasty)", notes: ["4 threads, seed 1, 256 MiB live", "Linux 6.18, 2 CPUs"],
      command: "bellows stress spike --label '\(nasty)'",
      data: #"{"schema":1,"text":"<b>&\"quotes\"</b></script>]]>"}"#,
      panels: [.lines(lines), .lines(percentiles), .dots(dots), .heat(heat), .matrix(matrix)])
  }

  static var page: Page {
    Page(
      figure: figure,
      tables: [
        Sheet(
          columns: ["allocator", "peak", "ratio", "verdict"],
          rows: [
            [
              .init("bellows", isFigure: false), .init("270 MiB"), .init("1.05"),
              .init("held", isFigure: false),
            ],
            [
              .init(nasty, isFigure: false), .init("266 MiB"), .init("1.04"),
              .init("broken", isFigure: false, isBad: true),
            ],
          ])
      ], remarks: ["One run."])
  }
}
