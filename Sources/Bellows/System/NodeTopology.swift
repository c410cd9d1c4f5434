// NUMA nodes from /sys/devices/system/node. Read afresh each time: nodes come and go with memory hotplug, and libraries
// that read them once at load go stale. A node may lack memory or CPUs; node numbers may have gaps. Offline CPUs belong
// to no node here, as the kernel lists only those that are online.
//
// libnuma says the same and is the tests' oracle, but no part of the library: it is frozen when it is loaded, allocates in
// its constructor, and a package that depends on this one would need its headers.

/// The NUMA nodes of a machine at one moment.
public struct NodeTopology: Hashable, Sendable, Encodable {
  /// One node.
  public struct Node: Hashable, Sendable, Encodable {
    /// The kernel's number of the node.
    public let number: NodeNumber
    /// The node's online CPUs; empty for a node of memory alone.
    public let cpus: [Int]
    /// The node's memory, in bytes; 0 for a node of CPUs alone.
    public let memoryBytes: Int
    /// The memory that is free, in bytes.
    public let freeBytes: Int
    /// The distance to each online node, in the order of `NodeTopology.nodes`; 10 is the node itself.
    public let distances: [Int]
    /// The kernel's memory tier: the lower, the faster. Nil where the kernel does not say.
    public let tier: Int?

    /// Whether the node has memory and no CPU that is online, as memory behind CXL has.
    public var isMemoryOnly: Bool { cpus.isEmpty && memoryBytes > 0 }
  }

  /// The online nodes in order of number.
  public let nodes: [Node]
  /// The CPUs that exist and are not online.
  public let offlineCPUs: [Int]

  /// Reads the topology of this machine as it is now.
  ///
  /// - Complexity: A dozen small files, and four for each node.
  public static func current() -> NodeTopology { NodeTopology(reading: SystemFiles()) }

  /// The node with a number, or nil where it is not online.
  public subscript(number: NodeNumber) -> Node? { nodes.first { $0.number == number } }

  /// Returns the distance between two nodes by number, or nil where one is not online.
  ///
  /// It need not be the same in both directions.
  public func distance(from: NodeNumber, to: NodeNumber) -> Int? {
    guard let row = self[from], let column = nodes.firstIndex(where: { $0.number == to }),
      column < row.distances.count
    else { return nil }
    return row.distances[column]
  }

  /// The nodes that have memory, the nearest to `node` first, which is itself where it has any; of equally near ones
  /// the one with the lower number.
  ///
  /// Memory that is wanted on a node and cannot be had there comes from the next in this order.
  public func fallback(from node: NodeNumber) -> [NodeNumber] {
    let reachable = nodes.filter { $0.memoryBytes > 0 }.compactMap { other in
      distance(from: node, to: other.number).map { (distance: $0, number: other.number) }
    }
    return reachable.sorted { ($0.distance, $0.number) < ($1.distance, $1.number) }.map(\.number)
  }

  /// The node that a CPU belongs to, or nil where it is not online.
  public func node(ofCPU cpu: Int) -> NodeNumber? { nodes.first { $0.cpus.contains(cpu) }?.number }

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
          freeBytes: memory?.availableBytes ?? 0, distances: [10], tier: nil)
      ]
      return
    }
    let tiers = Self.tiers(reading: files)
    nodes = online.map { number in
      let own = "\(folder)/node\(number)"
      let memory = KeyedText(parsing: (try? files.text("\(own)/meminfo")) ?? "")
      return Node(
        number: NodeNumber(rawValue: number), cpus: list("\(own)/cpulist") ?? [],
        memoryBytes: memory.bytes("MemTotal") ?? 0, freeBytes: memory.bytes("MemFree") ?? 0,
        distances: (files.line("\(own)/distance") ?? "").split(separator: " ").compactMap { Int($0) },
        tier: tiers[number])
    }
  }

  /// The tier of each node by number: directories `memory_tier4` and so on, each with a list of nodes.
  private static func tiers(reading files: SystemFiles) -> [Int: Int] {
    let folder = "sys/devices/virtual/memory_tiering"
    var tiers: [Int: Int] = [:]
    for name in files.names(in: folder) where name.hasPrefix("memory_tier") {
      guard let tier = Int(name.dropFirst("memory_tier".count)),
        let nodes = files.line("\(folder)/\(name)/nodelist").flatMap({ NumberList(parsing: $0)?.numbers })
      else { continue }
      for node in nodes { tiers[node] = tier }
    }
    return tiers
  }
}
