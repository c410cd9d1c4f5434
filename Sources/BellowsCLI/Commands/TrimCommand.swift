import ArgumentParser
import Bellows

/// `bellows trim`: makes a live process give back what it does not need.
struct TrimCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trim",
    abstract: "Make a live process give free memory back at once.",
    discussion: """
      Freed memory goes back by itself after the purge delay; this does it now, and reaches what idle threads keep for \
      their next requests. The process must take commands: start it with `bellows run --control`.

      Examples:
        bellows trim redis-server
        bellows trim 4711 --keep 64M        Leave 64 MiB for what comes next.

      \(ControlOptions.statuses)
      """)

  @OptionGroup var control: ControlOptions

  @Option(help: ArgumentHelp("Leave so much free memory resident.", valueName: "size"))
  var keep = SizeArgument(bytes: 0)

  func run() throws {
    try Report.errors {
      let process = try TargetProcess.one(control.process)
      let channel = try ControlChannel.open(process)
      let before = ResidentMemory(reading: SystemFiles(), process: "\(process.id)")?.residentBytes
      let answer = try channel.ask(.trim, [UInt(keep.bytes)], seconds: control.timeout)
      if answer.error != 0 { throw TargetError.refused(process.id, answer.error) }
      let after = ResidentMemory(reading: SystemFiles(), process: "\(process.id)")?.residentBytes
      let left = answer.results[1]
      let resident =
        if let before, let after { "; RSS was \(Bytes.text(before)), is \(Bytes.text(after))" } else { "" }
      let report = ControlReport(
        process: process, command: "trim",
        fields: [
          ("returned", .bytes(answer.results[0])), ("free_resident", .bytes(left)),
          ("rss_before", before.map { .bytes($0) } ?? .none),
          ("rss_after", after.map { .bytes($0) } ?? .none),
        ],
        text: """
          \(process.name) (\(process.id)): \(Bytes.text(answer.results[0])) returned, \
          \(Bytes.text(left)) free and resident left\(resident)
          """)
      try report.print(json: control.json)
    }
  }
}

extension SizeArgument {
  init(bytes: Int) { self.bytes = bytes }
}

extension SizeArgument: CustomStringConvertible {
  var description: String { bytes == 0 ? "none" : Bytes.short(bytes) }
}
