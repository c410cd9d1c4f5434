import ArgumentParser
import Bellows
import Glibc

/// `bellows stat`: one line of figures a tick.
struct StatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stat",
    abstract: "Print the figures of a live process, a line a tick.",
    usage: "bellows stat [<options>] <process>",
    discussion: """
      Read from outside, like `bellows ls`: the process takes no part in it. Without --interval it prints one line, \
      with it one line each so many seconds until the process ends. Rates are those since the line before.

      Examples:
        bellows stat redis-server
        bellows stat 4711 --interval 1
        bellows stat 4711 --interval 0.5 --count 20 --json >figures.jsonl

      Columns:
      \(Interval.columns.map { "  \($0.name)\(String(repeating: " ", count: 12 - $0.name.count))\($0.help)\n" }
        .joined())
      A line of --json has them under the same names in small letters (returned_per_second, faults_per_second, \
      cpu_percent), sizes in bytes, and also anonymous, swap, returned (in all), held, soft_limit and hard_limit.

      Exit status:
        0   done, or the process ended
        1   failed, as the message says
        4   the process does not run on Bellows
      """)

  @OptionGroup var watch: WatchOptions

  @Option(name: .shortAndLong, help: ArgumentHelp("End after so many lines.", valueName: "lines"))
  var count: Int?

  @Flag(name: .shortAndLong, help: "Print sizes in bytes.")
  var bytes = false

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--count takes a number of lines from 1.") }
  }

  func run() throws {
    try Report.errors {
      let target = try TargetProcess.one(watch.process)
      let reader = try HeapReader(target)
      let limit = count ?? (watch.interval == nil ? 1 : Int.max)
      let isTerminal = isatty(STDOUT_FILENO) == 1
      var earlier: Sample?
      let start = ContinuousClock.now
      for line in 0..<limit {
        if line > 0 {
          // Against the start, so that the time that a look takes does not add up.
          let next = start + .milliseconds(Int(Double(line) * (watch.interval ?? 1) * 1000))
          let wait = max(0, (next - .now) / .microseconds(1))
          usleep(useconds_t(min(wait, 4e9)))
        }
        let sample: Sample
        do throws(TargetError) { sample = try Sample(of: reader) } catch {
          if case .ended = error, line > 0 { return }
          throw error
        }
        let row = Interval(earlier: earlier, now: sample)
        earlier = sample
        if watch.json {
          print(try JSONText.of(row.object(target), pretty: false))
        } else {
          // Widths of their own for each line would not stand below each other.
          if line == 0 || isTerminal && line % 20 == 0 { print(Self.line(Interval.columns.map(\.name))) }
          print(Self.line(Interval.columns.map { $0.cell(row).text(inBytes: bytes) }))
        }
        fflush(nil)
      }
    }
  }

  private static func line(_ cells: [String]) -> String {
    zip(Interval.columns, cells).map { column, cell in
      let width = max(column.name.count, column.isRight ? 7 : 14)
      let blanks = String(repeating: " ", count: max(0, width - cell.count))
      return column.isRight ? blanks + cell : cell + blanks
    }.joined(separator: " ")
  }
}
