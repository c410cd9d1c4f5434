// NUMA nodes from /sys/devices/system/node. Read afresh each time: nodes come and go with memory hotplug, and libraries
// that read them once at load go stale. A node may lack memory or CPUs; node numbers may have gaps. Offline CPUs belong
// to no node here, as the kernel lists only those that are online.

/// The NUMA nodes of a machine.
package struct NodeTopology: Hashable, Sendable, Encodable {
  /// One node.
  package struct Node: Hashable, Sendable, Encodable {
    /// The kernel's number of the node.
    package let number: Int
    /// The node's online CPUs; empty for a node of memory alone.
    package let cpus: [Int]
    /// The node's memory, in bytes; 0 for a node of CPUs alone.
    package let memoryBytes: Int
    /// The memory that is free, in bytes.
    package let freeBytes: Int
    /// The distance to each online node, in the order of `NodeTopology.nodes`; 10 is the node itself.
    package let distances: [Int]
  }

  /// The online nodes in order of number.
  package let nodes: [Node]
  /// The CPUs that exist and are not online.
  package let offlineCPUs: [Int]

  /// Returns the distance between two nodes by number, or nil where one is not online.
  package func distance(from: Int, to: Int) -> Int? {
    guard let row = nodes.first(where: { $0.number == from }),
      let column = nodes.firstIndex(where: { $0.number == to }), column < row.distances.count
    else { return nil }
    return row.distances[column]
  }

  /// Reads the topology.
  ///
  /// A kernel without NUMA has one node with all CPUs and all memory.
  package init(reading files: SystemFiles) {
    func list(_ path: String) -> [Int]? { files.line(path).flatMap { NumberList(parsing: $0)?.numbers } }
    let folder = "sys/devices/system/node"
    offlineCPUs = list("sys/devices/system/cpu/offline") ?? []
    guard let online = list("\(folder)/online"), !online.isEmpty else {
      let memory = MemoryInfo(reading: files)
      nodes = [
        Node(
          number: 0, cpus: list("sys/devices/system/cpu/online") ?? [], memoryBytes: memory?.totalBytes ?? 0,
          freeBytes: memory?.availableBytes ?? 0, distances: [10])
      ]
      return
    }
    nodes = online.map { number in
      let own = "\(folder)/node\(number)"
      let memory = KeyedText(parsing: (try? files.text("\(own)/meminfo")) ?? "")
      return Node(
        number: number, cpus: list("\(own)/cpulist") ?? [], memoryBytes: memory.bytes("MemTotal") ?? 0,
        freeBytes: memory.bytes("MemFree") ?? 0,
        distances: (files.line("\(own)/distance") ?? "").split(separator: " ").compactMap { Int($0) })
    }
  }
}
