/// The words that a shell offers where a process is wanted.
enum ProcessCompletion {
  /// Numbers and names of the processes that run on Bellows.
  static var words: [String] {
    words(of: TargetProcess.onBellows())
  }

  /// Those of them that take commands.
  static var controlled: [String] {
    words(of: TargetProcess.onBellows().filter { ControlChannel.isOffered(by: $0.id) })
  }

  private static func words(of processes: [TargetProcess]) -> [String] {
    processes.map { "\($0.id)" } + Set(processes.map(\.name)).sorted()
  }
}
