// Reads a recording (trace.h): headers and chunks first, then the events of all threads in one order by their time.
// Damaged files give an error and never a trap.

import Glibc
import SystemPackage

/// A recording.
struct TraceFile {
  /// What happened to a block.
  enum Kind: UInt8 {
    case allocate = 1
    case free = 2
    case moving = 3
    case moved = 4
    case allocateAligned = 5
  }

  /// One event.
  struct Event: Equatable {
    /// Nanoseconds since the start of the recording.
    var time: UInt64
    /// The thread, numbered from 0.
    var thread: UInt32
    /// What happened.
    var kind: Kind
    /// The block.
    var address: UInt64
    /// Its size in bytes, where it begins or moves.
    var size: UInt64
    /// Its alignment as a power of two, where one was asked for; else 0.
    var alignmentShift: UInt8 = 0
  }

  /// Why a file is no recording.
  enum Problem: Error, Equatable {
    case unreadable(Errno)
    case notATrace
    case otherSchema(UInt32)

    /// What is wrong and what to do about it.
    func message(_ path: String) -> String {
      switch self {
      case .unreadable(let code): "\(path) cannot be read: \(code)."
      case .notATrace: "\(path) is not a recording of `bellows record`."
      case .otherSchema(let schema):
        "\(path) is a recording of schema \(schema); this version reads schemas 1 to \(TraceFile.schema)."
      }
    }
  }

  /// The newest schema that is read; 1 lacks aligned allocations and parents.
  static let schema: UInt32 = 2

  /// The name of the program, cut off after 31 bytes.
  let command: String
  /// One address in so many was recorded.
  let sampled: Int
  /// The process that a recorded child comes from; 0: none.
  let parent: Int32
  /// The events in the order of their time; those of one thread keep their order.
  let events: [Event]
  /// Whether the file ends within a chunk, as when the program was killed.
  let isCutOff: Bool

  /// Reads a file.
  init(reading path: String) throws(Problem) {
    do {
      let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 1 << 20)
      while true {
        let count = try unsafe chunk.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
        if count == 0 { break }
        bytes += chunk[..<count]
      }
      self = try TraceFile(parsing: bytes)
    } catch let problem as Problem {
      throw problem
    } catch {
      throw .unreadable(error as? Errno ?? .ioError)
    }
  }

  /// Makes a recording of events that are in order.
  init(events: [Event], command: String = "", sampled: Int = 1) {
    (self.events, self.command, self.sampled) = (events, command, sampled)
    (parent, isCutOff) = (0, false)
  }

  /// Parses the bytes of a recording.
  init(parsing bytes: [UInt8]) throws(Problem) {
    guard bytes.count >= 64, bytes[..<8].elementsEqual("BLWTRACE".utf8) else { throw .notATrace }
    let schema = Self.word(bytes, 8)
    guard schema >= 1, schema <= Self.schema else { throw .otherSchema(schema) }
    sampled = max(1, Int(Self.word(bytes, 12)))
    parent = Int32(truncatingIfNeeded: Self.word(bytes, 28))
    command = String(decoding: bytes[32..<64].prefix { $0 != 0 }, as: UTF8.self)
    var events: [Event] = []
    var place = 64
    var isCutOff = false
    while place < bytes.count {
      guard bytes.count - place >= 32, Self.word(bytes, place) == 0x4b4e_4843,
        Int(Self.word(bytes, place + 4)) <= bytes.count - place - 32
      else {
        isCutOff = true
        break
      }
      let length = Int(Self.word(bytes, place + 4))
      let time = UInt64(Self.word(bytes, place + 16)) | UInt64(Self.word(bytes, place + 20)) << 32
      var cursor = Cursor(bytes: bytes, place: place + 32, end: place + 32 + length)
      if !cursor.read(thread: Self.word(bytes, place + 8), from: time, into: &events) { isCutOff = true }
      place += 32 + length
    }
    self.isCutOff = isCutOff
    // Events of one thread at one time keep their order.
    var order = Array(events.indices)
    order.sort { (events[$0].time, $0) < (events[$1].time, $1) }
    self.events = order.map { events[$0] }
  }

  private static func word(_ bytes: [UInt8], _ place: Int) -> UInt32 {
    (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) }
  }

  private struct Cursor {
    let bytes: [UInt8]
    var place: Int
    let end: Int

    /// Reads the events of a chunk; false where one makes no sense.
    mutating func read(thread: UInt32, from start: UInt64, into events: inout [Event]) -> Bool {
      var (time, address) = (start, UInt64(0))
      while place < end {
        guard let kind = Kind(rawValue: bytes[place]) else { return false }
        place += 1
        guard let wait = varint(), let step = varint() else { return false }
        time &+= wait
        address &+= (step >> 1) ^ (0 &- (step & 1))
        var event = Event(time: time, thread: thread, kind: kind, address: address &* 8, size: 0)
        if kind == .allocate || kind == .moved || kind == .allocateAligned {
          guard let number = varint() else { return false }
          event.size = number
        }
        if kind == .allocateAligned {
          guard place < end, bytes[place] < 64 else { return false }
          event.alignmentShift = bytes[place]
          place += 1
        }
        events.append(event)
      }
      return true
    }

    private mutating func varint() -> UInt64? {
      var number: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 64, by: 7) {
        guard place < end else { return nil }
        let byte = bytes[place]
        place += 1
        number |= UInt64(byte & 127) << shift
        if byte < 128 { return number }
      }
      return nil
    }
  }
}
