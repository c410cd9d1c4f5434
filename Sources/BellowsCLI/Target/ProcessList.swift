// The processes of this system, as /proc shows them.

import Bellows
import Glibc

/// A process by number and name.
struct TargetProcess: Equatable {
  let id: Int32
  /// The name that the kernel has: at most 15 bytes.
  let name: String

  /// What `bellows` takes for a process: a number, or a name. A name may be several processes'.
  static func find(_ words: String, files: SystemFiles = SystemFiles()) throws(TargetError) -> [TargetProcess]
  {
    guard ProcView.isThere else {
      // By its number a process can be asked all the same.
      guard let number = Int32(words) else { throw .noProc }
      guard number > 0, kill(number, 0) == 0 || errno == EPERM else { throw .noProcess(words) }
      return [TargetProcess(id: number, name: "process")]
    }
    if let number = Int32(words) {
      guard number > 0, let name = files.line("proc/\(number)/comm") else { throw .noProcess(words) }
      return [TargetProcess(id: number, name: name)]
    }
    let found = all(files).filter { $0.name == words || $0.program(files) == words }
    // Of several, those that run on Bellows are meant.
    let likely = found.filter { TargetHeader.isLikely($0.id, files) }
    if found.isEmpty { throw .noProcess(words) }
    return likely.isEmpty ? found : likely
  }

  /// The one process that a word names; several are an error.
  static func one(_ words: String, files: SystemFiles = SystemFiles()) throws(TargetError) -> TargetProcess {
    let found = try find(words, files: files)
    guard found.count == 1 else { throw .ambiguous(words, found.map(\.id)) }
    return found[0]
  }

  /// All processes of this user; of all users for root. In order of their numbers.
  static func all(_ files: SystemFiles = SystemFiles(), user: uid_t = geteuid()) -> [TargetProcess] {
    files.names(in: "proc").compactMap { Int32($0) }.sorted().compactMap { id in
      var status = stat()
      let isKnown = unsafe stat("/proc/\(id)", &status) == 0
      guard user == 0 || isKnown && status.st_uid == user,
        let name = files.line("proc/\(id)/comm")
      else { return nil }
      return TargetProcess(id: id, name: name)
    }
  }

  /// The processes of this user that run on Bellows.
  static func onBellows(_ files: SystemFiles = SystemFiles()) -> [TargetProcess] {
    let own = ProcessNumbers(of: "self", files)?.all.first
    return all(files).filter { $0.id != own && TargetHeader.isLikely($0.id, files) }
  }

  /// The file name of the first word of its command.
  private func program(_ files: SystemFiles) -> String? {
    (try? files.text("proc/\(id)/cmdline"))?.split(separator: "\0").first?.split(separator: "/").last
      .map { String($0) }
  }

  /// Whether it is stopped, by a signal or by a debugger.
  var isStopped: Bool { Self.state(id).map { $0 == "T" || $0 == "t" } ?? false }

  /// Whether it has ended, whoever may still list it.
  static func isEnded(_ id: Int32, _ files: SystemFiles = SystemFiles()) -> Bool {
    state(id, files).map { $0 == "Z" || $0 == "X" } ?? true
  }

  /// The kernel's letter for its state.
  private static func state(_ id: Int32, _ files: SystemFiles = SystemFiles()) -> Character? {
    guard let line = files.line("proc/\(id)/stat"), let end = line.lastIndex(of: ")") else { return nil }
    return line[line.index(after: end)...].trimmed.first
  }
}
