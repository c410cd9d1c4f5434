// The judgement of `doctor`: a pure function from facts to findings. One function a group; figures that decide stand
// beside their reason.

import Bellows

/// What the facts mean for Bellows.
struct Diagnosis {
  /// The findings in the order in which they are shown.
  let findings: [Finding]

  /// Whether Bellows works on this system.
  var works: Bool { count(.error) == 0 }

  /// Judges a report.
  init(of report: SystemReport) {
    findings =
      Self.library(report.library) + Self.system(report) + Self.memory(report) + Self.limits(report)
      + Self.features(report.features)
  }

  /// Returns how many findings have this verdict.
  func count(_ verdict: Finding.Verdict) -> Int {
    findings.count { $0.verdict == verdict }
  }

  private static func library(_ library: LibraryReport) -> [Finding] {
    guard let path = library.path else {
      return [
        Finding(
          group: .library, id: "library", title: "Library", value: "none to use", verdict: .error,
          advice: library.problem)
      ]
    }
    let found = Finding(
      group: .library, id: "library", title: "Library", value: path, verdict: .ok, advice: nil)
    return library.trial.map { [found, trial($0)] } ?? [found]
  }

  private static func trial(_ trial: LibraryReport.Trial) -> Finding {
    let said = trial.message.isEmpty ? nil : "It said: \(trial.message.trimmed)"
    let (value, verdict, advice): (String, Finding.Verdict, String?) =
      switch trial.ending {
      case nil:
        ("not tried", .note, "`\(trial.program)` could not be started: \(trial.message).")
      case "exit 0" where !trial.inUse:
        ("does not load", .error, said ?? "The program ran without it: the loader dropped LD_PRELOAD.")
      case "exit 0" where said == nil:
        ("loads, and a program runs on it", .ok, nil)
      case "exit 0":
        ("loads, with a message", .warning, said)
      case .some(let ending):
        (
          "the program ended with \(ending)", .error,
          said ?? "Without the library it would have ended with exit 0."
        )
      }
    return Finding(
      group: .library, id: "library-loads", title: "Trial", value: value, verdict: verdict, advice: advice)
  }

  private static func system(_ report: SystemReport) -> [Finding] {
    func finding(
      _ id: String, _ title: String, _ value: String, _ verdict: Finding.Verdict = .ok,
      _ advice: String? = nil
    ) -> Finding {
      Finding(group: .system, id: id, title: title, value: value, verdict: verdict, advice: advice)
    }
    var findings: [Finding] = []
    if let kernel = report.kernel {
      // The oldest kernel that Bellows is tested on.
      let old = !kernel.isAtLeast(6, 1)
      findings.append(
        finding(
          "kernel", "Kernel", "Linux \(kernel.release), \(report.machine)", old ? .note : .ok,
          old ? "Bellows is tested on Linux 6.1 and newer." : nil))
    } else {
      findings.append(
        finding("kernel", "Kernel", "unknown", .warning, "/proc is not readable here; much below is unknown.")
      )
    }
    let small = report.pageBytes == 4096
    findings.append(
      finding(
        "page-size", "Page size", Bytes.text(report.pageBytes), small ? .ok : .error,
        small
          ? nil : "Bellows is made for pages of 4 KiB; with others it steps aside and glibc's malloc serves.")
    )
    findings.append(nodes(report.topology, finding))
    switch report.ptraceScope {
    case nil:
      findings.append(finding("ptrace-scope", "Yama", "not in use"))
    case 0:
      findings.append(finding("ptrace-scope", "Yama", "ptrace_scope 0"))
    case let scope?:
      findings.append(
        finding(
          "ptrace-scope", "Yama", "ptrace_scope \(scope)", .note,
          scope == 1
            ? "A process can be looked into by its ancestors and by root only."
            : scope == 2 ? "A process can be looked into by root only." : "No process can be looked into."))
    }
    return findings
  }

  private static func nodes(
    _ topology: NodeTopology, _ finding: (String, String, String, Finding.Verdict, String?) -> Finding
  ) -> Finding {
    let nodes = topology.nodes
    let cpus = nodes.reduce(0) { $0 + $1.cpus.count }
    var value = "\(counted(nodes.count, "node")), \(counted(cpus, "CPU"))"
    let memoryless = nodes.filter { $0.memoryBytes == 0 }.map { "\($0.number)" }
    let bare = nodes.filter { $0.cpus.isEmpty }.map { "\($0.number)" }
    if !topology.offlineCPUs.isEmpty { value += ", \(topology.offlineCPUs.count) offline" }
    if !memoryless.isEmpty { value += "; without memory: \(memoryless.joined(separator: ", "))" }
    if !bare.isEmpty { value += "; without CPUs: \(bare.joined(separator: ", "))" }
    return finding("numa", "NUMA", value, .ok, nil)
  }

  private static func features(_ features: [SystemReport.Feature]) -> [Finding] {
    features.map { feature in
      Finding(
        group: .features, id: feature.name.rawValue, title: feature.name.rawValue,
        value: feature.works ? "works" : "no: \(feature.error ?? "")",
        verdict: feature.works ? .ok : feature.name.verdictIfAbsent,
        advice: feature.works ? nil : feature.name.adviceIfAbsent)
    }
  }

  /// Returns for example `1 node` or `3 nodes`.
  static func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
}

extension KernelFeature {
  /// How bad it is to be without.
  fileprivate var verdictIfAbsent: Finding.Verdict { self == .membarrier ? .warning : .note }

  /// What Bellows does instead.
  fileprivate var adviceIfAbsent: String {
    switch self {
    case .guardInstall: "Guards need mappings of their own (Linux 6.13 has it)."
    case .dontneedLocked: "Locked memory is given back by mapping over it (Linux 5.18 has it)."
    case .populateWrite: "Memory is populated by writing to it (Linux 5.14 has it)."
    case .processDontneed: "Memory is given back range by range (Linux 6.13 has it)."
    case .membarrier: "Threads cannot be told to stop using memory that has to go (Linux 4.14 has it)."
    case .mremapDontunmap:
      "Large blocks that move leave a hole in the mappings for a moment (Linux 5.7 has it)."
    case .anonymousName: "Memory of Bellows has no name in /proc/PID/maps (needs CONFIG_ANON_VMA_NAME)."
    }
  }
}
