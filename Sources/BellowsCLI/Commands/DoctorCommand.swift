import ArgumentParser
import Bellows
import Glibc

/// `bellows doctor`: tells whether Bellows works on this system, and how well.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Show what this system offers Bellows, and whether the library loads.",
    discussion: """
      Looks at the kernel, memory, huge pages, NUMA nodes, limits and control groups of this process, tries the kernel \
      features that Bellows makes use of, and runs a small program under the library. Changes nothing.

      Each finding has a word: ok; note, for what Bellows does differently here; warning, for what is likely to hurt; \
      error, for what keeps Bellows from working. Advice follows where there is any.

      Examples:
        bellows doctor
        bellows doctor --library ./libbellows-malloc.so
        bellows doctor --json | jq '.findings[] | select(.verdict != "ok")'

      NO_COLOR in the environment switches colour off; --color goes before it.

      Exit status:
        0   Bellows works here
        1   Bellows cannot work here, as the findings marked error say
      """)

  @OptionGroup var library: LibraryOption

  @Flag(help: "Print one JSON object: figures in bytes, and the findings.")
  var json = false

  @Option(help: ArgumentHelp("When to use colour: auto, always, never.", valueName: "when"))
  var color: ColorChoice = .auto

  func run() throws {
    let environment = Launch.environment
    let report = SystemReport(
      files: SystemFiles(), library: LibraryReport(search: library, environment: environment))
    let diagnosis = Diagnosis(of: report)
    let isTerminal = isatty(STDOUT_FILENO) == 1
    if json {
      print(try JSONText.of(DoctorJSON(report: report, diagnosis: diagnosis), pretty: isTerminal))
    } else {
      let style = Style(color, environment: environment, isTerminal: isTerminal)
      print(DoctorText(report: report, diagnosis: diagnosis, style: style).text)
    }
    if !diagnosis.works { throw ExitCode.failure }
  }
}
