import CShims

/// What taking sections offline came to, in bytes.
struct OfflineFigures: Equatable {
  /// Out of circulation now, of what was asked for.
  var taken = 0
  /// Still in circulation.
  var left = 0
  /// Resident memory that went back during the work.
  var returned = 0
  /// Sections that went as a whole, and those that did in part or are on their way.
  var sections = 0
  var partial = 0
  var pageblocks = 0
  var passes = 0
  /// By order: pieces of 2^order pages that were taken in one.
  var pieces: [Int] = []
  var blockers: [OfflineBlocker] = []

  /// The figures of two works together.
  static func + (a: Self, b: Self) -> Self {
    var sum = a
    sum.taken += b.taken
    sum.left += b.left
    sum.returned += b.returned
    sum.sections += b.sections
    sum.partial += b.partial
    sum.pageblocks += b.pageblocks
    sum.passes += b.passes
    sum.pieces =
      a.pieces.isEmpty ? b.pieces : b.pieces.isEmpty ? a.pieces : zip(a.pieces, b.pieces).map { $0 + $1 }
    for blocker in b.blockers {
      if let place = sum.blockers.firstIndex(where: { $0.kind == blocker.kind && $0.detail == blocker.detail }
      ) {
        sum.blockers[place].count += blocker.count
        sum.blockers[place].bytes += blocker.bytes
      } else {
        sum.blockers.append(blocker)
      }
    }
    return sum
  }
}

/// Something that holds memory that was to go.
struct OfflineBlocker: Equatable, Encodable {
  /// One of the words of `words`.
  let kind: String
  /// What it is: a block size, a thread's number, an errno.
  var detail: Int
  var count: Int
  var bytes: Int

  private static let kinds = [
    "unknown", "blocks", "runs", "pages", "thread", "pinned", "locked", "unknown", "vetoed",
  ]

  init(_ record: bellows_blocker) {
    kind = record.kind < UInt32(Self.kinds.count) ? Self.kinds[Int(record.kind)] : "unknown"
    detail = ControlChannel.bytes(Int(clamping: record.detail))
    count = ControlChannel.bytes(Int(clamping: record.count))
    bytes = ControlChannel.bytes(Int(clamping: record.bytes))
  }

  /// What it is, for people.
  var text: String {
    func counted(_ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
    let what =
      switch kind {
      case "blocks": "\(counted("live block")) of \(Bytes.text(detail))"
      case "runs": "\(counted("live block")) above 32 KiB"
      case "pages": "\(counted("page")) allocated as such"
      case "thread": "shards of thread \(detail), which runs and did not come by"
      case "pinned": "\(counted("pinned relocatable block"))"
      case "locked" where detail != 0: "\(counted("relocatable block")) in locked memory"
      case "locked": "\(counted("free page")) that the system does not take back (locked?)"
      case "vetoed": "listener \(count) of the program, which objected (errno \(detail))"
      default: "\(count) of an unknown kind"
      }
    return kind == "vetoed" ? what : "\(what), on \(Bytes.text(bytes))"
  }
}
