import ArgumentParser
import Bellows
import CShims
import Glibc

/// `bellows top`: a live map of the heap of a process.
struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Show a live map of the memory of a process.",
    usage: "bellows top [<options>] <process>",
    discussion: """
      A row a section, a sign a pageblock of 2 MiB: what is used, freed, returned, caged, offline. Below it, on their \
      keys, size classes and the threads' heaps. Read from outside, like `bellows ls`: the process takes no part in it.

      Keys:
        q, Ctrl-C               quit
        s, c, t                 sections, size classes, threads
        up, down, also k, j     scroll a line
        Page Up, Page Down      scroll a screen
        space                   hold, and go on
        +, -                    look less often, more often

      Examples:
        bellows top redis-server
        bellows top 4711 --interval 0.2
        bellows top 4711 --once >map.txt    All panels, once, for scripts.
        bellows top 4711 --once --json | jq .classes

      Without --interval it looks once a second.

      NO_COLOR in the environment switches colour off; --color goes before it.

      Exit status:
        0   done, or the process ended
        1   failed, as the message says
        4   the process does not run on Bellows
      """)

  @OptionGroup var watch: WatchOptions

  @Flag(help: "Print all panels once, and end.")
  var once = false

  @Option(help: ArgumentHelp("When to use colour: auto, always, never.", valueName: "when"))
  var color: ColorChoice = .auto

  func validate() throws {
    if watch.json && !once { throw ValidationError("--json goes with --once; `bellows stat` writes lines.") }
  }

  func run() throws {
    try Report.errors {
      let target = try TargetProcess.one(watch.process)
      let reader = try HeapReader(target)
      let environment = Launch.environment
      let style = Style(color, environment: environment, isTerminal: isatty(STDOUT_FILENO) == 1)
      let locale = environment["LC_ALL"] ?? environment["LC_CTYPE"] ?? environment["LANG"] ?? ""
      let isUnicode = locale.uppercased().contains("UTF")
      if once {
        let first = try Sample(of: reader, withCensus: true)
        let screen = TopScreen(
          process: target, interval: Interval(earlier: nil, now: first), style: style, isUnicode: isUnicode,
          columns: 120)
        if watch.json {
          return print(try JSONText.of(TopObject(screen), pretty: isatty(STDOUT_FILENO) == 1))
        }
        var lines = screen.head
        for panel in TopScreen.Panel.allCases { lines += [""] + screen.lines(of: panel) }
        for line in lines + ["", screen.legend] {
          print(String(line.reversed().drop { $0 == " " }.reversed()))
        }
        return
      }
      var viewer = TopViewer(
        target: target, reader: reader, style: style, isUnicode: isUnicode, seconds: watch.interval ?? 1)
      try viewer.show()
    }
  }
}
