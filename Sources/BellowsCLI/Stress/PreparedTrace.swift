// From a recording to a plan that the workload program can follow: addresses become slots, each step knows its turn at
// its slot, and the steps of each thread stand together (struct wl_replay_header in workload.h).

import CShims
import CWorkload
import Glibc
import SystemPackage

/// A recording, made ready to be replayed.
struct PreparedTrace {
  /// A step of the plan.
  struct Step: Equatable {
    enum Operation: UInt64 {
      case allocate = 0
      case free = 1
      case reallocate = 2
      case allocateAligned = 3
    }
    var time: UInt64
    var operation: Operation
    var size: UInt64
    var slot: UInt32
    var turn: UInt32
    /// The alignment as a power of two; 0 where none was asked for.
    var alignmentShift: UInt8 = 0
  }

  /// The steps of each lane in order.
  let steps: [[Step]]
  /// The most blocks that live at one time.
  let slots: Int
  /// Nanoseconds from the first event to the last.
  let duration: UInt64
  /// Events that speak of blocks that were allocated before the recording, or not recorded.
  let unknown: Int
  /// What was recorded, in words.
  let origin: String
  /// The file that the workload program reads.
  private(set) var path = ""
  private var file: Int32 = -1

  /// The number of threads of the replay.
  var lanes: Int { steps.count }

  /// The most threads of a replay; a recording with more shares lanes.
  static let mostLanes = Int(WL_LANES) - 1

  /// Reads a recording and writes the plan into memory.
  init(reading path: String) throws(StressFailure) {
    let trace: TraceFile
    do throws(TraceFile.Problem) { trace = try TraceFile(reading: path) } catch {
      throw StressFailure(message: error.message(path))
    }
    if trace.isCutOff { StandardError.warning("\(path) ends within a chunk; what came before is replayed.") }
    self.init(trace)
    guard !steps.isEmpty else { throw StressFailure(message: "\(path) has no allocation to replay.") }
    file = bellows_probe_scratch_file()
    guard file >= 0 else {
      throw StressFailure(message: "no memory for the plan: \(Errno(rawValue: -file)).")
    }
    self.path = "/proc/\(getpid())/fd/\(file)"
    do {
      _ = try unsafe words.withUnsafeBytes { unsafe try FileDescriptor(rawValue: file).writeAll($0) }
    } catch {
      throw StressFailure(message: "no memory for the plan: \(error as? Errno ?? .ioError).")
    }
  }

  /// Makes a plan.
  init(_ trace: TraceFile) {
    var lanes: [[Step]] = []
    var laneOf: [UInt32: Int] = [:]
    var live: [UInt64: UInt32] = [:]
    // A block whose realloc has begun: it has no address, and waits for the end of the call in its thread.
    var moving: [UInt32: UInt32] = [:]
    var free: [UInt32] = []
    var turns: [UInt32] = []
    var unknown = 0
    let first = trace.events.first?.time ?? 0

    func lane(_ thread: UInt32) -> Int {
      if let lane = laneOf[thread] { return lane }
      let lane = laneOf.count % Self.mostLanes
      if lane == lanes.count { lanes.append([]) }
      laneOf[thread] = lane
      return lane
    }
    func add(_ event: TraceFile.Event, _ operation: Step.Operation, _ slot: UInt32) {
      lanes[lane(event.thread)].append(
        Step(
          time: event.time - first, operation: operation, size: min(event.size, 1 << 46), slot: slot,
          turn: turns[Int(slot)],
          alignmentShift: operation == .allocateAligned ? min(event.alignmentShift, 30) : 0))
      turns[Int(slot)] += 1
    }
    func freshSlot() -> UInt32 {
      if let slot = free.popLast() { return slot }
      turns.append(0)
      return UInt32(turns.count - 1)
    }
    func end(_ slot: UInt32, _ event: TraceFile.Event) {
      add(event, .free, slot)
      free.append(slot)
    }

    for event in trace.events {
      switch event.kind {
      case .allocate, .allocateAligned:
        // A free that was not recorded, by a library that keeps its own counsel: the old block has gone.
        if let slot = live.removeValue(forKey: event.address) { end(slot, event) }
        let slot = freshSlot()
        live[event.address] = slot
        add(event, event.kind == .allocate ? .allocate : .allocateAligned, slot)
      case .free:
        guard let slot = live.removeValue(forKey: event.address) else {
          unknown += 1
          continue
        }
        end(slot, event)
      case .moving:
        // One that never returned: the thread has ended in it.
        if let slot = moving.removeValue(forKey: event.thread) { end(slot, event) }
        guard let slot = live.removeValue(forKey: event.address) else {
          unknown += 1
          continue
        }
        moving[event.thread] = slot
      case .moved:
        if event.address != 0, let old = live.removeValue(forKey: event.address) { end(old, event) }
        if let slot = moving.removeValue(forKey: event.thread) {
          if event.address == 0 {
            end(slot, event)
            continue
          }
          live[event.address] = slot
          // A size of 0 is a call that failed: the block stays what it was.
          if event.size > 0 { add(event, .reallocate, slot) }
        } else if event.size > 0 {
          // Of a sampled recording: the old address was not chosen.
          let slot = freshSlot()
          live[event.address] = slot
          add(event, .allocate, slot)
        }
      }
    }
    steps = lanes
    slots = turns.count
    duration = (trace.events.last?.time ?? 0) - first
    self.unknown = unknown
    let count = lanes.reduce(0) { $0 + $1.count }
    let sample = trace.sampled == 1 ? "" : ", one address in \(trace.sampled)"
    origin =
      "\(trace.command): \(count) operations of \(laneOf.count) threads in \(Double(duration / 10_000_000) / 100) s\(sample)"
  }

  /// The plan as the workload program reads it, in words of this machine's byte order.
  var words: [UInt64] {
    var words: [UInt64] = [UInt64(WL_REPLAY_MAGIC) | UInt64(lanes) << 32, UInt64(slots), duration]
    let counts = (0..<Int(WL_LANES)).map { $0 < steps.count ? UInt64(steps[$0].count) : 0 }
    words += counts.indices.map { counts[..<$0].reduce(0, +) }
    words += counts
    words.reserveCapacity(words.count + steps.reduce(0) { $0 + $1.count } * 3)
    for step in steps.joined() {
      words.append(step.time)
      words.append(
        UInt64(step.alignmentShift) << UInt64(WL_ALIGNMENT_SHIFT) | step.size << 2 | step.operation.rawValue)
      words.append(UInt64(step.slot) | UInt64(step.turn) << 32)
    }
    return words
  }

  /// Gives the plan's memory back.
  func remove() { if file >= 0 { close(file) } }
}
