import ArgumentParser
import Bellows
import BellowsPlot

/// `bellows numa`: nodes, where memory is on them, what it costs from each, and how it moves.
struct NumaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "numa",
    abstract: "Look at NUMA nodes, measure them, and move memory between them.",
    discussion: """
      Examples:
        bellows numa topology
        bellows numa placement redis-server
        bellows numa latency --chart latency.html
        bellows numa bandwidth --json
        bellows numa move 4711 --from 1 --to 0,2 --seconds 10
        bellows numa drain 4711 --node 1
      """,
    subcommands: [
      NumaTopologyCommand.self, NumaPlacementCommand.self, NumaLatencyCommand.self, NumaBandwidthCommand.self,
      NumaMoveCommand.self, NumaDrainCommand.self,
    ])
}

/// `bellows numa topology`.
struct NumaTopologyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "topology",
    abstract: "List the nodes: processors, memory, tiers, distances.",
    discussion: """
      Read from the kernel at this moment, so nodes that were plugged in later are there. The distance of a node to \
      itself is 10; it is what the firmware says, not what was measured: see `bellows numa latency`.
      """)

  @OptionGroup var output: NumaOutput

  func run() throws {
    let topology = NodeTopology.current()
    try output.write(
      TopologyReport(topology), tables: TopologyReport.tables(topology),
      panels: topology.nodes.count > 1 ? [.matrix(TopologyReport.matrix(topology))] : [],
      title: "NUMA nodes of this machine", remarks: NumaOutput.remarks(topology))
  }
}

/// `bellows numa placement`.
struct NumaPlacementCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "placement",
    abstract: "Show on which nodes the memory of a live process is.",
    discussion: """
      Asks the kernel for the node of each page, which touches none. Of a process on Bellows, the sections of its malloc \
      heap and their page descriptors are told apart; the rest, and other processes, by kind of mapping.
      """)

  @Argument(
    help: ArgumentHelp("Number or name of the process.", valueName: "process"),
    completion: .custom { _, _, _ in ProcessCompletion.words })
  var process: String

  @OptionGroup var output: NumaOutput

  func run() throws {
    try Report.errors {
      let report = try PlacementReport(of: try TargetProcess.one(process))
      let topology = NodeTopology.current()
      try output.write(
        report, tables: [report.table(topology.nodes.map(\.number))],
        panels: [.matrix(report.matrix(topology.nodes.map(\.number)))],
        title: "Memory of \(report.name) (\(report.process)) by node",
        remarks: report.remarks + NumaOutput.remarks(topology))
    }
  }
}

/// `bellows numa move`.
struct NumaMoveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "move",
    abstract: "Move the memory of a live process from one node to others.",
    discussion: """
      Pages change their node and keep their addresses and contents; the process goes on meanwhile and takes no part. \
      All of its private memory moves, whoever allocated it. Nothing moves unless the other nodes have room for all of \
      it. What the process allocates meanwhile comes from the node that its threads run on: give it other processors \
      first (taskset, cpuset), or that memory comes back.

      Exit status:
        0   nothing of it is left on the nodes
        1   failed, as the message says; nothing was moved
        3   some pages stayed, as the table says
      """)

  @Argument(
    help: ArgumentHelp("Number or name of the process.", valueName: "process"),
    completion: .custom { _, _, _ in ProcessCompletion.words })
  var process: String

  @Option(help: ArgumentHelp("Nodes to empty, as in 1 or 2-3.", valueName: "nodes"))
  var from: NodeListArgument

  @Option(help: ArgumentHelp("Nodes to fill, the first one first.", valueName: "nodes"))
  var to: NodeListArgument

  @Option(help: ArgumentHelp("Begin nothing more after so many seconds.", valueName: "seconds"))
  var seconds: Double?

  @OptionGroup var output: NumaOutput

  func validate() throws {
    if let seconds, !(seconds >= 0 && seconds < 1_000_000) {
      throw ValidationError("--seconds takes a number of seconds from 0.")
    }
  }

  func run() throws {
    try Report.errors {
      let target = try TargetProcess.one(process)
      let progress = Progress("moving memory of \(target.name)")
      let outcome: PageMover.Outcome
      do throws(PageMover.Failure) {
        outcome = try PageMover.moveAll(
          of: target.id, from: from.nodes, to: to.nodes, within: seconds.map { .seconds($0) },
          progress: { _ in
            progress.tick()
            return true
          })
      } catch {
        progress.end()
        throw TargetError.failed(target.id, what: MoveReport.message(error))
      }
      progress.end()
      try output.write(
        outcome, tables: [MoveReport.table(outcome)], panels: [],
        title: "\(target.name) (\(target.id)) from node \(from) to \(to)", remarks: [])
      if !outcome.isComplete { throw ExitCode(3) }
    }
  }
}
