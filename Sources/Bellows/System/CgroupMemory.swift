// The memory limits that control groups set on a process. Three arrangements are in the field:
//
//   v2      one tree, /sys/fs/cgroup is cgroup2; limits in memory.max and memory.high
//   v1      a tree for each controller; the limit in memory.limit_in_bytes of the memory tree
//   hybrid  v1 trees with an extra cgroup2 tree beside them; the memory controller is on one of the two
//
// Which it is and where the trees are mounted is read from /proc/PID/mountinfo, the process's place in them from
// /proc/PID/cgroup. A limit holds for everything below it, so the smallest on the way up to the root of the mount rules.

/// The control groups of a process as far as they limit its memory.
package struct CgroupMemory: Hashable, Sendable, Encodable {
  /// How the control groups are arranged.
  package enum Version: String, Sendable, Encodable {
    /// One tree of the second version.
    case v2
    /// Trees of the first version.
    case v1
    /// Both.
    case hybrid
    /// No control groups are mounted.
    case none
  }

  /// How the control groups are arranged.
  package let version: Version
  /// The tree that the memory controller is on: 1, 2, or nil where it is on none.
  package let memoryController: Int?
  /// The group of the process in that tree, as a path of the file system; nil where there is no memory controller.
  package let path: String?
  /// The hard limit, in bytes (the kernel kills above it); nil where there is none.
  package let limitBytes: Int?
  /// The soft limit, in bytes (the kernel slows down and takes back above it); version 2 only.
  package let highBytes: Int?
  /// The limit on swap, in bytes; version 2 only.
  package let swapLimitBytes: Int?
  /// What the group that sets the hard limit uses (else the process's own group), in bytes.
  package let usedBytes: Int?

  /// Reads the groups of a process; `process` is a process id or `self`.
  package init(reading files: SystemFiles, process: String = "self") {
    let mounts = Self.mounts(parsing: (try? files.text("proc/\(process)/mountinfo")) ?? "")
    let places = Self.places(parsing: (try? files.text("proc/\(process)/cgroup")) ?? "")
    let unified = mounts.first { $0.isUnified }
    let legacy = mounts.contains { !$0.isUnified }
    version =
      switch (unified != nil, legacy) {
      case (true, true): .hybrid
      case (true, false): .v2
      case (false, true): .v1
      case (false, false): .none
      }

    if let mount = mounts.first(where: { $0.controllers.contains("memory") }), let place = places["memory"] {
      let folders = mount.folders(to: place)
      memoryController = 1
      path = folders.first
      let limit = Self.smallest("memory.limit_in_bytes", in: folders, files)
      limitBytes = limit?.bytes
      highBytes = nil
      swapLimitBytes = nil
      usedBytes = (limit?.folder ?? folders.first).flatMap { files.integer("\($0)/memory.usage_in_bytes") }
    } else if let unified, let place = places[""], Self.hasMemory(unified.folders(to: place), files) {
      let folders = unified.folders(to: place)
      memoryController = 2
      path = folders.first
      let limit = Self.smallest("memory.max", in: folders, files)
      limitBytes = limit?.bytes
      highBytes = Self.smallest("memory.high", in: folders, files)?.bytes
      swapLimitBytes = Self.smallest("memory.swap.max", in: folders, files)?.bytes
      usedBytes = (limit?.folder ?? folders.first).flatMap { files.integer("\($0)/memory.current") }
    } else {
      memoryController = nil
      path = nil
      limitBytes = nil
      highBytes = nil
      swapLimitBytes = nil
      usedBytes = nil
    }
  }

  /// Tells whether the memory controller is on the second version's tree at the process's group or above.
  private static func hasMemory(_ folders: [String], _ files: SystemFiles) -> Bool {
    folders.contains {
      files.line("\($0)/cgroup.controllers")?.split(separator: " ").contains("memory") ?? false
    }
  }

  /// Returns the smallest limit in a file of this name and the folder that sets it.
  private static func smallest(
    _ name: String, in folders: [String], _ files: SystemFiles
  ) -> (bytes: Int, folder: String)? {
    folders.compactMap { folder in
      // `max` is no number; version 1 writes the largest multiple of the page size instead.
      files.integer("\(folder)/\(name)").flatMap { $0 >= unlimited ? nil : ($0, folder) }
    }.min { $0.0 < $1.0 }
  }

  // The kernel's "no limit" of version 1 is LONG_MAX rounded down to a page, of whatever size.
  private static let unlimited = Int.max - (1 << 20)
}

extension CgroupMemory {
  /// A mounted tree.
  struct Mount: Hashable {
    /// The group that is seen at the mount point.
    let root: String
    /// Where the tree is mounted.
    let point: String
    /// Whether it is of the second version.
    let isUnified: Bool
    /// The controllers and options of a tree of the first version.
    let controllers: [String]

    /// Returns the folder of a group and of each group above it up to the mount point, innermost first.
    ///
    /// A group outside of what is mounted (a container that sees only its own part) is taken as the mount point.
    func folders(to place: String) -> [String] {
      let base = root == "/" ? "" : root
      guard !place.hasPrefix("/.."), place == base || place.hasPrefix(base + "/") else { return [point] }
      var names = place.dropFirst(base.count).split(separator: "/")
      var folders: [String] = []
      while !names.isEmpty {
        folders.append("\(point)/\(names.joined(separator: "/"))")
        names.removeLast()
      }
      return folders + [point]
    }
  }

  /// Parses the control-group mounts out of mountinfo:
  /// `31 23 0:28 ROOT POINT rw,nosuid shared:9 - cgroup2 cgroup2 rw`.
  static func mounts(parsing text: String) -> [Mount] {
    text.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count >= dash + 4,
        words[dash + 1] == "cgroup" || words[dash + 1] == "cgroup2"
      else { return nil }
      let unified = words[dash + 1] == "cgroup2"
      return Mount(
        root: unescaped(words[3]), point: unescaped(words[4]), isUnified: unified,
        controllers: unified ? [] : words[dash + 3].split(separator: ",").map(String.init))
    }
  }

  /// Parses `4:memory:/group` into groups by controller; the second version's tree has the empty name.
  static func places(parsing text: String) -> [String: String] {
    var places: [String: String] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      for controller in parts[1].split(separator: ",", omittingEmptySubsequences: false) {
        places[String(controller)] = String(parts[2])
      }
    }
    return places
  }

  /// Returns a path of mountinfo with its octal escapes (`\040` is a blank) undone.
  private static func unescaped(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(String(rest.prefix(3)) ?? "", radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
