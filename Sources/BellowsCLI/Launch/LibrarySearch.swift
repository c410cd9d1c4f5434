// Where libbellows-malloc.so is looked for. What the user names is final; else the first place that has the file wins.

import Bellows
import Glibc
import SystemPackage

/// The search for the library that replaces malloc.
struct LibrarySearch {
  /// The library's file name.
  static let fileName = "libbellows-malloc.so"

  /// Why there is no library to use.
  enum Failure: Error, Equatable {
    /// None of the places has it.
    case notFound(searched: [String])
    /// There is a file, but it cannot be preloaded here.
    case unusable(path: String, reason: String)
  }

  /// The path that the user gave by `--library` or `BELLOWS_LIB`.
  var named: String?
  /// The folder of the tool's own binary.
  var toolFolder: String
  /// The files of the system, for the loader's configuration.
  var files = SystemFiles()
  /// The Debian-style name of the machine's libraries.
  var triplet = LibrarySearch.ownTriplet

  /// The folders that are searched, in order, each once.
  var folders: [String] {
    let near = FilePath(toolFolder).removingLastComponent().appending("lib")
    var seen: Set<String> = []
    return ([toolFolder, near.string, near.appending(triplet).string, "/usr/local/lib"] + loaderFolders)
      .map { FilePath($0).lexicallyNormalized().string }
      .filter { seen.insert($0).inserted }
  }

  /// Returns the absolute path of a library that the loader of this machine can preload.
  func find() throws(Failure) -> String {
    let path: String
    if let named {
      path = Self.absolute(named)
    } else if let found = folders.map({ "\($0)/\(Self.fileName)" }).first(where: Self.exists) {
      path = found
    } else {
      throw .notFound(searched: folders)
    }
    if let reason = Self.problem(with: path) { throw .unusable(path: path, reason: reason) }
    return path
  }

  /// Tells what keeps a file from being preloaded, or nil where nothing does.
  static func problem(with path: String) -> String? {
    if let reason = Environment.unfit(path) { return reason }
    do throws(ELFImage.Problem) {
      let image = try ELFImage(reading: FilePath(path))
      if image.target != .own {
        return "it is for \(image.target.name), this tool for \(ELFImage.Target.own.name)"
      }
      return image.isSharedObject ? nil : "it is a program, not a shared library"
    } catch {
      return switch error {
      case .unreadable(.noSuchFileOrDirectory): "there is no such file"
      case .unreadable(let code): "it cannot be read: \(code)"
      case .notELF: "it is not an ELF file"
      case .damaged: "its ELF headers are damaged"
      }
    }
  }

  /// The folders that the dynamic loader searches by itself: those of /etc/ld.so.conf, then its built-in ones.
  private var loaderFolders: [String] {
    configured(by: "etc/ld.so.conf", depth: 0)
      + ["/lib", "/usr/lib"].flatMap { ["\($0)/\(triplet)", "\($0)64", $0] }
  }

  private func configured(by file: String, depth: Int) -> [String] {
    guard depth < 4, let text = try? files.text(file) else { return [] }
    return text.split(separator: "\n").flatMap { line -> [String] in
      let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
      guard let first = words.first else { return [] }
      guard first == "include" else { return first.hasPrefix("/") ? [String(first)] : [] }
      // In practice the pattern is always `folder/*.conf`.
      return words.dropFirst().flatMap { pattern -> [String] in
        let pattern = pattern.hasPrefix("/") ? String(pattern.dropFirst()) : "etc/\(pattern)"
        guard pattern.hasSuffix("/*.conf") else { return configured(by: pattern, depth: depth + 1) }
        let folder = pattern.dropLast("/*.conf".count)
        return files.names(in: String(folder)).filter { $0.hasSuffix(".conf") }
          .flatMap { configured(by: "\(folder)/\($0)", depth: depth + 1) }
      }
    }
  }

  /// Returns a path that holds wherever the command goes.
  static func absolute(_ path: String) -> String {
    guard !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
    defer { unsafe free(here) }
    return unsafe FilePath(String(cString: here)).appending(path).lexicallyNormalized().string
  }

  private static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  private static var ownTriplet: String {
    #if arch(x86_64)
    "x86_64-linux-gnu"
    #elseif arch(arm64)
    "aarch64-linux-gnu"
    #elseif arch(riscv64)
    "riscv64-linux-gnu"
    #endif
  }
}
