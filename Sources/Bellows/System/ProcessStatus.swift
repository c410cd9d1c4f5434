// /proc/PID/status. Its Vm figures lag behind by what each thread has not yet folded in (up to 1 MiB and more on old
// kernels): for figures that must agree with something read ResidentMemory.

/// What /proc/PID/status tells of a process.
package struct ProcessStatus: Hashable, Sendable {
  /// The command's name, at most 15 bytes.
  package let name: String
  /// The process id.
  package let processID: Int
  /// The parent's process id.
  package let parentID: Int
  /// The real user id.
  package let userID: Int
  /// The number of threads.
  package let threadCount: Int
  /// Address space in use, in bytes; nil for kernel threads, as are the figures below.
  package let virtualBytes: Int?
  /// Resident memory, in bytes, roughly.
  package let residentBytes: Int?
  /// The highest resident memory so far, in bytes, roughly.
  package let peakResidentBytes: Int?
  /// What counts against RLIMIT_DATA, in bytes.
  package let dataBytes: Int?
  /// Locked memory, in bytes.
  package let lockedBytes: Int?
  /// The nodes that the process may take memory from.
  package let allowedNodes: NumberList?

  /// Parses the text of /proc/PID/status; nil where name, process id or user are missing.
  package init?(parsing text: String) {
    let fields = KeyedText(parsing: text)
    guard let name = fields.fields["Name"], let processID = fields.integer("Pid"),
      let userID = fields.fields["Uid"]?.split(whereSeparator: { $0 == "\t" || $0 == " " }).first
        .flatMap({ Int($0) })
    else { return nil }
    self.name = name
    self.processID = processID
    self.userID = userID
    parentID = fields.integer("PPid") ?? 0
    threadCount = fields.integer("Threads") ?? 1
    virtualBytes = fields.bytes("VmSize")
    residentBytes = fields.bytes("VmRSS")
    peakResidentBytes = fields.bytes("VmHWM")
    dataBytes = fields.bytes("VmData")
    lockedBytes = fields.bytes("VmLck")
    allowedNodes = fields.fields["Mems_allowed_list"].flatMap { NumberList(parsing: $0) }
  }

  /// Reads the status of a process; `process` is a process id or `self`.
  package init?(reading files: SystemFiles, process: String = "self") {
    guard let text = try? files.text("proc/\(process)/status") else { return nil }
    self.init(parsing: text)
  }
}
