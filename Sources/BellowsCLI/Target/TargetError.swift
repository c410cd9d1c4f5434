// What can go wrong with a process that is looked at or steered, each with what to do about it and an exit status.

import Bellows
import SystemPackage

/// Why a process cannot be looked at or steered.
enum TargetError: Error, Equatable {
  /// There is no process of this number or name.
  case noProcess(String)
  /// Several processes have this name.
  case ambiguous(String, [Int32])
  /// The process does not run on Bellows.
  case noHeap(Int32, reason: String)
  /// It runs on a Bellows whose records this tool does not know.
  case otherVersion(Int32, version: String, layout: Int)
  /// The kernel does not let this user look into it.
  case notPermitted(Int32, reason: String)
  /// It takes no commands.
  case noControl(Int32)
  /// It did not answer in time.
  case noAnswer(Int32, reason: String)
  /// It answered with an error.
  case refused(Int32, Int32)
  /// It cannot be steered, as the words say.
  case failed(Int32, what: String)
  /// It changed whenever it was looked at.
  case changing(Int32)
  /// Its records contradict themselves.
  case damaged(Int32, what: String)
  /// It ended meanwhile.
  case ended(Int32)
  /// There is no /proc to find or to look at processes by.
  case noProc
  /// A signal ended the wait for an answer.
  case interrupted(Int32, signal: Int32)
  /// Something else that the system refused.
  case system(Errno, doing: String)

  /// The exit status: 4 where there is no Bellows heap, 5 where no answer came, 1 for all else.
  var status: Int32 {
    switch self {
    case .noHeap: 4
    case .noAnswer: 5
    default: 1
    }
  }

  /// What went wrong and what to do about it.
  var message: String {
    switch self {
    case .noProcess(let name):
      Int32(name) == nil
        ? "no process of yours is named \(name). `bellows ls` lists those that run on Bellows."
        : "there is no process \(name)."
    case .ambiguous(let name, let processes):
      "\(name) is the name of several processes: \(processes.map { "\($0)" }.joined(separator: ", ")). Say which."
    case .noHeap(let process, let reason):
      """
      process \(process) \(reason).
      Start it with `bellows run -- COMMAND`; `bellows ls` lists the processes that run on Bellows.
      """
    case .otherVersion(let process, let version, let layout):
      """
      process \(process) runs on Bellows \(version) (layout \(layout)); this tool is \(BellowsVersion.current) \
      (layout \(TargetHeader.knownLayout)) and cannot read it.
      Use the `bellows` that was installed with that library.
      """
    case .notPermitted(let process, let reason):
      "process \(process) must not be looked into: \(reason)."
    case .noControl(let process):
      """
      process \(process) runs on Bellows, but takes no commands. Start it with `bellows run --control -- COMMAND`, \
      or with BELLOWS_CONTROL=1. A child of such a process takes them from its next slow call of malloc on.
      """
    case .noAnswer(let process, let reason):
      "process \(process) did not answer in time: \(reason). The request is withdrawn. --timeout waits longer."
    case .refused(let process, let code):
      "process \(process) could not do it: \(Errno(rawValue: code))."
    case .failed(let process, let what):
      "process \(process) \(what)."
    case .changing(let process):
      "the heap of process \(process) changed each time that it was read. Try again."
    case .damaged(let process, let what):
      "the heap of process \(process) cannot be read: \(what). Try again; if it stays so, its memory is damaged."
    case .ended(let process):
      "process \(process) ended."
    case .noProc:
      """
      no /proc is mounted here, by which processes are found and looked at. `trim`, `limit` and `ch` take the number of a \
      process; for the rest: mount -t proc proc /proc
      """
    case .interrupted(let process, _):
      "interrupted; the request to process \(process) is withdrawn."
    case .system(let code, let doing):
      "\(doing): \(code)."
    }
  }
}
