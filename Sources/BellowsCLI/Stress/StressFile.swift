import Glibc
import SystemPackage

/// Files that the tool writes.
enum StressFile {
  /// Writes a whole file; `-` is stdout.
  static func write(_ text: String, to path: String) throws(StressFailure) {
    do {
      let file =
        path == "-"
        ? FileDescriptor.standardOutput
        : try FileDescriptor.open(
          FilePath(path), .writeOnly, options: [.create, .truncate, .closeOnExec],
          permissions: [.ownerReadWrite, .groupRead, .otherRead])
      try file.writeAll(Array(text.utf8))
      if path != "-" { try file.close() }
    } catch {
      throw StressFailure(message: "\(path) could not be written: \(error as? Errno ?? .ioError).")
    }
  }
}

extension [String] {
  /// The words as a shell would take them back, with the tool's own name first.
  var shellWords: String {
    (["bellows"] + dropFirst()).map { word in
      let isPlain =
        !word.isEmpty
        && word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=,:+%@".contains($0)) }
      return isPlain
        ? word
        : "'\(word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''"))'"
    }.joined(separator: " ")
  }
}
