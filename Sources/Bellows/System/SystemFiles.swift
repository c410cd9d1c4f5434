// Where every reader in this folder gets its text: the files of /proc and /sys below a root directory. With another
// root the same code reads a recorded tree, which is how topologies that the machine at hand lacks are tested.
// Reading costs one open, a few reads and one close per file; nothing is cached.

import Glibc
import SystemPackage

/// The kernel's text files below a root directory.
package struct SystemFiles: Sendable {
  /// The directory that stands for `/`.
  package let root: FilePath

  /// Makes a reader of the files below a directory, by default of the running system.
  package init(root: FilePath = "/") {
    self.root = root
  }

  /// Returns the whole text of a file; `path` is relative to the root.
  package func text(_ path: String) throws(Errno) -> String {
    do {
      let file = try FileDescriptor.open(root.appending(path), .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      // Files of /proc have no length to ask for: read until nothing comes.
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 16384)
      while true {
        let count = try unsafe chunk.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
  }

  /// Returns the first line of a file without blanks at its ends, or nil where there is no such file.
  package func line(_ path: String) -> String? {
    guard let text = try? text(path) else { return nil }
    return text.split(separator: "\n", maxSplits: 1).first.map { $0.trimmed } ?? ""
  }

  /// Returns the number that a file consists of, or nil where it does not.
  package func integer(_ path: String) -> Int? {
    line(path).flatMap { Int($0) }
  }

  /// Returns the names in a directory in order, without those that begin with a dot; none where it cannot be read.
  package func names(in directory: String) -> [String] {
    guard let stream = unsafe opendir(root.appending(directory).string) else { return [] }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { field in
        unsafe field.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }
}

extension StringProtocol {
  /// The text without blanks, tabs and line ends at its ends.
  package var trimmed: String {
    let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
    return String(drop(while: blank).reversed().drop(while: blank).reversed())
  }
}
