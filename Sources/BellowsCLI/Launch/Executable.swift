// What a command's name leads to, and whether a preload can take hold of it. The loader ignores LD_PRELOAD silently in
// the cases below; a user who measures memory must not take glibc's figures for those of Bellows.

import CShims
import Glibc
import SystemPackage

/// The file that a command's name stands for.
struct Executable {
  /// Why LD_PRELOAD does not work, or may not work, on a program.
  enum Obstacle: Equatable {
    /// No dynamic loader is named, so nothing reads LD_PRELOAD.
    case staticallyLinked
    /// Running it changes the user or group, so the loader drops preloaded libraries.
    case changesUser
    /// It carries capabilities, with the same effect.
    case hasCapabilities
    /// It is for another machine or word size than the library.
    case otherTarget(String)
    /// It uses another C library's loader.
    case otherLoader(String)

    /// The obstacle in a sentence that follows the program's path.
    var sentence: String {
      switch self {
      case .staticallyLinked: "is statically linked, so LD_PRELOAD has no effect: it runs without Bellows"
      case .changesUser:
        "is setuid or setgid, so the loader drops LD_PRELOAD: it runs without Bellows (run it as its owner instead)"
      case .hasCapabilities: "has file capabilities, so the loader drops LD_PRELOAD: it runs without Bellows"
      case .otherTarget(let name):
        "is a \(name) program, which cannot load this library: it runs without Bellows"
      case .otherLoader(let loader): "uses the loader \(loader); Bellows is made for glibc and may not load"
      }
    }
  }

  /// The path of the file.
  let path: String

  /// Finds a command as execvp does; nil where there is no such file that may be run.
  init?(named name: String, searchPath: String?) {
    guard !name.isEmpty else { return nil }
    if name.contains("/") {
      guard Self.permits(name, F_OK) else { return nil }
      path = name
      return
    }
    let folders = (searchPath ?? "/bin:/usr/bin").split(separator: ":", omittingEmptySubsequences: false)
    let candidates = folders.map { $0.isEmpty ? "./\(name)" : "\($0)/\(name)" }
    let runnable = candidates.first { Self.permits($0, X_OK) && Self.isRegular($0) }
    guard let found = runnable ?? candidates.first(where: { Self.permits($0, F_OK) }) else { return nil }
    path = found
  }

  /// Makes an executable of a known path.
  init(path: String) { self.path = path }

  /// Tells why a preload does not take hold, or nil where nothing speaks against it.
  ///
  /// Of a script its interpreter counts.
  func obstacle(depth: Int = 0) -> Obstacle? {
    if let interpreter, depth < 4 { return Executable(path: interpreter).obstacle(depth: depth + 1) }
    if changesUser { return .changesUser }
    if hasCapabilities { return .hasCapabilities }
    // What is no readable ELF file is left to the kernel and the shell, which say what is wrong with it.
    guard let image = try? ELFImage(reading: FilePath(path)) else { return nil }
    if image.target != .own { return .otherTarget(image.target.name) }
    guard let loader = image.loader else { return isLoader ? nil : .staticallyLinked }
    return loader.contains("ld-linux") || loader.contains("ld64") ? nil : .otherLoader(loader)
  }

  /// The interpreter that the first line of a script names.
  var interpreter: String? {
    guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
      return nil
    }
    defer { try? file.close() }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = (try? unsafe bytes.withUnsafeMutableBytes { unsafe try file.read(into: $0) }) ?? 0
    let line = String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    guard line.hasPrefix("#!") else { return nil }
    return line.dropFirst(2).split { $0 == " " || $0 == "\t" }.first.map(String.init)
  }

  /// Whether the file is the dynamic loader itself, which has no loader and reads LD_PRELOAD all the same.
  private var isLoader: Bool {
    FilePath(path).lastComponent.map { $0.string.hasPrefix("ld-linux") || $0.string == "ld.so" } ?? false
  }

  /// Whether the loader of the program would find real and effective user or group to differ.
  private var changesUser: Bool {
    var file = stat()
    var system = statvfs()
    guard unsafe stat(path, &file) == 0 else { return false }
    if unsafe statvfs(path, &system) == 0, system.f_flag & UInt(ST_NOSUID) != 0 { return false }
    return file.st_mode & S_ISUID != 0 && file.st_uid != getuid()
      || file.st_mode & S_ISGID != 0 && file.st_mode & S_IXGRP != 0 && file.st_gid != getgid()
  }

  /// Whether running the file raises capabilities; for root they are there already.
  private var hasCapabilities: Bool {
    guard getuid() != 0 else { return false }
    return unsafe bellows_probe_file_capabilities(path) == 1
  }

  private static func permits(_ path: String, _ mode: Int32) -> Bool { unsafe access(path, mode) == 0 }

  private static func isRegular(_ path: String) -> Bool {
    var file = stat()
    return unsafe stat(path, &file) == 0 && file.st_mode & S_IFMT == S_IFREG
  }
}
