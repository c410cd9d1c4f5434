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
    case .crossing: "crossing"
    case .vetoed: "vetoed"
    }
  }
}
