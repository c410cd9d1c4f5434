import Foundation
import Testing

@testable import BellowsCLI

/// What `make install` puts into a prefix is enough for a program in C, and `make uninstall` takes it away.
@Suite struct InstallTests {
  private static let package = Fixtures.tests.removingLastComponent().removingLastComponent().string

  /// The library under test and the tool of this build, laid out as a build for release has them.
  private func built(in folder: TemporaryFolder) throws -> String? {
    let build = URL(fileURLWithPath: Bench.tool).deletingLastPathComponent().path
    var files = [Bench.library]
    for name in ["bellows", "bellows-workload", "libbellows-record.so", "generate-manual"] {
      files.append("\(build)/\(name)")
    }
    let place = "\(folder.path)/built"
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    for file in files {
      guard FileManager.default.fileExists(atPath: file) else {
        skip("\(file) (swift build --product \(URL(fileURLWithPath: file).lastPathComponent))")
        return nil
      }
      let link = "\(place)/\(URL(fileURLWithPath: file).lastPathComponent)"
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
    }
    return place
  }

  private func run(_ command: [String], _ added: [String: String] = [:]) throws -> Child.Result {
    let result = try Child(command, environment: Bench.environment(added)).wait()
    #expect(result.status == 0 && !result.isSignal, "\(command): \(result.output)\(result.errors)")
    return result
  }

  private func files(in folder: String) -> [String] {
    (FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] ?? []).filter {
      var isFolder: ObjCBool = false
      return unsafe FileManager.default.fileExists(atPath: "\(folder)/\($0)", isDirectory: &isFolder)
        && !isFolder.boolValue
    }
  }

  @Test func whatIsInstalledSufficesAndGoesAgain() throws {
    for name in ["gcc", "g++", "pkg-config"]
    where Executable(named: name, searchPath: ProcessInfo.processInfo.environment["PATH"]) == nil {
      return skip(name)
    }
    let folder = try TemporaryFolder()
    guard let built = try built(in: folder) else { return }
    let script = "\(Self.package)/Scripts/install"
    let (destination, prefix) = ("\(folder.path)/destination", "/opt/bellows")
    let tree = "\(destination)\(prefix)"
    try folder.write("", to: "destination\(prefix)/include/another.h")
    _ = try run([script, destination, prefix], ["BUILT": built])

    let headers = files(in: "\(tree)/include").filter { $0 != "another.h" }
    let sources = files(in: "\(Self.package)/CShims/include")
      .filter { $0 == "bellows.h" || $0.hasPrefix("bellows/") }
    #expect(sources.count > 1 && headers.sorted() == sources.sorted())

    // As packagers and cross builds use a tree that does not stand where it will.
    let options = try run(
      ["pkg-config", "--cflags", "--libs", "bellows"],
      ["PKG_CONFIG_LIBDIR": "\(tree)/lib/pkgconfig", "PKG_CONFIG_SYSROOT_DIR": destination]
    ).output.split(whereSeparator: \.isWhitespace).map { String($0) }
    #expect(options.contains("-I\(tree)/include") && options.contains("-lbellows-malloc"), "\(options)")
    let example = "\(Self.package)/Examples/page-balloon/balloon.c"
    try folder.copy(example, to: "program.c")
    try folder.write(
      """
      #include <bellows/heap.h>
      #include <bellows.h>
      int main() { return bellows_version() == 0 || bellows_is_caged(0) != 0; }
      """, to: "program.cpp")
    // The example names the functions as weak ones only: the linker might leave the library out.
    let flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--no-as-needed"]
    for (compiler, name, output) in [("gcc", "program.c", "deflated by 64 MiB"), ("g++", "program.cpp", "")] {
      let program = "\(folder.path)/\(compiler)-program"
      _ = try run([compiler] + flags + ["-o", program, "\(folder.path)/\(name)"] + options)
      let result = try run([program], ["LD_LIBRARY_PATH": "\(tree)/lib"])
      #expect(output.isEmpty || result.output.contains(output), "\(result.output)")
    }

    _ = try run([script, "--remove", destination, prefix])
    #expect(files(in: destination) == ["opt/bellows/include/another.h"])
    #expect(!FileManager.default.fileExists(atPath: "\(tree)/include/bellows"))
  }
}
