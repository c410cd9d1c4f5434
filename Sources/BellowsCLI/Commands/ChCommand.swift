import ArgumentParser
import Bellows
import CShims
import Glibc

/// `bellows ch`: takes sections of a live process offline, or brings them back.
struct ChCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ch",
    abstract: "Take memory of a live process offline, or bring it back.",
    usage: "bellows ch <process> (--online | --offline) (<amount> | -b <blocks>)",
    discussion: """
      Offline: nothing is allocated in the section any more, what is freed there goes back to the system at once, and \
      when nothing lives there it is gone, until it is brought online again. What lives there cannot be moved by \
      malloc; the report names it. The process must take commands: start it with `bellows run --control`.

      A size is in MiB unless it has a unit, and is rounded up to sections: of those that are online the emptiest go \
      first; of those that are offline the ones on their way come first. A range is 0xFIRST-0xLAST, blocks are numbers \
      as `bellows ls` lists them: 3, 2-5, 1,4-6.

      Where a section cannot go as a whole in time, all comes back as it was; --keep-partial keeps out what is free \
      of it, --stay leaves it on its way, so that what is freed later goes too. --online brings both back, and says how \
      many bytes came: of a section that was offline in part that part. Asked for more than is out, it brings what \
      there is, with exit status 3.

      Interrupted (Ctrl-C, SIGTERM, SIGHUP) or killed, it withdraws its request: the section under way comes back at \
      once, whatever the deadline; sections of requests before it stay as they are.

      Examples:
        bellows ch redis-server --offline 256M
        bellows ch 4711 --offline -b 2-5 --deadline 30 --keep-partial
        bellows ch 4711 --online 0x00007f2a40000000-0x00007f2a47ffffff
        bellows ch 4711 --online 1G --json | jq .online

      \(ControlOptions.statuses)
      """)

  @OptionGroup var control: ControlOptions

  @Argument(help: ArgumentHelp("How much: a size, or a range of addresses.", valueName: "amount"))
  var amount: String?

  @Flag(name: [.customShort("e"), .long], help: "Bring memory online.")
  var online = false

  @Flag(name: [.customShort("d"), .long], help: "Take memory offline.")
  var offline = false

  @Option(
    name: [.customShort("b"), .long],
    help: ArgumentHelp("The memory blocks with these numbers.", valueName: "blocks"))
  var blocks: String?

  @Option(
    help: ArgumentHelp(
      "Only sections with most of their pages on this NUMA node; for --offline.", valueName: "node"),
    completion: .custom { _, _, _ in NodeTopology(reading: SystemFiles()).nodes.map { "\($0.number)" } })
  var node: Int?

  @Option(
    help: ArgumentHelp("Only memory of this zone: normal, movable.", valueName: "zone"),
    completion: .list(["normal", "movable"]))
  var zone: String?

  @Option(help: ArgumentHelp("Try to empty sections for so many seconds.", valueName: "seconds"))
  var deadline: Double = 5

  @Flag(help: "Where a section cannot go as a whole, keep out what is free of it.")
  var keepPartial = false

  @Flag(help: "Where a section cannot go as a whole, leave it on its way: what is freed there later goes.")
  var stay = false

  @Flag(name: .shortAndLong, help: "Say what was done to each section.")
  var verbose = false

  func validate() throws {
    if online == offline { throw ValidationError("Say either --online or --offline.") }
    if (amount == nil) == (blocks == nil) {
      throw ValidationError("Say how much: a size, a range of addresses, or --blocks.")
    }
    if keepPartial && stay { throw ValidationError("--keep-partial and --stay exclude each other.") }
    if online && (keepPartial || stay) {
      throw ValidationError("--keep-partial and --stay are for --offline.")
    }
    if online && node != nil {
      throw ValidationError(
        "--node is for --offline: what is offline lies on no node. `numactl` says where it comes to.")
    }
    guard deadline >= 0, deadline <= 86_400 else {
      throw ValidationError("--deadline takes a number of seconds from 0 to 86400.")
    }
    _ = try choice
  }

  private var choice: SectionChoice {
    get throws {
      guard let choice = SectionChoice(amount: amount, blocks: blocks, node: node, zone: zone) else {
        throw ValidationError(
          blocks == nil
            ? "'\(amount ?? "")' is neither a size (256M) nor a range of addresses (0x...-0x...)."
            : "'\(blocks ?? "")' are no numbers of blocks: 3, 2-5, 1,4-6.")
      }
      return choice
    }
  }

  func run() throws {
    var status = SectionChange.Status.done
    try Report.errors {
      let process = try TargetProcess.one(control.process)
      let change = SectionChange(
        process: process, isOnline: online, choice: try choice, deadline: deadline, timeout: control.timeout,
        flags: keepPartial ? UInt(BELLOWS_OFFLINE_PARTIAL) : stay ? 0 : UInt(BELLOWS_OFFLINE_WHOLE))
      let outcome = try change.perform(verbose: verbose && !control.json)
      status = outcome.status
      if control.json {
        print(try JSONText.of(outcome.object(process), pretty: isatty(STDOUT_FILENO) == 1))
      } else {
        outcome.lines(process).forEach { print($0) }
      }
    }
    if status != .done { throw ExitCode(status.rawValue) }
  }
}
