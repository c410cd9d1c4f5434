// The charts of a report.

import Bellows
import BellowsPlot

extension StressReport {
  /// The figure for SVG and HTML.
  func figure(data: String) -> Figure {
    Figure(
      title: "\(scenario.name): \(scenario.summary)", notes: [conditions], command: command, data: data,
      panels: panels)
  }

  /// Under what conditions it was run, in a line.
  var conditions: String {
    let kernel = KernelVersion(reading: SystemFiles())?.release ?? "unknown"
    let system = "Bellows \(BellowsVersion.current), Linux \(kernel)"
    if !origin.isEmpty { return "\(origin); \(system)" }
    return "\(settings.threads) threads, \(Unit.bytes.text(Double(settings.liveBytes))) live, blocks of "
      + "\(Unit.bytes.text(Double(settings.leastBytes))) to \(Unit.bytes.text(Double(settings.mostBytes))), seed \(settings.seed), "
      + "\(Number.short(settings.seconds)) s; \(system)"
  }

  private var drawn: [StressRun] { runs.filter { $0.samples.count > 1 } }

  /// The charts, those that have something to show.
  var panels: [Panel] {
    guard !drawn.isEmpty else { return [] }
    var panels: [Panel] = [.lines(memory), .lines(latency)]
    if let counters { panels.insert(.lines(counters), at: 1) }
    if let heat { panels.append(.heat(heat)) }
    return panels
  }

  /// Events of the first run: those of the others come a little earlier or later.
  private var marks: [Mark] { (drawn.first?.events ?? []).map { Mark(x: $0.seconds, label: $0.label) } }

  /// Resident memory and live bytes over time.
  var memory: LineChart {
    let reference = drawn[0]
    var series = [
      Series(
        "live", style: .area, points: reference.samples.map { ($0.seconds, Double($0.live + reference.base)) }
      )
    ]
    for (index, run) in drawn.enumerated() {
      series.append(
        Series(run.allocator.name, color: index, points: run.samples.map { ($0.seconds, Double($0.rss)) }))
    }
    if let limit { series.append(limit) }
    return LineChart(
      title: "Resident memory and live bytes", note: "live is drawn on top of the program's own memory",
      x: Axis(.seconds), y: Axis(.bytes), series: series, marks: marks, plotHeight: 320)
  }

  /// The first bound on resident memory, as it is for the first allocator: a line that must not be passed.
  private var limit: Series? {
    guard let run = drawn.first, let judged = judgements.first(where: { $0.allocator == run.allocator.name }),
      case .success(let verdict) = judged.result, let bound = try? Bound(parsing: verdict.bound),
      let points = bound.limit(of: run, turn: scenario.turn)
    else { return nil }
    return Series("bound", style: .limit, points: points)
  }

  /// Bellows' own counters on top of what the kernel says.
  var counters: LineChart? {
    guard let run = drawn.first(where: { $0.samples.contains { $0.bellows != nil } }) else { return nil }
    func line(_ name: String, _ color: Int, _ style: Series.Style, _ value: (BellowsCounters) -> Int)
      -> Series
    {
      Series(
        name, color: color, style: style,
        points: run.samples.map { ($0.seconds, $0.bellows.map { Double(value($0)) } ?? .nan) })
    }
    let anonymous = Series(
      "kernel", style: .area,
      points: run.samples.map { ($0.seconds, Double(max(0, $0.anonymous - run.anonymousBase))) })
    return LineChart(
      title: "Bellows' own counters", note: "grey: the kernel's anonymous memory above the base",
      x: Axis(.seconds), y: Axis(.bytes),
      series: [
        anonymous, line("held", 0, .solid, \.held), line("in use", 1, .dashed, \.allocated),
        line("free, resident", 2, .dashed, \.freeResident),
      ], plotHeight: 180)
  }

  /// Latencies by percentile.
  var latency: LineChart {
    let parts = [
      0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 0.999999,
    ]
    let series = drawn.enumerated().map { index, run in
      // A percentile is known where at least ten operations lie above it.
      let known = parts.filter { $0 == 0 || Double(run.latency.totalCount) * (1 - $0) >= 10 }
      return Series(
        run.allocator.name, color: index,
        points: known.map { ($0, max(1, run.percentile($0 * 100))) })
    }
    return LineChart(
      title: "Latency of malloc, free and realloc", note: "percentiles of the calls alone",
      x: Axis(.fraction, scale: .nines), y: Axis(.nanoseconds, scale: .logarithmic), series: series,
      plotHeight: 220)
  }

  /// The pageblocks of Bellows' sections over time.
  var heat: HeatMap? {
    guard let run = drawn.first(where: { $0.heat?.sections.isEmpty == false }), let heat = run.heat,
      heat.moments.count > 1
    else { return nil }
    // More than eight sections are a blur; the oldest come first.
    let addresses = heat.byAge.prefix(8)
    var cells: [[Double]] = []
    var hatched: [[Bool]] = []
    let rows = addresses.map { address in
      let history = heat.sections[address] ?? []
      let count = history.map(\.count).max() ?? 0
      for block in 0..<count {
        cells.append(history.map { $0.count > block ? $0[block].resident : .nan })
        hatched.append(history.map { $0.count > block && $0[block].isCaged })
      }
      return count
    }
    let more = heat.sections.count - addresses.count
    return HeatMap(
      title: "Pageblocks of Bellows' sections",
      note:
        "2 MiB each, 64 to a section, the oldest first\(more > 0 ? "; \(more) more sections are not shown" : "")",
      x: Axis(.seconds, high: run.seconds), columns: heat.moments, end: run.seconds,
      groups: rows.enumerated().map { ("section \($0)", $1) }, cells: cells,
      hatched: hatched.joined().contains(true) ? hatched : [],
      legend: ("nothing resident", "all resident", "caged"), marks: marks)
  }
}
