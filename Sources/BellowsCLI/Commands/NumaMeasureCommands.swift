import ArgumentParser
import Bellows
import BellowsPlot
import Glibc

/// The options that measurements of nodes have.
struct NumaMeasureOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Memory of each measurement, well above the caches.", valueName: "size"))
  var size = SizeArgument(bytes: 64 << 20)

  @Option(help: ArgumentHelp("Measure each so often and take the best.", valueName: "count"))
  var rounds = 3

  func validate() throws {
    guard size.bytes >= 1 << 20, size.bytes <= 1 << 40 else {
      throw ValidationError("--size takes 1M to 1T.")
    }
    guard (1...1000).contains(rounds) else { throw ValidationError("--rounds takes 1 to 1000.") }
  }

  var experiments: NodeExperiments { NodeExperiments(bytes: size.bytes, rounds: rounds) }
}

/// `bellows numa latency`.
struct NumaLatencyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "latency",
    abstract: "Measure how long a load takes, from each node's processors to each node's memory.",
    discussion: """
      A chain of loads through all cache lines in random order, each waiting for the one before it. On a machine that \
      does other work the figures are too high; on an emulated one they prove nothing but that pages are where they \
      should be.
      """)

  @OptionGroup var options: NumaMeasureOptions
  @OptionGroup var output: NumaOutput

  func run() throws {
    let matrix = NodeMatrix.measure("latency") { try options.experiments.latency(from: $0, to: $1) }
    try output.write(
      LatencyReport(matrix), tables: [matrix.table("Latency of a load", .nanoseconds)],
      panels: [.matrix(matrix.panel("Latency of a load", .nanoseconds))],
      title: "Latency between NUMA nodes", remarks: matrix.remarks)
  }
}

/// `bellows numa bandwidth`.
struct NumaBandwidthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bandwidth",
    abstract: "Measure reading, writing and allocating, from each node's processors to each node's memory.",
    discussion: """
      One thread reads, writes and copies in order: what a thread gets, not what all together could get. Then it \
      allocates and frees blocks of 256 bytes in an arena on each node, once with the arena's page descriptors there \
      too, and once with them on the thread's own node.
      """)

  @OptionGroup var options: NumaMeasureOptions
  @OptionGroup var output: NumaOutput

  func run() throws {
    let experiments = options.experiments
    let streams = NodeMatrix.measure("bandwidth") { try experiments.bandwidth(from: $0, to: $1) }
    let far = NodeMatrix.measure("allocation") {
      try experiments.allocationRate(from: $0, to: $1, memmapOn: $1)
    }
    let local = NodeMatrix.measure("allocation, page descriptors local") { cpuNode, memoryNode in
      // A processor node without memory has no descriptors of its own.
      try experiments.allocationRate(
        from: cpuNode, to: memoryNode,
        memmapOn: NodeTopology.current().fallback(from: cpuNode).first ?? memoryNode)
    }
    let parts: [(String, NodeMatrix<Double>, BellowsPlot.Unit)] = [
      ("Reading, bytes a second", streams.map(\.read), .bytes),
      ("Writing, bytes a second", streams.map(\.write), .bytes),
      ("Copying, bytes a second", streams.map(\.copy), .bytes),
      ("Blocks allocated and freed a second, page descriptors with the section", far, .count),
      ("Blocks allocated and freed a second, page descriptors on the thread's node", local, .count),
    ]
    try output.write(
      BandwidthReport(streams: streams, withSection: far, local: local),
      tables: parts.map { $0.1.table($0.0, $0.2) }, panels: parts.map { .matrix($0.1.panel($0.0, $0.2)) },
      title: "Bandwidth and allocation between NUMA nodes", remarks: streams.remarks)
  }
}
