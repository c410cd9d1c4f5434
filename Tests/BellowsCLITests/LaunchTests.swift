import Bellows
import Foundation
import SystemPackage
import Testing

@testable import BellowsCLI

@Suite struct LibrarySearchTests {
  @Test func foldersInOrder() {
    let search = LibrarySearch(
      toolFolder: "/opt/bellows/bin", files: Fixtures.files("loader"), triplet: "x86_64-linux-gnu")
    #expect(
      search.folders == [
        "/opt/bellows/bin", "/opt/bellows/lib", "/opt/bellows/lib/x86_64-linux-gnu", "/usr/local/lib",
        "/opt/a/lib", "/opt/more/lib", "/opt/last/lib",
        "/lib/x86_64-linux-gnu", "/lib64", "/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib",
      ])
  }

  @Test func besideTheToolGoesBeforeLib() throws {
    let folder = try TemporaryFolder()
    let library = try #require(Self.someLibrary)
    try folder.copy(library, to: "lib/\(LibrarySearch.fileName)")
    let search = LibrarySearch(toolFolder: "\(folder.path)/bin")
    #expect(try search.find() == "\(folder.path)/lib/\(LibrarySearch.fileName)")
    try folder.copy(library, to: "bin/\(LibrarySearch.fileName)")
    #expect(try search.find() == "\(folder.path)/bin/\(LibrarySearch.fileName)")
  }

  // A broken file in the first place is not passed over: the user would measure another library than the one there.
  @Test func brokenFileIsAnErrorAndNotSkipped() throws {
    let folder = try TemporaryFolder()
    try folder.write("not a library", to: "bin/\(LibrarySearch.fileName)")
    try folder.copy(try #require(Self.someLibrary), to: "lib/\(LibrarySearch.fileName)")
    let path = "\(folder.path)/bin/\(LibrarySearch.fileName)"
    #expect(throws: LibrarySearch.Failure.unusable(path: path, reason: "it is not an ELF file")) {
      try LibrarySearch(toolFolder: "\(folder.path)/bin").find()
    }
  }

  @Test func whatIsNamedIsFinal() throws {
    let failure = LibrarySearch.Failure.unusable(path: "/no/such.so", reason: "there is no such file")
    #expect(throws: failure) { try LibrarySearch(named: "/no/such.so", toolFolder: "/").find() }
    #expect(failure.message.contains("--library"))
  }

  @Test func relativePathsBecomeAbsolute() throws {
    let here = FileManager.default.currentDirectoryPath
    let failure = LibrarySearch.Failure.unusable(path: "\(here)/no.so", reason: "there is no such file")
    #expect(throws: failure) { try LibrarySearch(named: "./x/../no.so", toolFolder: "/").find() }
  }

  @Test func programsAreRefused() {
    #expect(LibrarySearch.problem(with: "/bin/true") == "it is a program, not a shared library")
    #expect(LibrarySearch.problem(with: "/") != nil)
  }

  /// The C library that this process runs on.
  static var someLibrary: String? {
    let maps = (try? SystemFiles().text("proc/self/maps")) ?? ""
    return maps.split(separator: "\n").first { $0.hasSuffix("/libc.so.6") }?.split(separator: " ").last
      .map(String.init)
  }
}

@Suite struct ELFTests {
  /// Returns a minimal header of 64 bits with no program headers.
  private func header(type: UInt16, machine: UInt16, wordClass: UInt8 = 2, bigEndian: Bool = false) -> [UInt8]
  {
    var bytes = [UInt8](repeating: 0, count: 64)
    func put(_ value: UInt16, at offset: Int) {
      let pair = [UInt8(value & 0xff), UInt8(value >> 8)]
      bytes.replaceSubrange(offset..<offset + 2, with: bigEndian ? pair.reversed() : pair)
    }
    bytes.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, wordClass, bigEndian ? 2 : 1, 1])
    put(type, at: 16)
    put(machine, at: 18)
    put(wordClass == 2 ? 56 : 32, at: wordClass == 2 ? 54 : 42)
    return bytes
  }

  private func image(_ bytes: [UInt8]) throws -> ELFImage {
    let folder = try TemporaryFolder()
    try folder.write(bytes, to: "file")
    return try ELFImage(reading: FilePath("\(folder.path)/file"))
  }

  @Test func systemFiles() throws {
    let program = try ELFImage(reading: "/bin/true")
    #expect(program.target == .own && !program.isSharedObject)
    #expect(program.loader?.contains("ld-linux") == true)
    let library = try ELFImage(reading: FilePath(try #require(LibrarySearchTests.someLibrary)))
    #expect(library.target == .own && library.isSharedObject)
  }

  @Test func otherMachines() throws {
    #expect(try image(header(type: 3, machine: 183)).target.name == "64-bit AArch64")
    #expect(try image(header(type: 3, machine: 3, wordClass: 1)).target.name == "32-bit x86")
    #expect(try image(header(type: 2, machine: 22, bigEndian: true)).target.name == "64-bit S/390")
    #expect(try image(header(type: 2, machine: 62)).isSharedObject == false)
    #expect(try image(header(type: 3, machine: 62)).isSharedObject)
  }

  @Test func whatIsNoELFFile() throws {
    #expect(throws: ELFImage.Problem.notELF) { try image([]) }
    #expect(throws: ELFImage.Problem.notELF) { try image(Array("#!/bin/sh\n".utf8)) }
    #expect(throws: ELFImage.Problem.notELF) { try image([0x7f, 0x45, 0x4c, 0x46]) }
    #expect(throws: ELFImage.Problem.unreadable(.noSuchFileOrDirectory)) {
      try ELFImage(reading: "/no/such/file")
    }
  }

  // Headers come from files that anyone may have made: whatever stands in them, reading ends with a value or an error.
  @Test func damagedHeadersNeverTrap() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/file"
    let original = Array(try #require(FileManager.default.contents(atPath: "/bin/true"))).prefix(4096)
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    for _ in 0..<500 {
      var bytes = Array(original)
      for _ in 0..<(1 + random(6)) {
        bytes[4 + random(700)] = [0, 1, 0x7f, 0x80, 0xff, UInt8(random(256))][random(6)]
      }
      try folder.write(Array(bytes.prefix(random(8) == 0 ? random(bytes.count) : bytes.count)), to: "file")
      _ = try? ELFImage(reading: FilePath(path))
    }
  }
}

@Suite struct ExecutableTests {
  @Test func foundInThePath() throws {
    let folder = try TemporaryFolder()
    try folder.write("text", to: "a/tool")
    try folder.write("#!/bin/sh\n", to: "b/tool", mode: 0o755)
    let path = "\(folder.path)/none:\(folder.path)/a:\(folder.path)/b"
    #expect(Executable(named: "tool", searchPath: path)?.path == "\(folder.path)/b/tool")
    // What cannot be run is found all the same: 126 and not 127.
    #expect(Executable(named: "tool", searchPath: "\(folder.path)/a")?.path == "\(folder.path)/a/tool")
    #expect(Executable(named: "tool", searchPath: "/none") == nil)
    #expect(Executable(named: "", searchPath: path) == nil)
    #expect(Executable(named: "/no/such", searchPath: path) == nil)
    #expect(Executable(named: "true", searchPath: nil) != nil)
  }

  @Test func ordinaryProgramsHaveNoObstacle() {
    #expect(Executable(path: "/bin/true").obstacle() == nil)
    #expect(Executable(path: "/no/such").obstacle() == nil)
  }

  @Test func staticProgram() throws {
    guard let busybox = Executable(named: "busybox", searchPath: "/bin:/usr/bin"),
      (try ELFImage(reading: FilePath(busybox.path))).loader == nil
    else { return skip("a statically linked busybox") }
    #expect(busybox.obstacle() == .staticallyLinked)
    let folder = try TemporaryFolder()
    try folder.write("#! \(busybox.path) sh\n", to: "script", mode: 0o755)
    #expect(Executable(path: "\(folder.path)/script").interpreter == busybox.path)
    #expect(Executable(path: "\(folder.path)/script").obstacle() == .staticallyLinked)
  }

  @Test func setuidOfAnotherUser() throws {
    guard getuid() == 0 else { return skip("root, to make a setuid file of another user") }
    let folder = try TemporaryFolder()
    try folder.copy("/bin/true", to: "true")
    let path = "\(folder.path)/true"
    try Self.own(path, by: 1)
    #expect(Executable(path: path).obstacle() == .changesUser)
    // Of the own user it changes nothing.
    try Self.own(path, by: 0)
    #expect(Executable(path: path).obstacle() == nil)
  }

  private static func own(_ path: String, by user: uid_t) throws {
    let code = unsafe chown(path, user, 0) | chmod(path, 0o4755)
    try #require(code == 0)
  }

  @Test func scriptThatNamesItselfEnds() throws {
    let folder = try TemporaryFolder()
    try folder.write("#!\(folder.path)/loop\n", to: "loop", mode: 0o755)
    #expect(Executable(path: "\(folder.path)/loop").obstacle() == nil)
  }
}

@Suite struct ChildTests {
  private let environment = Environment(inheriting: Launch.environment, preloading: "")

  @Test func outcome() throws {
    let outcome = try Launch.run(
      ["sh", "-c", "echo out; echo err >&2; exit 3"], environment: environment, seconds: 60)
    #expect(outcome.ending == .exited(3) && outcome.output == "out\n" && outcome.errors == "err\n")
  }

  @Test func signal() throws {
    let outcome = try Launch.run(["sh", "-c", "kill -SEGV $$"], environment: environment, seconds: 60)
    #expect(outcome.ending == .signalled(SIGSEGV))
  }

  @Test func hangingChildIsKilled() throws {
    let outcome = try Launch.run(["sleep", "1000"], environment: environment, seconds: 1)
    #expect(outcome.ending == .hung)
  }

  @Test func missingProgram() {
    #expect(throws: Errno.noSuchFileOrDirectory) {
      try Launch.run(["bellows-no-such-program"], environment: environment, seconds: 60)
    }
  }
}
