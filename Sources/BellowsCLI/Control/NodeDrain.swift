// Emptying a node of a process's heap, and bringing memory home: one request. What the process says of it stands beside what the
// kernel says from outside, before and after.

import Bellows
import BellowsPlot
import CShims
import Glibc
import SystemPackage

/// What a drain came to, in bytes, as the process counted it.
struct DrainFigures: Equatable {
  var found = 0
  var room = 0
  var moved = 0
  var returned = 0
  var left = 0
  var stayed: [Stayed] = []
  var firstLeft: UInt = 0
  var sections = 0
  var passes = 0

  /// Memory that did not move, for one reason.
  struct Stayed: Equatable, Encodable {
    /// One of `busy`, `locked`, `shared`, `noRoom`, `notReached`, `other`.
    let kind: String
    let pages: Int
    let bytes: Int
  }

  init() {}

  init(_ report: bellows_drain_report) {
    found = ControlChannel.bytes(report.found)
    room = ControlChannel.bytes(report.room)
    moved = ControlChannel.bytes(report.moved)
    returned = ControlChannel.bytes(report.returned)
    left = ControlChannel.bytes(report.left)
    firstLeft = UInt(report.first_left)
    sections = Int(report.sections)
    passes = Int(report.passes)
    stayed = [
      ("busy", report.busy), ("locked", report.locked), ("shared", report.shared), ("noRoom", report.no_room),
      ("notReached", report.not_reached), ("other", report.other),
    ].filter { $0.1 > 0 }
      .map { Stayed(kind: $0.0, pages: ControlChannel.bytes($0.1) / 4096, bytes: ControlChannel.bytes($0.1)) }
  }
}

extension DrainFigures.Stayed {
  var words: String {
    switch kind {
    case "busy": "busy, or pinned for a device"
    case "locked": "locked (mlock) and busy or pinned"
    case "shared": "shared with other processes"
    case "noRoom": "no room"
    case "notReached": "came meanwhile, or not reached"
    default: "for another reason"
    }
  }
}

/// A drain to do.
struct NodeDrain {
  let process: TargetProcess
  let node: Int
  let isHome: Bool
  /// Seconds that the process tries, and that are waited for its answer beyond that.
  let deadline: Double
  let timeout: Double

  /// What became of it.
  struct Outcome {
    let node: Int
    let isHome: Bool
    let status: SectionChange.Status
    let figures: DrainFigures
    /// Sections and page descriptors on the node, by the kernel, in bytes; nil where it does not say.
    let before: Int?
    let after: Int?
    let reason: String?
  }

  /// Does it.
  func perform() throws(TargetError) -> Outcome {
    let channel = try ControlChannel.open(process)
    let before = bytesOnNode()
    let progress = Progress(isHome ? "bringing memory home" : "emptying node \(node)")
    let answer = try channel.ask(
      isHome ? .home : .drain, [UInt(node), UInt(deadline * 1000)], seconds: deadline + timeout
    ) {
      let done = channel.result(0)
      let total = channel.result(1)
      progress.tick(total > 0 ? "\(Bytes.text(done)) of \(Bytes.text(total))" : nil)
    }
    progress.end()
    return Self.outcome(answer.error, answer.drain, node, isHome, before, bytesOnNode())
  }

  static func outcome(
    _ error: Int32, _ figures: DrainFigures, _ node: Int, _ isHome: Bool, _ before: Int?, _ after: Int?
  ) -> Outcome {
    let reason: String? =
      switch Errno(rawValue: error) {
      case Errno(rawValue: 0): nil
      case .resourceBusy where figures.passes > 0: nil
      case .resourceBusy: "another thread takes sections offline, or brings them back"
      case .noMemory:
        "\(Bytes.text(figures.found)) are to move, and there is room for \(Bytes.text(figures.room))"
      case .invalidArgument:
        isHome ? "the node was not emptied" : "there is no such node, or no other one to move to"
      case .notPermitted: "the kernel, or a system call filter, does not let pages move"
      default: "\(Errno(rawValue: error))"
      }
    let status: SectionChange.Status =
      error == 0 ? .done : figures.moved > 0 || figures.sections > 0 ? .partly : .failed
    return Outcome(
      node: node, isHome: isHome, status: status, figures: figures, before: before, after: after,
      reason: reason)
  }

  private func bytesOnNode() -> Int? {
    guard let report = try? PlacementReport(of: process), report.hasSections else { return nil }
    let number = NodeNumber(rawValue: node)
    return report.parts.prefix(2).reduce(0) { $0 + ($1.bytes[number] ?? 0) }
  }
}

extension NodeDrain.Outcome {
  /// The result in a line.
  func headline(_ process: TargetProcess) -> String {
    var line = "\(process.name) (\(process.id)): "
    switch (status, isHome) {
    case (.done, false): line += "nothing of its heap is on node \(node)"
    case (.done, true): line += "node \(node) serves again, \(Bytes.text(figures.moved)) came home"
    case (.partly, false):
      line += "node \(node) is left out, but \(Bytes.text(figures.left)) of its heap are still there"
    case (.partly, true):
      line += "node \(node) serves again, but \(Bytes.text(figures.left)) are still elsewhere"
    case (.failed, _): line += hasTable ? "node \(node) is left out, but nothing moved" : "nothing moved"
    }
    if let reason { line += ": \(reason)" }
    return line
  }

  /// Whether there is more to say than that.
  var hasTable: Bool { figures.passes > 0 }

  /// What moved, what stayed and why, and what the kernel says.
  var table: Sheet {
    var rows = [
      ("to move", figures.found), ("moved", figures.moved), ("free, returned instead", figures.returned),
    ]
    rows.append(("stayed", figures.left))
    rows += figures.stayed.map { ("  \($0.words)", $0.bytes) }
    if let before { rows.append(("sections on node \(node) before, by the kernel", before)) }
    if let after { rows.append(("sections on node \(node) after, by the kernel", after)) }
    return Sheet(
      columns: ["", "pages", "memory"],
      rows: rows.map { [.init($0.0, isFigure: false), .init("\($0.1 / 4096)"), .init(Bytes.text($0.1))] }
        + [
          [
            .init(isHome ? "sections that came back" : "sections that went offline", isFigure: false),
            .init("\(figures.sections)"), .init(""),
          ]
        ])
  }

  /// What programs read.
  func object(_ process: TargetProcess) -> some Encodable {
    DrainObject(
      process: process.id, name: process.name, command: isHome ? "home" : "drain", status: status.word,
      node: node,
      found: figures.found, room: figures.room, moved: figures.moved, returned: figures.returned,
      left: figures.left, blockers: figures.stayed,
      firstLeft: figures.firstLeft == 0 ? nil : figures.firstLeft,
      sections: figures.sections, passes: figures.passes, onNodeBefore: before, onNodeAfter: after,
      reason: reason)
  }
}

private struct DrainObject: Encodable {
  var schema = 1
  let process: Int32
  let name: String
  let command: String
  let status: String
  let node: Int
  let found: Int
  let room: Int
  let moved: Int
  let returned: Int
  let left: Int
  let blockers: [DrainFigures.Stayed]
  let firstLeft: UInt?
  let sections: Int
  let passes: Int
  let onNodeBefore: Int?
  let onNodeAfter: Int?
  let reason: String?
}
