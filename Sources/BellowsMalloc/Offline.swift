// Sections of the process heap go offline and come back (bellows.h).

import BellowsCoreEmbedded
import CMalloc
import CShims

private let noSystem: Int32 = 38

enum Offline {
  static var environment: CageEnvironment {
    CageEnvironment(
      context: Process.listeners, barrier: { _ = Errand.ask(.barrier) },
      isParked: { Errand.ask(.isParked, thread: $0, stack: $1, words: $2, lock: $3) },
      announce: { bellows_listeners_tell($0, $1, $2, $3) }, sleep: { bellows_sleep_milliseconds($0) })
  }

  static var client: ArenaCage { ArenaCage(Process.arena, Process.ownHeap, environment) }

  static func request(_ milliseconds: UInt32, _ flags: UInt32, _ cancel: UInt) -> OfflineRequest {
    // With one thread there is nobody to look at.
    if !bellows_is_single_threaded() { Helper.summon() }
    return OfflineRequest(
      policy: flags & 1 != 0 ? .wholeOnly : flags & 2 != 0 ? .keepPartial : .stay,
      deadline: bellows_clock_milliseconds() &+ UInt64(milliseconds), cancelWord: cancel, keepsMemmap: false)
  }

  /// Writes the first `size` bytes of what `report` is in C to `target`; 0: nobody wants it.
  @inline(__always)
  static func write(_ report: OfflineReport, to target: UInt, size: UInt) {
    if target != 0 { translate(report, to: target, size: size) }
  }

  private static func translate(_ report: OfflineReport, to target: UInt, size: UInt) {
    var result = bellows_offline_report()
    result.taken = Int(bitPattern: report.takenPages &<< Page.shift)
    result.left = Int(bitPattern: report.leftPages &<< Page.shift)
    result.returned = Int(bitPattern: report.returnedPages &<< Page.shift)
    result.sections = UInt32(truncatingIfNeeded: report.wholeSections)
    result.partial = UInt32(truncatingIfNeeded: report.partialSections)
    result.pageblocks = UInt32(truncatingIfNeeded: report.wholeBlocks)
    result.passes = UInt32(truncatingIfNeeded: report.passes)
    result.blocker_count = UInt32(truncatingIfNeeded: report.blockerCount)
    let bytes = min(size, UInt(bitPattern: MemoryLayout<bellows_offline_report>.size))
    unsafe withUnsafeMutableBytes(of: &result) { memory in
      let start = UInt(bitPattern: memory.baseAddress)
      for order in 0..<Int(Pieces.orders) {
        bellows_report_pieces(start, UInt32(order), report.pieces.taken[order])
      }
      for place in 0..<report.blockerCount {
        let blocker = report.blockers[place]
        bellows_report_blocker(
          start, UInt32(place),
          bellows_blocker(
            kind: blocker.kind.rawValue, reserved: 0, detail: Int(bitPattern: blocker.detail),
            count: Int(bitPattern: blocker.count), bytes: Int(bitPattern: blocker.bytes)))
      }
      bellows_copy(target, start, bytes)
    }
  }
}

// What was asked of a process without a heap of ours is ENOSYS.
extension Offline {
  static func take(
    _ bytes: UInt, _ request: OfflineRequest, _ out: UInt, _ size: UInt
  ) -> Int32 {
    guard Process.isReady else { return noSystem }
    var report = OfflineReport()
    let error = Process.arena.offline(pages: Page.count(bytes), request, &report, client)
    write(report, to: out, size: size)
    Log.note(report, error)
    return error
  }

  static func take(at place: UInt, _ request: OfflineRequest, _ out: UInt, _ size: UInt) -> Int32 {
    guard Process.isReady else { return noSystem }
    var report = OfflineReport()
    let error = Process.arena.offline(at: place, request, &report, client)
    write(report, to: out, size: size)
    Log.note(report, error)
    return error
  }

  /// `came`: how many bytes are back in circulation, exact also where not all came.
  static func bringBack(_ bytes: UInt, came: inout UInt) -> Int32 {
    guard Process.isReady else { return noSystem }
    var report = OfflineReport()
    let error = Process.arena.online(
      pages: Page.count(min(bytes, .max &- Page.bytes)), &report, client)
    came = report.broughtPages &<< Page.shift
    Log.noteOnline(error)
    return error
  }

  static func bringBack(at place: UInt, came: inout UInt) -> Int32 {
    guard Process.isReady else { return noSystem }
    var report = OfflineReport()
    let error = Process.arena.online(at: place, &report, client)
    came = report.broughtPages &<< Page.shift
    Log.noteOnline(error)
    return error
  }
}

@c(bw_offline)
func offline(
  _ bytes: UInt, _ milliseconds: UInt32, _ flags: UInt32, _ cancel: UInt, _ out: UInt, _ size: UInt
) -> Int32 {
  Offline.take(bytes, Offline.request(milliseconds, flags, cancel), out, size)
}

@c(bw_offline_section)
func offlineSection(
  _ place: UInt, _ milliseconds: UInt32, _ flags: UInt32, _ cancel: UInt, _ out: UInt, _ size: UInt
) -> Int32 {
  Offline.take(at: place, Offline.request(milliseconds, flags, cancel), out, size)
}

@c(bw_online)
func online(_ bytes: UInt) -> Int32 {
  var came: UInt = 0
  return Offline.bringBack(bytes, came: &came)
}

@c(bw_online_section)
func onlineSection(_ place: UInt) -> Int32 {
  var came: UInt = 0
  return Offline.bringBack(at: place, came: &came)
}

@c(bw_is_caged)
func isCaged(_ place: UInt) -> Int32 { Process.isReady && Process.arena.isOutOfCirculation(place) ? 1 : 0 }

@c(bw_should_move)
func shouldMove(_ place: UInt) -> Int32 { Process.isReady && Process.heap.isCaged(place) ? 1 : 0 }

@c(bw_listen)
func listen(_ function: UInt, _ context: UInt) -> Int32 {
  bellows_listeners_add(Process.listeners, function, context)
}

@c(bw_unlisten)
func unlisten(_ function: UInt, _ context: UInt) -> Int32 {
  bellows_listeners_remove(Process.listeners, function, context)
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_offline)
func namesOffline() { bellows_names_offline() }
