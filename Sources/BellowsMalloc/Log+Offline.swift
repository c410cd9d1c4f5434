// What the log says of sections that go and come.

import BellowsCoreEmbedded
import CMalloc
import CShims

extension Log {
  /// Writes how it ended, and a line for each blocker.
  static func note(_ report: borrowing OfflineReport, _ error: Int32) {
    guard isOn else { return }
    var event = Event("offline")
    event.add("errno", UInt(UInt32(bitPattern: error)))
    event.add("taken", report.takenPages &<< Page.shift)
    event.add("left", report.leftPages &<< Page.shift)
    event.add("returned", report.returnedPages &<< Page.shift)
    event.add("sections", UInt(report.wholeSections))
    event.add("passes", UInt(report.passes))
    event.write()
    for place in 0..<report.blockerCount {
      let blocker = report.blockers[place]
      var event = Event("blocker")
      event.add("kind", word(blocker.kind))
      event.add("detail", UInt(blocker.detail))
      event.add("count", UInt(blocker.count))
      event.add("bytes", UInt(blocker.bytes))
      event.write()
    }
  }

  /// Writes how a drain ended.
  static func note(_ report: DrainReport, _ error: Int32, _ kind: StaticString, _ node: Int32) {
    guard isOn else { return }
    var event = Event(kind)
    event.add("errno", UInt(UInt32(bitPattern: error)))
    event.add("node", UInt(UInt32(bitPattern: node)))
    event.add("moved", report.moved &<< Page.shift)
    event.add("returned", report.returned &<< Page.shift)
    event.add("left", report.left &<< Page.shift)
    event.add("sections", report.sections)
    event.add("passes", report.passes)
    event.write()
  }

  static func noteOnline(_ error: Int32) {
    guard isOn else { return }
    var event = Event("online")
    event.add("errno", UInt(UInt32(bitPattern: error)))
    event.add("present", Process.arena.totals().present &<< Page.shift)
    event.write()
  }

  private static func word(_ kind: Blocker.Kind) -> StaticString {
    switch kind {
    case .none: "none"
    case .blocks: "blocks"
    case .runs: "runs"
    case .pages: "pages"
    case .thread: "thread"
    case .pinned: "pinned"
    case .locked: "locked"
    case .vetoed: "vetoed"
    }
  }
}
