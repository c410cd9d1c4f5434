import ArgumentParser

/// The options of the commands that look at one process again and again.
struct WatchOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp("Number or name of the process.", valueName: "process"),
    completion: .custom { _, _, _ in ProcessCompletion.words })
  var process: String

  @Option(name: .shortAndLong, help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
  var interval: Double?

  @Flag(help: "Print one JSON object for each look, sizes in bytes.")
  var json = false

  func validate() throws {
    if let interval, !(0.01...86_400).contains(interval) {
      throw ValidationError("--interval takes a number of seconds from 0.01 to 86400.")
    }
  }
}
