import ArgumentParser
import Bellows
import Glibc

/// The options that all commands which steer a process have.
struct ControlOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp("Number or name of the process.", valueName: "process"),
    completion: .custom { _, _, _ in ProcessCompletion.controlled })
  var process: String

  @Option(
    help: ArgumentHelp("Give up when it has not answered after so many seconds.", valueName: "seconds"))
  var timeout: Double = 10

  @Flag(help: "Print one JSON object, sizes in bytes.")
  var json = false

  func validate() throws {
    guard timeout >= 0, timeout < 1_000_000 else {
      throw ValidationError("--timeout takes a number of seconds from 0.")
    }
  }

  /// The exit statuses, for the help.
  static let statuses = """
    Exit status:
      0   done
      1   failed, as the message says
      3   partly done
      4   the process does not run on Bellows
      5   no answer in time
    Interrupted by a signal, it withdraws its request and ends by that signal.
    """
}

/// A size as an argument: `128M`, `1.5GiB`, `4096`, or `none`.
struct SizeArgument: ExpressibleByArgument, Equatable {
  let bytes: Int

  init?(argument: String) {
    guard let bytes = argument == "none" ? 0 : Bytes.parse(argument) else { return nil }
    self.bytes = bytes
  }
}

/// What a command that steers a process prints: one object, or words.
struct ControlReport {
  let process: TargetProcess
  let command: String
  /// `done`, `partly` or `failed`.
  var status = "done"
  var fields: [(String, Cell)]
  let text: String

  func print(json: Bool) throws {
    guard json else { return Swift.print(text) }
    let head: [(String, Cell)] = [
      ("schema", .count(1)), ("process", .count(Int(process.id))), ("name", .text(process.name)),
      ("command", .text(command)), ("status", .text(status)),
    ]
    Swift.print(try JSONText.of(JSONObject(head + fields), pretty: isatty(STDOUT_FILENO) == 1))
  }
}
