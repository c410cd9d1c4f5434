import Bellows
import BellowsPlot

/// The object of `bellows numa topology --json`.
struct TopologyReport: Encodable {
  let schema = 1
  let nodes: [NodeTopology.Node]
  let offlineCPUs: [Int]

  init(_ topology: NodeTopology) {
    nodes = topology.nodes
    offlineCPUs = topology.offlineCPUs
  }

  static func tables(_ topology: NodeTopology) -> [Sheet] {
    let hasTiers = topology.nodes.contains { $0.tier != nil }
    let rows = topology.nodes.map { node -> [Sheet.Cell] in
      let cpus = node.cpus.isEmpty ? "none" : NumberList(node.cpus).text
      let kind = node.memoryBytes == 0 ? "no memory" : node.isMemoryOnly ? "memory only" : ""
      return [
        .init("node \(node.number)"), .init(cpus), .init(Bytes.text(node.memoryBytes)),
        .init(Bytes.text(node.freeBytes)),
      ] + (hasTiers ? [.init(node.tier.map { "\($0)" } ?? "")] : []) + [.init(kind, isFigure: false)]
    }
    let list = Sheet(
      columns: ["", "CPUs", "memory", "free"] + (hasTiers ? ["tier"] : []) + [""], rows: rows)
    guard topology.nodes.count > 1 else { return [list] }
    let distances = topology.nodes.map { node in
      [Sheet.Cell("node \(node.number)")] + node.distances.map { .init("\($0)") }
    }
    return [
      list,
      Sheet(
        title: "Distances", columns: [""] + topology.nodes.map { "\($0.number)" }, rows: distances),
    ]
  }

  static func matrix(_ topology: NodeTopology) -> Matrix {
    let names = topology.nodes.map { "node \($0.number)" }
    return Matrix(
      title: "Distances", note: "10 is the node itself; by the firmware", sides: ("from", "to"), rows: names,
      columns: names, values: topology.nodes.map { $0.distances.map(Double.init) }, unit: .count)
  }
}

/// Where the memory of a process is; the object of `bellows numa placement --json`.
struct PlacementReport: Encodable {
  /// Memory of one kind.
  struct Part: Encodable {
    var kind: String
    var bytesByNode: [Entry]
    /// On which node it is, in bytes.
    var bytes: [NodeNumber: Int]

    struct Entry: Encodable {
      var node: NodeNumber
      var bytes: Int
    }

    init(_ kind: String, _ bytes: [NodeNumber: Int]) {
      self.kind = kind
      self.bytes = bytes
      bytesByNode = bytes.keys.sorted().map { Entry(node: $0, bytes: bytes[$0] ?? 0) }
    }

    private enum CodingKeys: CodingKey { case kind, bytesByNode }

    var total: Int { bytes.values.reduce(0, +) }
  }

  let schema = 1
  let process: Int32
  let name: String
  /// Whether its malloc is Bellows and its sections could be read.
  let hasSections: Bool
  let parts: [Part]
  /// Page descriptors on another node than most of their section, in bytes.
  let memmapOutsideBytes: Int

  init(of target: TargetProcess) throws(TargetError) {
    process = target.id
    let number = try ProcView.callNumber(of: target.id)
    name = target.name
    guard let maps = NumaMaps(reading: SystemFiles(), process: "\(target.id)"), !maps.mappings.isEmpty else {
      throw .failed(target.id, what: "the kernel does not show where its memory is")
    }
    var sections: [NodeNumber: Int] = [:]
    var memmaps: [NodeNumber: Int] = [:]
    var outside = 0
    let snapshot: HeapSnapshot?
    do throws(TargetError) { snapshot = try HeapReader(target).snapshot([]) } catch {
      guard case .noHeap = error else { throw error }
      snapshot = nil
    }
    for section in snapshot?.sections ?? [] where section.pageblocks.count > 0 {
      let pageblock = section.bytes / section.pageblocks.count
      let start = section.base + UInt(section.memmapBytes)
      let committed = section.committedBlocks * pageblock - section.memmapBytes
      let pages = PagePlacement(
        of: AddressRange(start: start, byteCount: .bytes(max(0, committed))), process: number)
      let memmap = PagePlacement(
        of: AddressRange(start: section.memmap, byteCount: .bytes(section.bytes / 64)), process: number)
      for (node, count) in pages.pages { sections[node, default: 0] += count * 4096 }
      for (node, count) in memmap.pages { memmaps[node, default: 0] += count * 4096 }
      if let home = pages.pages.max(by: { $0.value < $1.value })?.key {
        outside += (memmap.residentPages - (memmap.pages[home] ?? 0)) * 4096
      }
    }
    hasSections = snapshot != nil
    memmapOutsideBytes = outside
    // What numa_maps counts for the mappings of sections is taken out of the rest.
    let inSections = { (mapping: NumaMaps.Mapping) in
      snapshot?.sections.contains { $0.base <= mapping.start && mapping.start < $0.end } ?? false
    }
    let kinds: [(String, (NumaMaps.Mapping) -> Bool)] = [
      ("heap (brk)", { $0.role == "heap" }), ("stack", { $0.role == "stack" }),
      ("files", { $0.file != nil }),
      ("other anonymous memory", { $0.role == nil && $0.file == nil && !inSections($0) }),
    ]
    var parts: [Part] = []
    if snapshot != nil { parts += [Part("sections", sections), Part("page descriptors", memmaps)] }
    parts += kinds.map { Part($0.0, maps.bytes(where: $0.1)) }
    self.parts = parts
  }

  var remarks: [String] {
    hasSections
      ? ["Page descriptors on another node than most of their section: \(Bytes.text(memmapOutsideBytes))."]
      : ["The malloc of this process is not Bellows: its heap is not told apart."]
  }

  func table(_ nodes: [NodeNumber]) -> Sheet {
    Sheet(
      columns: [""] + nodes.map { "node \($0)" } + ["sum"],
      rows: parts.map { part in
        [.init(part.kind, isFigure: false)] + nodes.map { .init(Bytes.text(part.bytes[$0] ?? 0)) }
          + [.init(Bytes.text(part.total))]
      })
  }

  func matrix(_ nodes: [NodeNumber]) -> Matrix {
    Matrix(
      title: "Resident memory", sides: ("kind", "node"), rows: parts.map(\.kind),
      columns: nodes.map { "node \($0)" },
      values: parts.map { part in nodes.map { Double(part.bytes[$0] ?? 0) } }, unit: .bytes)
  }
}

/// What `bellows numa move` says.
enum MoveReport {
  static func table(_ outcome: PageMover.Outcome) -> Sheet {
    let rows =
      [("moved", outcome.movedPages), ("stayed", outcome.leftPages)]
      + outcome.blockers.map { ("  \(words($0.reason))", $0.pages) }
    return Sheet(
      columns: ["", "pages", "memory"],
      rows: rows.map { [.init($0.0, isFigure: false), .init("\($0.1)"), .init(Bytes.text($0.1 * 4096))] })
  }

  static func words(_ reason: PageMover.Reason) -> String {
    switch reason {
    case .busy: "busy, or pinned for a device"
    case .locked: "locked (mlock) and busy or pinned"
    case .shared: "shared with other processes"
    case .noRoom: "no room"
    case .notReached: "came meanwhile, or not reached"
    case .other: "for another reason"
    }
  }

  static func message(_ failure: PageMover.Failure) -> String {
    switch failure {
    case .notEnoughRoom(let needed, let available):
      """
      stays where it is: \(Bytes.text(needed.rawValue)) are to move, and there is room for \
      \(Bytes.text(available.rawValue))
      """
    case .invalidNodes: "stays where it is: --from and --to take different nodes from 0 to 63"
    case .refused(let code): "stays where it is: the kernel refuses (errno \(code))"
    }
  }
}
