// A measurement for each pair of a node with processors and a node with memory.

import Bellows
import BellowsPlot

/// What was measured, by node of the thread and node of the memory.
struct NodeMatrix<Value> {
  var cpuNodes: [NodeNumber]
  var memoryNodes: [NodeNumber]
  /// By row (thread), then column (memory); nil where it could not be measured.
  var cells: [[Value?]]
  /// Why, in words.
  var failures: [String]

  /// Measures all pairs, the local ones among them, with progress on standard error.
  static func measure(_ what: String, _ body: (NodeNumber, NodeNumber) throws -> Value) -> NodeMatrix {
    let nodes = NodeTopology.current().nodes
    let cpuNodes = nodes.filter { !$0.cpus.isEmpty }.map(\.number)
    let memoryNodes = nodes.filter { $0.memoryBytes > 0 }.map(\.number)
    let progress = Progress("measuring \(what)")
    var failures: [String] = []
    let cells = cpuNodes.map { cpuNode in
      memoryNodes.map { memoryNode -> Value? in
        progress.tick()
        do { return try body(cpuNode, memoryNode) } catch {
          failures.append("Node \(cpuNode) to node \(memoryNode) was not measured: \(words(error)).")
          return nil
        }
      }
    }
    progress.end()
    return NodeMatrix(cpuNodes: cpuNodes, memoryNodes: memoryNodes, cells: cells, failures: failures)
  }

  private static func words(_ error: any Error) -> String {
    switch error {
    case MeasurementFailure.noRoom(let node, let needed): "node \(node) has no room for \(needed)"
    case MeasurementFailure.misplaced(let node, let pages): "\(pages) pages did not come to node \(node)"
    case PlacementError.refused(let code): "the kernel refuses (errno \(code))"
    default: "\(error)"
    }
  }

  func map<Other>(_ transform: (Value) -> Other) -> NodeMatrix<Other> {
    NodeMatrix<Other>(
      cpuNodes: cpuNodes, memoryNodes: memoryNodes, cells: cells.map { $0.map { $0.map(transform) } },
      failures: failures)
  }

  var remarks: [String] {
    failures
      + (memoryNodes.count > 1
        ? []
        : [
          """
          Only one node has memory here: there is nothing to compare. What a far node costs cannot be learnt on this \
          machine.
          """
        ])
  }
}

extension NodeMatrix<Double> {
  func table(_ title: String, _ unit: BellowsPlot.Unit) -> Sheet {
    Sheet(
      title: title, columns: ["thread on"] + memoryNodes.map { "memory on \($0)" },
      rows: cpuNodes.indices.map { row in
        [.init("node \(cpuNodes[row])", isFigure: false)]
          + cells[row].map { .init($0.map(unit.text) ?? "–") }
      })
  }

  func panel(_ title: String, _ unit: BellowsPlot.Unit) -> Matrix {
    Matrix(
      title: title, sides: ("thread on", "memory on"), rows: cpuNodes.map { "node \($0)" },
      columns: memoryNodes.map { "node \($0)" }, values: cells.map { $0.map { $0 ?? .nan } }, unit: unit)
  }
}

extension NodeMatrix: Encodable where Value: Encodable {
  private enum CodingKeys: CodingKey { case cells, failures }

  private struct Entry: Encodable {
    var cpuNode: NodeNumber
    var memoryNode: NodeNumber
    var value: Value?
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    let entries = cpuNodes.indices.flatMap { row in
      memoryNodes.indices.map { column in
        Entry(cpuNode: cpuNodes[row], memoryNode: memoryNodes[column], value: cells[row][column])
      }
    }
    try container.encode(entries, forKey: .cells)
    try container.encode(failures, forKey: .failures)
  }
}

/// The object of `bellows numa latency --json`.
struct LatencyReport: Encodable {
  let schema = 1
  let unit = "nanoseconds"
  let latency: NodeMatrix<Double>

  init(_ latency: NodeMatrix<Double>) { self.latency = latency }
}

/// The object of `bellows numa bandwidth --json`.
struct BandwidthReport: Encodable {
  let schema = 1
  /// Bytes a second.
  let streams: NodeMatrix<NodeExperiments.Bandwidth>
  /// Blocks a second, page descriptors with the section.
  let withSection: NodeMatrix<Double>
  /// Blocks a second, page descriptors on the thread's node.
  let local: NodeMatrix<Double>
}
