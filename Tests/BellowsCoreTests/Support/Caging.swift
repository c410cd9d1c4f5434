// Taking a fixture's sections offline as a process does, without its means to stop threads.

import BellowsCore
import CShims
import Glibc

/// What listeners would be told, and what they answer.
final class Announcements: @unchecked Sendable {
  private(set) var events: [OfflineEvent] = []
  private(set) var ranges: [Range<UInt>] = []
  /// What is answered to the next events, in order; 0 when there is none.
  var answers: [Int] = []
  /// Called for each event.
  var body: ((OfflineEvent) -> Void)?

  fileprivate func tell(_ event: UInt32, _ start: UInt, _ bytes: UInt) -> Int {
    events.append(OfflineEvent(rawValue: event)!)
    ranges.append(start..<(start + bytes))
    body?(events.last!)
    return answers.isEmpty ? 0 : answers.removeFirst()
  }

  func forget() {
    events = []
    ranges = []
  }

  /// Lives for ever with this: environments are few.
  var environment: CageEnvironment {
    let context = unsafe UInt(bitPattern: Unmanaged.passRetained(self).toOpaque())
    return CageEnvironment(
      context: context, barrier: {}, isParked: { _, _, _, _ in false },
      announce: { context, event, start, bytes in
        let raw = unsafe UnsafeRawPointer(bitPattern: context)!
        return unsafe Unmanaged<Announcements>.fromOpaque(raw).takeUnretainedValue().tell(event, start, bytes)
      },
      sleep: { usleep(UInt32($0) * 1000) })
  }
}

extension ArenaFixture {
  func client(_ own: ThreadHeapRef?, _ announcements: Announcements) -> ArenaCage {
    ArenaCage(arena, own, announcements.environment)
  }

  /// Takes the section that holds `place` offline; one pass where no time is given.
  func takeOffline(
    at place: UInt, _ policy: OfflinePolicy, _ own: ThreadHeapRef? = nil, milliseconds: UInt64 = 0,
    telling announcements: Announcements = Announcements()
  ) -> (error: Int32, report: OfflineReport) {
    var report = OfflineReport()
    let request = OfflineRequest(policy: policy, deadline: bellows_clock_milliseconds() + milliseconds)
    let error = arena.offline(at: place, request, &report, client(own, announcements))
    return (error, report)
  }

  func bringBack(
    at place: UInt, _ own: ThreadHeapRef? = nil, telling announcements: Announcements = Announcements()
  )
    -> Int32
  {
    var report = OfflineReport()
    return arena.online(at: place, &report, client(own, announcements))
  }

  /// Resident pages behind a section's memmap, and of the memmap.
  func resident(_ section: SectionRef) -> (pages: UInt, memmap: UInt) {
    (
      Kernel.residentPages(
        section.it.base + geometry.memmapBytes, geometry.sectionBytes - geometry.memmapBytes),
      Kernel.residentPages(section.it.base, geometry.memmapBytes)
    )
  }

  /// Reads every descriptor, as an offline does that of allocated pages: mincore counts the zero page where none was
  /// ever written.
  func readMemmaps() {
    for index in 0..<UInt(arena.it.sections) {
      for page in 0..<geometry.memmapBytes >> Page.shift {
        _ = bellows_load(section(index).it.memmap + page << Page.shift)
      }
    }
  }

  /// A run of pages, written.
  func writtenRun(_ pages: UInt) -> PageRun {
    let run = arena.allocate(pages: pages, alignment: 1)!
    for page in 0..<pages { Ref<UInt>(run.address + page << Page.shift).it = page + 1 }
    return run
  }
}

extension OfflineReport {
  var list: [Blocker] { (0..<blockerCount).map { blockers[$0] } }

  func blocker(_ kind: Blocker.Kind) -> Blocker? { list.first { $0.kind == kind } }

  /// Pieces by order, without those that were none.
  var takenPieces: [Int: UInt32] {
    var result: [Int: UInt32] = [:]
    for order in 0..<Int(Pieces.orders) where pieces.taken[order] != 0 { result[order] = pieces.taken[order] }
    return result
  }
}

extension Kernel {
  /// Whether a byte can be read, without a fault where it cannot.
  static func isReadable(_ address: UInt) -> Bool {
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { return false }
    defer { for end in ends { close(end) } }
    return unsafe write(ends[1], UnsafeRawPointer(bitPattern: address), 1) == 1
  }
}
