import ArgumentParser
import Bellows
import CShims
import Glibc

/// `bellows numa drain`: a live process empties a node of its malloc heap, or brings its memory home.
struct NumaDrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "Empty a node of a live process's heap, and keep it so.",
    usage: "bellows numa drain <process> --node <node> [--home]",
    discussion: """
      The process does it itself: first nothing new is allocated there, then sections in which nothing is left go \
      offline, and then what lives there moves to the nearest other nodes, page descriptors and records included. Blocks \
      keep their addresses, and the process goes on meanwhile. Nothing moves unless the other nodes have room for all of \
      it. The node is left out until --home, also where something stayed. The process must take commands: start it with \
      `bellows run --control`. For memory that is not the heap's, and for other processes, see `bellows numa move`.

      Examples:
        bellows numa drain redis-server --node 1
        bellows numa drain 4711 --node 1 --deadline 10 --json
        bellows numa drain 4711 --node 1 --home

      \(ControlOptions.statuses)
      """)

  @OptionGroup var control: ControlOptions

  @Option(
    help: ArgumentHelp("The node, from 0 to 63.", valueName: "node"),
    completion: .custom { _, _, _ in NodeTopology(reading: SystemFiles()).nodes.map { "\($0.number)" } })
  var node: Int

  @Flag(help: "Let the node serve again, and move what was allocated on it back.")
  var home = false

  @Option(help: ArgumentHelp("Begin nothing more after so many seconds.", valueName: "seconds"))
  var deadline: Double = 60

  func validate() throws {
    guard 0..<64 ~= node else { throw ValidationError("--node takes a number from 0 to 63.") }
    guard deadline >= 0, deadline <= 86_400 else {
      throw ValidationError("--deadline takes a number of seconds from 0 to 86400.")
    }
  }

  func run() throws {
    var status: Int32 = 0
    try Report.errors {
      let process = try TargetProcess.one(control.process)
      let drain = NodeDrain(
        process: process, node: node, isHome: home, deadline: deadline, timeout: control.timeout)
      let outcome = try drain.perform()
      status = outcome.status.rawValue
      if control.json {
        print(try JSONText.of(outcome.object(process), pretty: isatty(STDOUT_FILENO) == 1))
      } else {
        print(outcome.headline(process))
        if outcome.hasTable { print(outcome.table.text()) }
      }
    }
    if status != 0 { throw ExitCode(status) }
  }
}
