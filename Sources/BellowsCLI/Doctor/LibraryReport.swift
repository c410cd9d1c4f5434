// Whether the library is there and takes hold: a small program is run under it and shows its own mappings. The loader
// only prints a line and goes on where a preload fails, so the exit status alone proves nothing.

import SystemPackage

/// The library and a trial of it.
struct LibraryReport: Encodable {
  /// What came of running a program under the library.
  struct Trial: Encodable {
    /// The program.
    let program: String
    /// How it ended, for example `exit 0` or `signal 11`; nil where it could not be started.
    let ending: String?
    /// Whether the program had the library mapped.
    let inUse: Bool
    /// What came on stderr, which should be nothing.
    let message: String

    /// Whether all is as it should be.
    var passed: Bool { ending == "exit 0" && inUse }
  }

  /// The library's path; nil where none was found or it is unusable.
  let path: String?
  /// What keeps it from being used, with advice.
  let problem: String?
  /// The trial; nil where there is no library to try.
  let trial: Trial?

  /// Makes a report of known facts.
  init(path: String?, problem: String?, trial: Trial?) {
    self.path = path
    self.problem = problem
    self.trial = trial
  }

  /// Looks for the library and tries it.
  init(search option: LibraryOption, environment: [String: String]) {
    do throws(LibrarySearch.Failure) {
      let path = try option.search(environment: environment).find()
      self.init(path: path, problem: nil, trial: Self.attempt(path, environment: environment))
    } catch {
      self.init(path: nil, problem: error.message, trial: nil)
    }
  }

  private static let unknownName = "BELLOWS_TRIAL"

  /// Runs a program under the library in the environment that a command would get. Where there is no /proc for it to show its
  /// mappings, the library shows itself: it names a variable that it does not know.
  private static func attempt(_ path: String, environment: [String: String]) -> Trial {
    let hasMaps = ProcView.isThere
    let program = hasMaps ? ["cat", "/proc/self/maps"] : ["cat", "/dev/null"]
    let name = program.joined(separator: " ")
    do throws(Errno) {
      var variables = Environment(inheriting: environment, preloading: path)
      if !hasMaps { variables.values[Self.unknownName] = "1" }
      let outcome = try Launch.run(program, environment: variables, seconds: 10)
      let ending =
        switch outcome.ending {
        case .exited(let status): "exit \(status)"
        case .signalled(let signal): "signal \(signal)"
        case .hung: "no end within 10 s"
        }
      guard hasMaps else {
        let inUse = outcome.errors.contains(Self.unknownName)
        return Trial(program: name, ending: ending, inUse: inUse, message: inUse ? "" : outcome.errors)
      }
      let file = Launch.resolved(path)
      let inUse = outcome.output.split(separator: "\n").contains { $0.hasSuffix(" \(file)") }
      return Trial(program: name, ending: ending, inUse: inUse, message: outcome.errors)
    } catch {
      return Trial(program: name, ending: nil, inUse: false, message: "\(error)")
    }
  }
}
