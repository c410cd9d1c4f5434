// The numbers of processes. A process has one in each PID namespace that it is in, from the outermost that has it to its own.
// /proc shows those of one namespace, which need not be the tool's: in a container whose /proc is the host's, say.
//
// Users, names and files go by the numbers of /proc, as with ps; system calls by those of the tool's own namespace; what a process
// says of itself by those of the process' own.

import Bellows
import Glibc

/// The numbers of one process or thread, beginning with that of the namespace of /proc.
struct ProcessNumbers: Equatable {
  let all: [Int32]

  /// Reads them of `PID` or `PID/task/TID`; nil where there is no such thing.
  init?(of path: String, _ files: SystemFiles = SystemFiles()) {
    guard let text = try? files.text("proc/\(path)/status") else { return nil }
    let fields = KeyedText(parsing: text).fields
    guard let line = fields["NSpid"] ?? fields["Pid"] else { return nil }
    all = line.split { $0 == " " || $0 == "\t" }.compactMap { Int32($0) }
    if all.isEmpty { return nil }
  }

  /// Its number in its own namespace.
  var own: Int32 { all[all.count - 1] }
}

/// What /proc shows of the system that the tool runs in.
enum ProcView: Equatable {
  /// No /proc is there.
  case none
  /// It shows the tool, which is so many PID namespaces below it.
  case own(depth: Int)
  /// It shows processes, but not the tool: another namespace's.
  case foreign

  static let current = ProcView(reading: SystemFiles())

  init(reading files: SystemFiles) {
    if let numbers = ProcessNumbers(of: "self", files) {
      self = .own(depth: numbers.all.count - 1)
    } else {
      self = files.names(in: "proc").contains { Int32($0) != nil } ? .foreign : .none
    }
  }

  static var isThere: Bool { current != .none }

  /// The number by which system calls know the process that /proc has under a number.
  static func callNumber(of process: Int32) throws(TargetError) -> Int32 {
    switch current {
    case .none, .own(depth: 0): return process
    case .foreign: throw .failed(process, what: "is in another PID namespace, whose /proc is mounted here")
    case .own(let depth):
      guard let numbers = ProcessNumbers(of: "\(process)")?.all else { throw .noProcess("\(process)") }
      guard numbers.count > depth else {
        throw .failed(process, what: "is outside of the PID namespace that this runs in")
      }
      return numbers[depth]
    }
  }
}

/// The threads of a process by the numbers that it knows them by.
struct ThreadNames {
  private let numbers: [Int32: Int32]
  let process: Int32

  init(of process: Int32, _ files: SystemFiles = SystemFiles()) {
    self.process = process
    var numbers: [Int32: Int32] = [:]
    // A process of this namespace knows its threads by the numbers that are seen here.
    if let own = ProcessNumbers(of: "\(process)", files), own.all.count > 1 {
      for task in files.names(in: "proc/\(process)/task").compactMap({ Int32($0) }) {
        if let inner = ProcessNumbers(of: "\(process)/task/\(task)", files)?.own { numbers[inner] = task }
      }
    }
    self.numbers = numbers
  }

  /// The number here of a thread.
  func number(of thread: Int) -> Int { numbers[Int32(clamping: thread)].map { Int($0) } ?? thread }
}
