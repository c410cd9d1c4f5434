import Glibc
import Testing

@Suite("Environment", .needsLibrary)
struct EnvironmentTests {
  @Test(
    "a strange variable is reported once and ignored",
    arguments: [["BELLOWS_FOO", "1"], ["BELLOWS_CHECK", "banana"], ["BELLOWS_", "x"]])
  func reported(variable: [String]) {
    let child = Library.run("footprint", "idle", environment: [variable[0]: variable[1]])
    #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
    #expect(child.errorLines.count == 1 && child.errors.contains(variable[0]), "\(child)")
  }

  @Test("several strange ones: a line each")
  func reportedEach() {
    let child = Library.run(
      "footprint", "idle", environment: ["BELLOWS_A": "1", "BELLOWS_B": "2", "BELLOWS_CHECK": "maybe"])
    #expect(child.ending == .exited(0) && child.errorLines.count == 3, "\(child)")
  }

  /// A value that is far too long, or not text, is no reason to fail.
  @Test func reportedWhole() {
    let child = Library.run(
      "footprint", "idle", environment: ["BELLOWS_CHECK": String(repeating: "9", count: 100_000)])
    let fine = child.ending == .exited(0) && child.errorLines.count == 1
    #expect(fine, "\(child.ending) \(child.errors.prefix(200))")
  }

  @Test("names of others are left alone")
  func others() {
    let variables = ["BELLOW": "1", "BELLOWSX": "1", "MY_BELLOWS_CHECK": "x"]
    expectOK(Library.run("footprint", "idle", environment: variables))
  }

  @Test(
    "BELLOWS_OFF: the system's malloc serves", arguments: ["stepping aside", "a script of many processes"])
  func off(kind: String) {
    let variables = ["BELLOWS_OFF": "1"]
    if kind == "stepping aside" {
      expectOK(Library.run("model", "4", "200000", environment: variables, limit: 300))
    } else {
      let script = "for i in $(seq 50); do x=$(echo $i | cat); done; echo $x"
      var environment = variables
      environment["LD_PRELOAD"] = Library.path
      let child = Child.run(["bash", "-c", script], environment: environment)
      #expect(child.isClean && child.output == "50\n", "\(child)")
    }
  }

  /// A setuid program must not be led by its caller's environment.
  ///
  /// In such a program the dynamic linker preloads nothing from a directory: this one is linked.
  @Test func setuidIgnoresAll() throws {
    let installed = "\(Library.programs)/installed"
    let program = "\(Library.programs)/secure"
    let copy = "\(installed)/secure"
    #expect(Child.run(["mkdir", "-p", installed]).ending == .exited(0))
    #expect(Child.run(["cp", Library.path, "\(installed)/libbellows-malloc.so"]).ending == .exited(0))
    let strange = ["BELLOWS_FOO": "1", "BELLOWS_CHECK": "banana"]

    // The control: without setuid the linked program reports both.
    let control = Child.run([program], environment: strange)
    #expect(control.ending == .exited(0) && control.errorLines.count == 2, "\(control)")
    #expect(control.output.contains("secure 0"), "\(control)")
    #expect(control.output.contains("libbellows-malloc.so"), "\(control)")

    let making = "cp \(program) \(copy) && chown nobody \(copy) && chmod u+s \(copy)"
    guard Child.run(["sh", "-c", making]).isClean else {
      try Test.cancel("SKIPPED: a setuid program cannot be made (run as root)")
    }
    let child = Child.run([copy], environment: strange)
    if !child.output.contains("secure 1"), !Library.isRequired {
      try Test.cancel("SKIPPED: setuid has no effect here (nosuid file system?): \(child)")
    }
    #expect(child.isClean && child.output.contains("secure 1") && child.output.hasSuffix("ok\n"), "\(child)")
  }
}
