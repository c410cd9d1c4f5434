import ArgumentParser
import Glibc
import SystemPackage

/// `bellows record`: becomes a command whose allocations are written down.
struct RecordCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "record",
    abstract: "Record a command's allocations, to replay them under any allocator.",
    usage: "bellows record [<options>] [--] <command> [<argument> ...]",
    discussion: """
      Becomes the command, with a library before its malloc that writes down every allocation and free: time, thread, \
      size, alignment. The allocator stays what it is. Contents are not recorded.

      Children of the command are recorded too, each in a file of its own: the name with the child's number behind, as in \
      redis.trace.4711. Each is replayed by itself. --no-children leaves them out.

      A recording takes about 7 bytes for each event. --sample 16 records the blocks at one address in sixteen, which is \
      enough to see the shape of memory over time.

      Examples:
        bellows record --output redis.trace -- redis-server --port 7000
        bellows stress replay --trace redis.trace --allocator bellows --allocator glibc

      Exit status:
        125     Bellows itself failed: no library, or a mistake in the options
        126     the command was found and cannot be run
        127     the command was not found
        other   the command's own
      """)

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The file to write. (default: the command's name with .trace)", valueName: "file"),
    completion: .file())
  var output: String?

  @Option(help: ArgumentHelp("Record the blocks at one address in so many.", valueName: "number"))
  var sample = 1

  @Flag(inversion: .prefixedNo, help: "Record the command's children too, each in a file of its own.")
  var children = true

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The command and its arguments.", valueName: "command"),
    completion: .shellCommand("bash -c 'compgen -c; compgen -f'"))
  var words: [String] = []

  /// The command: the words without the `--` that ends the options.
  var command: [String] { Array(words.first == "--" ? words.dropFirst() : words[...]) }

  func validate() throws {
    if let first = words.first, first.hasPrefix("-"), first != "--" {
      if first == "--help" || first == "-h" { throw CleanExit.helpRequest(Self.self) }
      throw ValidationError("Unknown option '\(first)'. A command that begins with '-' goes after '--'.")
    }
    if command.isEmpty {
      throw ValidationError("No command to record. Example: bellows record -- python3 service.py")
    }
    guard (1...65536).contains(sample) else { throw ValidationError("--sample takes 1 to 65536.") }
  }

  func run() throws {
    let inherited = Launch.environment
    let recorder: String
    do throws(StressFailure) { recorder = try Companion.recorder.find(inherited) } catch {
      StandardError.error(error.message)
      throw ExitCode(RunCommand.ownFailure)
    }
    let name = FilePath(command[0]).lastComponent?.string ?? command[0]
    // The command may change its folder before the library opens the file.
    let path = LibrarySearch.absolute(output ?? "\(name).trace")
    var environment = Environment(inheriting: inherited, preloading: recorder)
    environment.values["BELLOWS_TRACE"] = path
    // The command has this process's number; its children have others.
    environment.values["BELLOWS_TRACE_PROCESS"] = String(getpid())
    environment.values["BELLOWS_TRACE_SAMPLED"] = String(sample)
    environment.values["BELLOWS_TRACE_CHILDREN"] = children ? "1" : "0"
    let executable = Executable(named: command[0], searchPath: inherited["PATH"])
    if let executable, let obstacle = executable.obstacle() {
      StandardError.warning("\(executable.path) \(obstacle.sentence); so nothing is recorded.")
    }
    let reason = Launch.become(command, environment: environment)
    guard let executable else {
      StandardError.error("\(command[0]): command not found.")
      throw ExitCode(127)
    }
    StandardError.error("\(executable.path): \(reason).")
    throw ExitCode(126)
  }
}
