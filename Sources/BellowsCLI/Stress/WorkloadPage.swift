// The mapping that the tool shares with the workload program: counters, events and latencies, read while they are
// written. The layout is workload.h.

import CShims
import CWorkload
import Glibc
import Histogram
import SystemPackage

/// The shared page of one run; unmapped with its owner.
@safe struct WorkloadPage: ~Copyable {
  /// The file behind it, which the child inherits.
  let file: Int32
  private let page: OpaquePointer

  /// The sums of all lanes.
  struct Counts: Equatable {
    var operations = 0
    var liveBytes = 0
    var refused = 0
    var damaged = 0
  }

  /// Makes an empty page.
  init() throws(Errno) {
    file = bellows_probe_scratch_file()
    guard file >= 0 else { throw Errno(rawValue: -file) }
    let size = Int(wl_size())
    guard ftruncate(file, size) == 0,
      let memory = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
      unsafe memory != MAP_FAILED
    else {
      let code = errno
      close(file)
      throw Errno(rawValue: code)
    }
    unsafe page = OpaquePointer(memory)
  }

  deinit {
    unsafe munmap(UnsafeMutableRawPointer(page), Int(wl_size()))
    close(file)
  }

  /// Where the program is.
  var state: wl_progress { unsafe wl_progress(rawValue: wl_state(page)) }

  /// Tells the program to go on.
  func advance(to state: wl_progress) { unsafe wl_set_state(page, state.rawValue) }

  /// CLOCK_MONOTONIC at the start of the scenario, in nanoseconds.
  var start: UInt64 { unsafe wl_start(page) }
  /// Memory of the program's own, in bytes.
  var ownBytes: Int { unsafe Int(wl_own(page)) }
  /// Nanoseconds that one reading of the clock takes.
  var clockCost: Int { unsafe Int(wl_clock_cost(page)) }
  /// Children that were forked, or threads that came and went.
  var children: Int { unsafe Int(wl_children(page)) }
  /// Children that hung or died.
  var lost: Int { unsafe Int(wl_lost(page)) }
  /// Whether the allocator lacks what the scenario needs beside malloc.
  var isMissing: Bool { unsafe wl_missing(page) == WL_MISSING.rawValue }
  /// Whether something of the system's stands in for it.
  var isReplaced: Bool { unsafe wl_missing(page) == WL_REPLACED.rawValue }
  /// Why the program gave up.
  var message: String { unsafe String(cString: wl_message(page)) }

  /// The sums of all lanes, a moment out of step with each other.
  var counts: Counts {
    let sum = unsafe wl_sum(page)
    return Counts(
      operations: Int(sum.operations), liveBytes: max(0, Int(bitPattern: UInt(sum.allocated &- sum.freed))),
      refused: Int(sum.refused), damaged: Int(sum.damaged))
  }

  /// What has been marked so far.
  var events: [StressRun.Event] {
    let count = unsafe wl_events(page)
    return (0..<Int32(count)).map { number in
      unsafe StressRun.Event(
        seconds: Double(wl_event_time(page, number)) / 1e9,
        label: String(cString: wl_event_label(page, number)))
    }
  }

  /// Bellows' own counters, or nil where there are none.
  var bellows: BellowsCounters? {
    var values = [UInt64](repeating: 0, count: Int(WL_FIGURES))
    guard unsafe wl_figures(page, &values) != 0 else { return nil }
    return BellowsCounters(values.map { Int($0) })
  }

  /// The latencies that were measured, of all lanes.
  var latency: Histogram<UInt64> {
    var histogram = Histogram<UInt64>(
      lowestDiscernibleValue: 1, highestTrackableValue: 3_600_000_000_000,
      numberOfSignificantValueDigits: .two)
    let longest = UInt64(longest)
    for lane in 0..<Int32(WL_LANES) {
      guard unsafe wl_lane_used(page, lane) != 0 else { continue }
      for bucket in 0..<Int32(WL_BUCKETS) {
        let count = unsafe wl_latency_at(page, lane, bucket)
        // The longest is known exactly; no bucket may lie above it.
        if count > 0 { _ = histogram.record(min(wl_bucket_start(bucket), longest), count: count) }
      }
    }
    return histogram
  }

  /// The longest operation of those measured, in nanoseconds.
  var longest: Int { unsafe Int(wl_sum(page).longest) }
}

/// Bellows' own counters, in bytes.
struct BellowsCounters: Equatable {
  /// Pages that blocks lie in.
  let allocated: Int
  /// Free pages that were used and not yet returned.
  let freeResident: Int
  /// Page descriptors.
  let memmap: Int
  /// What the process heap says is resident at most: its pages in use, its free ones, and their descriptors.
  var held: Int { allocated + freeResident + memmap }

  /// Takes the figures in the order of `struct bellows_statistics`.
  init(_ values: [Int]) {
    memmap = values[2]
    allocated = values[3]
    freeResident = values[4]
  }
}
