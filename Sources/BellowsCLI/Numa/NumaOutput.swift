// How all commands of `bellows numa` print: tables for people, one JSON object for programs, a chart as a file.

import ArgumentParser
import Bellows
import BellowsPlot
import FoundationEssentials
import Glibc

/// The options that say how.
struct NumaOutput: ParsableArguments {
  @Flag(help: "Print one JSON object, sizes in bytes.")
  var json = false

  @Option(
    help: ArgumentHelp("Write a chart to this file too, .svg or .html.", valueName: "file"),
    completion: .file(extensions: ["svg", "html"]))
  var chart: String?

  func validate() throws {
    if let chart, !chart.hasSuffix(".svg"), !chart.hasSuffix(".html") {
      throw ValidationError("--chart takes a file name that ends in .svg or .html.")
    }
  }

  /// What one node cannot show.
  static func remarks(_ topology: NodeTopology) -> [String] {
    topology.nodes.count > 1
      ? []
      : [
        """
        This machine has one NUMA node. Whatever is local is all there is: distances, placement and moving of memory \
        cannot be learnt here.
        """
      ]
  }

  /// Prints a report, and writes its chart.
  func write(
    _ report: some Encodable, tables: [Sheet], panels: [Panel], title: String, remarks: [String]
  ) throws {
    let data = try JSONText.of(report, pretty: false)
    if json {
      print(try JSONText.of(report, pretty: isatty(STDOUT_FILENO) == 1))
    } else {
      for (place, table) in tables.enumerated() {
        if place > 0 { print("") }
        if !table.title.isEmpty { print(table.title) }
        print(table.text())
      }
      for remark in remarks { print("\n\(DoctorText.wrapped(remark, width: 80).joined(separator: "\n"))") }
    }
    guard let chart else { return }
    let figure = Figure(
      title: title, command: CommandLine.arguments.joined(separator: " "), data: data, panels: panels)
    let text =
      chart.hasSuffix(".svg") ? figure.svg : Page(figure: figure, tables: tables, remarks: remarks).html
    do { try Data(text.utf8).write(to: URL(filePath: chart)) } catch {
      StandardError.error("cannot write \(chart).")
      throw ExitCode.failure
    }
  }
}

/// Nodes as the kernel writes them: `0,2-3`.
struct NodeListArgument: ExpressibleByArgument, CustomStringConvertible {
  let nodes: [NodeNumber]

  init?(argument: String) {
    // The order is the caller's: the first one is filled first.
    var nodes: [NodeNumber] = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let list = NumberList(parsing: part), !list.numbers.isEmpty else { return nil }
      nodes += list.numbers.map(NodeNumber.init(rawValue:))
    }
    self.nodes = nodes
  }

  var description: String { nodes.map(\.description).joined(separator: ",") }
}
