import ArgumentParser
import Bellows
import Glibc

/// The tool: the root of its commands, and the one place where it ends.
@main
struct BellowsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bellows",
    abstract: "Memory hotplug for a process: a malloc that gives memory back.",
    discussion: """
      Bellows replaces malloc in any program, without changing the program. Memory that is freed leaves the process: \
      its resident size really falls.

      Start here:
        bellows doctor                      Does Bellows work on this system?
        bellows run -- redis-server         Run a command with Bellows as its malloc.
        bellows ls                          Which processes run on it, and with what memory?
        bellows help run                    Options, examples and exit statuses.

      A mistake in the options ends with exit status 64, except in `run`, whose statuses are the command's.
      """,
    version: BellowsVersion.current,
    subcommands: [
      RunCommand.self, LsCommand.self, ChCommand.self, TrimCommand.self, LimitCommand.self, StatCommand.self,
      TopCommand.self, StressCommand.self, RecordCommand.self,
      NumaCommand.self,
      DoctorCommand.self,
    ])

  /// Runs the tool.
  ///
  /// Not asynchronous: a command that is run must get this process as it was started, with the main thread's signal
  /// mask and no others running.
  static func main() {
    let arguments = Array(Launch.arguments.dropFirst())
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch {
      // The statuses of `run` are the command's; so a mistake in its own options is 125 like its other failures.
      if ["run", "record"].contains(arguments.first), exitCode(for: error) == .validationFailure {
        StandardError.write(fullMessage(for: error) + "\n")
        Glibc.exit(RunCommand.ownFailure)
      }
      exit(withError: error)
    }
  }
}
