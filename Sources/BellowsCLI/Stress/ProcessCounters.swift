// /proc/PID/stat: page faults and processor time. The name in it may contain blanks and brackets, so fields are counted
// from the last closing bracket.

import Bellows

/// The counters of a process since its start.
struct ProcessCounters: Equatable {
  /// Page faults that needed no device.
  let minorFaults: Int
  /// Page faults that did.
  let majorFaults: Int
  /// Time in the program, in ticks of a hundredth of a second.
  let userTicks: Int
  /// Time in the kernel for the program, in ticks.
  let systemTicks: Int

  /// Parses the text of /proc/PID/stat.
  init?(parsing text: String) {
    guard let bracket = text.lastIndex(of: ")") else { return nil }
    // The first field after the name is the third of the file.
    let fields = text[text.index(after: bracket)...].split { $0 == " " || $0 == "\n" }
    guard fields.count >= 13, let minor = Int(fields[7]), let major = Int(fields[9]),
      let user = Int(fields[11]),
      let system = Int(fields[12])
    else { return nil }
    (minorFaults, majorFaults, userTicks, systemTicks) = (minor, major, user, system)
  }

  /// Reads the counters of a process.
  init?(reading files: SystemFiles, process: Int32) {
    guard let text = try? files.text("proc/\(process)/stat") else { return nil }
    self.init(parsing: text)
  }
}
