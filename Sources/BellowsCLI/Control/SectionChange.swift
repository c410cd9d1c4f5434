// Taking sections offline and bringing them back: one request for an amount, else one for each section.

import Bellows
import CShims
import Glibc
import SystemPackage

/// A change of sections.
struct SectionChange {
  let process: TargetProcess
  let isOnline: Bool
  let choice: SectionChoice
  /// Seconds that the process tries, and that are waited for its answer beyond that.
  let deadline: Double
  let timeout: Double
  let flags: UInt

  /// How it ended, by exit status.
  enum Status: Int32 {
    case done = 0
    case failed = 1
    case partly = 3

    var word: String {
      switch self {
      case .done: "done"
      case .failed: "failed"
      case .partly: "partly"
      }
    }
  }

  /// What became of it.
  struct Outcome {
    let isOnline: Bool
    let status: Status
    /// Bytes that changed as wanted, and bytes of sections that were asked for.
    let changed: Int
    let wanted: Int
    let report: OfflineFigures
    let online: Int
    let offline: Int
    let residentBefore: Int?
    let residentAfter: Int?
    /// Why not all of it, where that is not blockers.
    let reason: String?
  }

  private func resident() -> Int? {
    ResidentMemory(reading: SystemFiles(), process: "\(process.id)")?.residentBytes
  }

  /// Does it.
  func perform(verbose: Bool) throws(TargetError) -> Outcome {
    let channel = try ControlChannel.open(process)
    let reader = try HeapReader(process, header: ProcView.isThere ? nil : channel.header)
    let before = try reader.snapshot(choice.node == nil ? [] : .nodes)
    let residentBefore = resident()
    var report = OfflineFigures()
    var errors: [Int32] = []
    var wanted = 0
    var came = 0
    let progress = Progress(isOnline ? "bringing online" : "taking offline")
    let end = ContinuousClock.now + .milliseconds(Int(deadline * 1000))
    func ask(_ amount: UInt, _ address: UInt) throws(TargetError) {
      let time = max(0, (end - ContinuousClock.now) / .seconds(1))
      let answer = try channel.ask(
        isOnline ? .online : .offline, [amount, address, flags, UInt(time * 1000)], seconds: time + timeout
      ) { progress.tick() }
      report = report + answer.report
      came += answer.results[0]
      errors.append(answer.error)
      if verbose {
        let place = address == 0 ? "\(Bytes.text(Int(amount)))" : "0x" + String(address, radix: 16)
        let what = answer.error == 0 ? "done" : "\(Errno(rawValue: answer.error))"
        StandardError.write("\(place): \(what)\n")
      }
    }
    if case .bytes(let bytes) = choice.amount, choice.isOpen {
      wanted = before.wholeSections(bytes)
      try ask(UInt(bytes), 0)
    } else {
      do throws(SectionChoice.Problem) {
        let sections = try choice.sections(of: before, online: isOnline)
        if case .bytes(let bytes) = choice.amount {
          wanted = before.wholeSections(bytes)
        } else {
          wanted = sections.reduce(0) { $0 + $1.bytes }
        }
        for section in sections {
          // As it shall be: nothing to do.
          let isThere =
            isOnline ? section.state == "online" && section.cagedBytes == 0 : section.state == "offline"
          if isThere { continue }
          do throws(TargetError) { try ask(0, section.base) } catch {
            throw SectionChoice.Problem.stopped(error)
          }
        }
      } catch {
        if case .stopped(let error) = error { throw error }
        throw .failed(process.id, what: error.message)
      }
    }
    progress.end()
    // The process knows its threads by its own numbers.
    if report.blockers.contains(where: { $0.kind == "thread" }) {
      let names = ThreadNames(of: process.id)
      for place in report.blockers.indices where report.blockers[place].kind == "thread" {
        report.blockers[place].detail = names.number(of: report.blockers[place].detail)
      }
    }
    let after = try reader.snapshot([])
    return outcome(after, report, errors, wanted, came, residentBefore)
  }

  private func outcome(
    _ after: HeapSnapshot, _ report: OfflineFigures, _ errors: [Int32], _ wanted: Int, _ came: Int,
    _ residentBefore: Int?
  ) -> Outcome {
    let failures = errors.filter { $0 != 0 }
    // Of a section that was out in part that part comes, so it may be less than was wanted, and nothing be left to come.
    let changed = isOnline ? came : failures.isEmpty ? wanted : min(wanted, report.taken)
    let status: Status = failures.isEmpty ? .done : changed > 0 ? .partly : .failed
    let reason: String? = failures.first.flatMap { code in
      switch Errno(rawValue: code) {
      case .resourceBusy where report.blockers.isEmpty && !isOnline: "nothing there can go"
      case .resourceBusy: isOnline ? "another thread is at it" : nil
      case .noMemory where isOnline: "no more is offline"
      case .invalidArgument: isOnline ? "nothing of it is out of circulation" : "no section is there"
      default: "\(Errno(rawValue: code))"
      }
    }
    return Outcome(
      isOnline: isOnline, status: status, changed: changed, wanted: wanted, report: report,
      online: after.bytes("online"), offline: after.bytes("offline"), residentBefore: residentBefore,
      residentAfter: resident(), reason: reason)
  }
}

extension SectionChoice.Problem {
  fileprivate var message: String {
    switch self {
    case .misaligned(let bytes):
      "has sections of \(Bytes.text(bytes)): a range begins and ends at a multiple of that"
    case .noSuchBlock(let number): "has no memory block \(number); `bellows ls` lists them"
    case .nothingThere: "has nothing there that could change; `bellows ls -a` lists what it has"
    case .stopped(let error): error.message
    }
  }
}

extension SectionChange.Outcome {
  /// What people read: the result, figures of the kernel, what is in the way.
  func lines(_ process: TargetProcess) -> [String] {
    let verb = isOnline ? "online" : "offline"
    var line = "\(process.name) (\(process.id)): "
    switch status {
    case .done: line += changed == 0 ? "it was \(verb)" : "\(Bytes.text(changed)) \(verb)"
    case .partly: line += "only \(Bytes.text(changed)) of \(Bytes.text(wanted)) \(verb)"
    case .failed: line += "nothing went \(verb)"
    }
    if let reason { line += ": \(reason)" }
    if !isOnline { line += "; \(Bytes.text(report.returned)) returned" }
    if let residentBefore, let residentAfter {
      line += "; RSS was \(Bytes.text(residentBefore)), is \(Bytes.text(residentAfter))"
    }
    if status == .done || report.blockers.isEmpty { return [line] }
    let sorted = report.blockers.sorted { $0.bytes > $1.bytes }
    let rest = sorted.dropFirst(Self.listedBlockers)
    let more =
      rest.isEmpty
      ? []
      : [
        "  and \(rest.count) kinds more, on \(Bytes.text(rest.reduce(0) { $0 + $1.bytes })) (--json lists all)"
      ]
    return [line, "In the way:"] + sorted.prefix(Self.listedBlockers).map { "  \($0.text)" } + more
  }

  /// The largest blockers are what somebody can do something about.
  private static var listedBlockers: Int { 12 }

  /// What programs read.
  func object(_ process: TargetProcess) -> some Encodable {
    ChangeObject(
      process: process.id, name: process.name, command: isOnline ? "online" : "offline", status: status.word,
      changed: changed, wanted: wanted, returned: report.returned, sections: report.sections,
      partial: report.partial, pageblocks: report.pageblocks, passes: report.passes, pieces: report.pieces,
      blockers: report.blockers, online: online, offline: offline, residentBefore: residentBefore,
      residentAfter: residentAfter, reason: reason)
  }
}

private struct ChangeObject: Encodable {
  var schema = 1
  let process: Int32
  let name: String
  let command: String
  let status: String
  let changed: Int
  let wanted: Int
  let returned: Int
  let sections: Int
  let partial: Int
  let pageblocks: Int
  let passes: Int
  let pieces: [Int]
  let blockers: [OfflineBlocker]
  let online: Int
  let offline: Int
  let residentBefore: Int?
  let residentAfter: Int?
  let reason: String?

  enum CodingKeys: String, CodingKey {
    case schema, process, name, command, status, changed, wanted, returned, sections, partial, pageblocks,
      passes
    case pieces, blockers, online, offline, reason
    case residentBefore = "rss_before"
    case residentAfter = "rss_after"
  }
}
