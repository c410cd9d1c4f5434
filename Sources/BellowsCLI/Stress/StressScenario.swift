// The scenarios: what each does, what it does it with, and what a good allocator holds to. The program that does it is
// bellows-workload; here stands what the tool has to know.

/// Something that a program does with memory.
struct StressScenario: Sendable {
  /// What a scenario needs beside malloc.
  enum Need: String, Sendable {
    /// Nothing.
    case malloc
    /// A recording.
    case trace
    /// Functions that Bellows alone has.
    case hotplug
  }

  /// The name on the command line.
  let name: String
  /// What happens, in a line.
  let summary: String
  /// The number of threads where none is asked for; nil for one for each CPU, at least two and at most four.
  var threads: Int?
  /// The fewest threads that make sense.
  var fewestThreads = 1
  /// The bytes that live at the highest point.
  var live = 256 << 20
  /// The sizes of blocks.
  var sizes = 16...1024
  /// How many of a hundred blocks survive, where that matters.
  var survivors = 5
  /// The event that `@+2s` counts from.
  var turn: String?
  /// What a good allocator holds to.
  let bounds: [String]
  /// What it needs.
  var need = Need.malloc
  /// What Bellows alone has of what it is about, in words.
  var subject: String?
  /// What of the system's stands in for it under other allocators; nil: nothing, and the load runs without it.
  var substitute: String?

  /// All scenarios in the order in which they are listed.
  static let all: [StressScenario] = [
    StressScenario(
      name: "spike", summary: "A load comes, all of it goes, and the program is idle.", turn: "freed",
      bounds: ["rss - base < 0.15 * max(live) @ +2s"]),
    StressScenario(
      name: "sparse", summary: "A load goes but for a few blocks everywhere; then light traffic.",
      sizes: 256...4096, turn: "freed", bounds: ["rss - base < 0.5 * max(live) @ +2s"]),
    StressScenario(
      name: "phases", summary: "The sizes of blocks change six times; a few of each phase stay.",
      live: 128 << 20,
      sizes: 16...262144, survivors: 2, bounds: ["max(rss - base) < 1.6 * max(live)"]),
    StressScenario(
      name: "server", summary: "Threads answer requests, hand their blocks to new threads, and end.",
      live: 128 << 20, bounds: ["rss - base < 1.5 * live @ 50%..end"]),
    StressScenario(
      name: "handover", summary: "Half of the threads allocate, the other half frees.", fewestThreads: 2,
      live: 128 << 20, bounds: ["max(rss - base) < 1.5 * max(live) + 4MiB"]),
    StressScenario(
      name: "pool", summary: "The threads of a pool work one at a time, each with all of the live bytes.",
      threads: 16,
      fewestThreads: 2, live: 64 << 20, bounds: ["max(rss - base) < 1.3 * max(live)"]),
    StressScenario(
      name: "threads", summary: "Threads live for a hundred blocks; some blocks outlive them.",
      live: 32 << 20,
      bounds: ["rss - base < 1.6 * live @ 50%..end"]),
    StressScenario(
      name: "forks", summary: "Threads allocate while the program forks; each child allocates too.",
      live: 32 << 20, bounds: ["lost < 1"]),
    StressScenario(
      name: "offline",
      summary: "A load leaves fragments; then the sections are taken offline, and come back.",
      sizes: 256...4096, turn: "offline", bounds: ["rss - base < 0.25 * max(live) @ offline..online"],
      need: .hotplug, subject: "sections that go offline"),
    StressScenario(
      name: "cycling", summary: "Sections go offline and come back while threads allocate.", live: 128 << 20,
      bounds: ["refused < 1"], need: .hotplug, subject: "sections that go offline"),
    StressScenario(
      name: "balloon",
      summary: "A balloon takes what is free and gives it back while the load swings.", live: 128 << 20,
      sizes: 256...16384, bounds: ["refused < 1"], need: .hotplug, subject: "balloon"),
    StressScenario(
      name: "limit",
      summary: "More is wanted than a hard limit allows: malloc refuses, and the program goes on.",
      live: 128 << 20, sizes: 256...4096, bounds: ["rss - base < 0.85 * max(live) @ 60%"],
      need: .hotplug, subject: "limit of its own", substitute: "the kernel's RLIMIT_DATA"),
    StressScenario(
      name: "replay", summary: "What `bellows record` has recorded of a real program.",
      turn: "end of the trace",
      bounds: ["max(rss - base) < 1.5 * max(live) + 4MiB"], need: .trace),
  ]

  /// Returns the scenario of a name.
  static func named(_ name: String) -> StressScenario? { all.first { $0.name == name } }
}

/// What a run is asked to do.
struct StressSettings: Equatable, Sendable, Encodable {
  /// The length of the scenario.
  var seconds: Double
  /// The number of threads that allocate.
  var threads: Int
  /// Where random numbers begin.
  var seed: UInt64
  /// The bytes that live at the highest point.
  var liveBytes: Int
  /// The smallest block.
  var leastBytes: Int
  /// The largest block.
  var mostBytes: Int
  /// How many of a hundred blocks survive.
  var survivorPercent: Int
  /// Whether all bytes of a block are written and checked, or only its ends and one word a page.
  var verify: Bool
  /// The time between two samples.
  var intervalMilliseconds: Int

  /// The words that the workload program is given.
  func words(for scenario: StressScenario, page: Int32, trace: String?) -> [String] {
    [
      scenario.name, "seconds=\(seconds)", "threads=\(threads)", "seed=\(seed)", "live=\(liveBytes)",
      "least=\(leastBytes)", "most=\(mostBytes)", "survivors=\(survivorPercent)", "verify=\(verify ? 1 : 0)",
      "page=\(page)",
    ] + (trace.map { ["trace=\($0)"] } ?? [])
  }
}
