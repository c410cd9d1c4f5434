import ArgumentParser
import Bellows

/// `bellows limit`: bounds what a live process' heap may hold.
struct LimitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limit",
    abstract: "Show or set how much memory a live process' heap may hold.",
    usage: "bellows limit [<options>] <process> [<size>] [--hard <size>]",
    discussion: """
      What counts is memory that blocks lie in, freed memory that was not yet given back, and huge blocks. Above the \
      soft limit free memory goes back at once, and new sections come only when that brought no room; nothing fails. \
      What would go above the hard limit fails in the program, with ENOMEM.

      Without a size it shows the limits, of any process on Bellows. To set them, the process must take commands: \
      start it with `bellows run --control`. `none` takes a limit away. BELLOWS_LIMIT=SOFT:HARD sets them at start.

      Examples:
        bellows limit redis-server
        bellows limit redis-server 512M
        bellows limit 4711 512M --hard 1G
        bellows limit 4711 none --hard none

      \(ControlOptions.statuses)
      """)

  @OptionGroup var control: ControlOptions

  @Argument(help: ArgumentHelp("The soft limit.", valueName: "size"))
  var soft: SizeArgument?

  @Option(help: ArgumentHelp("The hard limit.", valueName: "size"))
  var hard: SizeArgument?

  func validate() throws {
    if let soft, let hard, hard.bytes != 0, soft.bytes > hard.bytes {
      throw ValidationError("The hard limit must not be below the soft one.")
    }
  }

  func run() throws {
    try Report.errors {
      let process = try TargetProcess.one(control.process)
      let limits: HeapLimits
      // Without /proc it cannot be read from outside.
      if soft == nil, hard == nil, ProcView.isThere {
        limits = try HeapReader(process).limits()
      } else {
        let channel = try ControlChannel.open(process)
        let arguments = [soft, hard].map { $0.map { UInt($0.bytes) } ?? UInt(UInt64.max) }
        let answer = try channel.ask(.limit, arguments, seconds: control.timeout)
        if answer.error != 0 { throw TargetError.refused(process.id, answer.error) }
        limits = HeapLimits(
          softBytes: answer.results[0], hardBytes: answer.results[1], heldBytes: answer.results[2])
      }
      func words(_ bytes: Int) -> String { bytes == 0 ? "none" : Bytes.text(bytes) }
      let isAbove = limits.softBytes != 0 && limits.heldBytes > limits.softBytes
      let report = ControlReport(
        process: process, command: "limit",
        fields: [
          ("soft", limits.softBytes == 0 ? .none : .bytes(limits.softBytes)),
          ("hard", limits.hardBytes == 0 ? .none : .bytes(limits.hardBytes)),
          ("held", .bytes(limits.heldBytes)),
        ],
        text: """
          \(process.name) (\(process.id)): soft limit \(words(limits.softBytes)), hard limit \
          \(words(limits.hardBytes)), held \(Bytes.text(limits.heldBytes))\
          \(isAbove ? ", above the soft limit: it is in use" : "")
          """)
      try report.print(json: control.json)
    }
  }
}

/// The limits of a heap and what is compared with them; 0: no limit.
struct HeapLimits: Equatable {
  var softBytes: Int
  var hardBytes: Int
  var heldBytes: Int
}
