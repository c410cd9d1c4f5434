// What `stress` prints: the table, the verdicts, a sketch of memory over time; and how far it is meanwhile.

import Bellows
import BellowsPlot
import Glibc

/// The text of a report.
enum StressText {
  /// Returns the whole text without a line end.
  static func text(_ report: StressReport, _ style: Style) -> String {
    var parts = [
      style.mark("\(report.scenario.name): \(report.scenario.summary)", .heading) + "\n" + report.conditions,
      report.table.text { style.mark($0, .bad) },
    ]
    if isatty(STDOUT_FILENO) == 1, report.runs.contains(where: { $0.samples.count > 1 }) {
      let emphasis: [Style.Emphasis] = [.caution, .quiet, .good, .heading]
      parts.append(
        TerminalChart(report.memory, columns: 100).text { text, color in
          color.map { style.mark(text, emphasis[$0 % emphasis.count]) } ?? text
        })
    }
    if !report.judgements.isEmpty { parts.append(report.boundTable.text { style.mark($0, .bad) }) }
    parts += report.substitutes
    if let agreement = report.agreement { parts.append(agreement) }
    return parts.joined(separator: "\n\n")
  }
}

/// The list of scenarios.
enum StressListing {
  /// Returns the whole text without a line end.
  static func text(_ style: Style) -> String {
    var lines = [style.mark("Scenarios", .heading)]
    for scenario in StressScenario.all {
      lines.append("  \(padded(scenario.name, 10)) \(scenario.summary)")
      let turn = scenario.turn.map { "; '+2s' counts from '\($0)'" } ?? ""
      lines.append("  \(padded("", 10)) bound: \(scenario.bounds.joined(separator: ", "))\(turn)")
    }
    lines += ["", style.mark("Figures of bounds", .heading)]
    lines += Bound.Variable.allCases.map { "  \(padded($0.rawValue, 10)) \($0.meaning)" }
    lines.append("  \(padded("", 10)) max(...) min(...) mean(...) first(...) last(...): of all samples")
    return lines.joined(separator: "\n")
  }

  /// Returns the list as one JSON object.
  static func json() throws(StressFailure) -> String {
    do { return try JSONText.of(Listing(), pretty: false) } catch {
      throw StressFailure(message: "The scenarios cannot be written: \(error).")
    }
  }

  private struct Listing: Encodable {
    struct Scenario: Encodable {
      let name: String
      let summary: String
      let bounds: [String]
      let turn: String?
      let needs: String
      let substitute: String?
    }
    struct Figure: Encodable {
      let name: String
      let meaning: String
    }
    let schema = 1
    let scenarios = StressScenario.all.map {
      Scenario(
        name: $0.name, summary: $0.summary, bounds: $0.bounds, turn: $0.turn, needs: $0.need.rawValue,
        substitute: $0.substitute)
    }
    let figures = Bound.Variable.allCases.map { Figure(name: $0.rawValue, meaning: $0.meaning) }
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}

/// How far a run is, on stderr: one line that is written over, or one line a run where nobody watches.
final class StressProgress {
  private let title: String
  private let seconds: Double
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private var shown = -1.0

  init(scenario: String, allocator: String, seconds: Double) {
    title = "\(scenario) under \(allocator)"
    self.seconds = seconds
    if !isTerminal { StandardError.write("bellows: \(title), about \(Number.short(seconds)) s\n") }
  }

  /// Shows how far it is, ten times a second at most.
  func show(_ time: Double, _ rss: Int) {
    guard isTerminal, time - shown >= 0.1 else { return }
    shown = time
    let part = min(1, time / seconds)
    let full = Int(part * 30)
    let bar = String(repeating: "█", count: full) + String(repeating: "░", count: 30 - full)
    StandardError.write(
      "\r\(title) \(bar) \(Number.fixed(time, decimals: 1)) s, RSS \(Unit.bytes.text(Double(rss)))\u{1b}[K")
  }

  /// Takes the line away.
  func end() {
    if isTerminal { StandardError.write("\r\u{1b}[K") }
  }
}
