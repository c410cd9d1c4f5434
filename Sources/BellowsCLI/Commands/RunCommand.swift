import ArgumentParser
import Glibc
import SystemPackage

/// `bellows run`: becomes a command that has Bellows as its malloc.
struct RunCommand: ParsableCommand {
  /// The exit status of the tool's own failures, as `env`, `nohup` and `timeout` have it.
  static let ownFailure: Int32 = 125

  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a command with Bellows as its malloc.",
    usage: "bellows run [<options>] [--] <command> [<argument> ...]",
    discussion: """
      Finds libbellows-malloc.so, puts it first in LD_PRELOAD, and becomes the command: process id, terminal, stdin, \
      signals and exit status are the command's. What follows the command's name belongs to the command, and so does \
      the environment: its children run on Bellows too.

      Examples:
        bellows run -- redis-server --port 7000
        bellows run --purge-delay 100 -- python3 service.py
        bellows run --check -- ./tests          Stop at the first wrong free.
        bellows run --statistics -- gcc -O2 -c large.c
        bellows run --control -- ./service      Let `bellows trim`, `limit` and `ch` steer it.
        bellows run --limit 512M:1G --log events.json,json -- ./service

      The library is looked for beside this tool, in ../lib and ../lib/<triplet> from there, in /usr/local/lib, and \
      where the dynamic loader looks; --library or BELLOWS_LIB name it directly. LD_PRELOAD keeps what it has.

      A program that is statically linked, setuid or for another machine ignores LD_PRELOAD: it is run all the same, \
      after a warning.

      Exit status:
        125     Bellows itself failed: no library, or a mistake in the options
        126     the command was found and cannot be run
        127     the command was not found
        other   the command's own
      """)

  @OptionGroup var library: LibraryOption

  @Flag(help: "Find every double free, interior pointer and wrong sized free; slower. (BELLOWS_CHECK=1)")
  var check = false

  @Option(
    help: ArgumentHelp(
      "Keep freed memory for this many milliseconds before it is given back. (BELLOWS_PURGE_DELAY)",
      valueName: "ms"))
  var purgeDelay: Int?

  @Flag(help: "Print statistics on stderr at exit. (BELLOWS_STATISTICS=1)")
  var statistics = false

  @Flag(
    inversion: .prefixedNo,
    help:
      "Run the helper thread that gives memory back while the program is idle, or do not. (BELLOWS_THREAD=1, 0)"
  )
  var thread: Bool?

  @Flag(
    help: "Take commands of `bellows trim`, `limit` and `ch`, from this user and root. (BELLOWS_CONTROL=1)")
  var control = false

  @Option(
    help: ArgumentHelp(
      "Limit what the heap holds: above SOFT it gives back at once, above HARD malloc fails. (BELLOWS_LIMIT)",
      valueName: "soft[:hard]"))
  var limit: String?

  @Option(
    help: ArgumentHelp(
      "Write a line for each event to a descriptor or a file, with ,json as JSON. (BELLOWS_LOG)",
      valueName: "fd|file[,json]"))
  var log: String?

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The command and its arguments.", valueName: "command"),
    completion: .shellCommand("bash -c 'compgen -c; compgen -f'"))
  var words: [String] = []

  /// The command: the words without the `--` that ends the options.
  var command: [String] { Array(words.first == "--" ? words.dropFirst() : words[...]) }

  /// The limits as the library reads them, or nil where there are none or they make no sense.
  private var limitInBytes: String? {
    guard let limit else { return nil }
    let sizes = limit.split(separator: ":", omittingEmptySubsequences: false)
      .map { $0.isEmpty ? 0 : Bytes.parse(String($0)) }
    guard sizes.count <= 2, let soft = sizes[0], let hard = sizes.count > 1 ? sizes[1] : 0,
      soft > 0 || hard > 0, hard == 0 || soft <= hard
    else { return nil }
    return soft > 0 ? hard > 0 ? "\(soft):\(hard)" : "\(soft)" : ":\(hard)"
  }

  /// What the options ask for.
  var settings: Environment.Settings {
    Environment.Settings(
      check: check ? true : nil, purgeDelay: purgeDelay, statistics: statistics ? true : nil, thread: thread,
      control: control ? true : nil, limit: limitInBytes, log: log)
  }

  func validate() throws {
    if let purgeDelay, purgeDelay < 0 {
      throw ValidationError(
        "--purge-delay takes a number of milliseconds from 0; 0 gives memory back at once.")
    }
    if limit != nil, limitInBytes == nil {
      throw ValidationError("--limit takes SOFT, SOFT:HARD or :HARD, for example 512M:1G.")
    }
    // What begins with a dash in the command's place was meant for this tool.
    if let first = words.first, first.hasPrefix("-"), first != "--" {
      if first == "--help" || first == "-h" { throw CleanExit.helpRequest(Self.self) }
      throw ValidationError("Unknown option '\(first)'. A command that begins with '-' goes after '--'.")
    }
    if command.isEmpty {
      throw ValidationError("No command to run. Example: bellows run -- redis-server")
    }
  }

  func run() throws {
    let inherited = Launch.environment
    let path: String
    do throws(LibrarySearch.Failure) { path = try library.search(environment: inherited).find() } catch {
      StandardError.error(error.message)
      throw ExitCode(Self.ownFailure)
    }
    let executable = Executable(named: command[0], searchPath: inherited["PATH"])
    if let executable, let obstacle = executable.obstacle() {
      StandardError.warning("\(executable.path) \(obstacle.sentence).")
    }
    let reason = Launch.become(
      command, environment: Environment(inheriting: inherited, preloading: path, settings: settings))
    guard let executable else {
      StandardError.error("\(command[0]): command not found.")
      throw ExitCode(127)
    }
    // A script whose interpreter is missing gives the same errno as a missing file.
    let missing = reason == .noSuchFileOrDirectory ? executable.interpreter : nil
    StandardError.error(
      "\(executable.path): \(missing.map { "interpreter \($0) not found" } ?? "\(reason)").")
    throw ExitCode(126)
  }
}
