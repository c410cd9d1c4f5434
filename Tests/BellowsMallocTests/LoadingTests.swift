import Testing

@Suite("Loaded late, beside other allocators, and audited", .needsLibrary)
struct LoadingTests {
  @Test("64 threads dlopen the library, use it and close it")
  func late() {
    expectOK(Child.run(["\(Library.programs)/loader", "late", Library.path]))
  }

  @Test("an ordinary plug-in shares the heap")
  func plugin() {
    expectOK(Library.run("loader", "plugins", "\(Library.programs)/plugin.so"))
  }

  /// With RTLD_DEEPBIND the plug-in's malloc is glibc's, if our dlopen leaves it: its blocks come to our free and realloc.
  @Test func deepBind() {
    let child = Library.run(
      "loader", "deep-bind", "\(Library.programs)/plugin.so", environment: ["BELLOWS_DEEPBIND": "1"])
    expectOK(child)
    #expect(child.output.contains("another"), "the plug-in was not bound to glibc: nothing was tested")
  }

  @Test(arguments: [["exits", "at-exit"], ["threads", "abandoned"], ["conformance", "zero-sizes"]])
  func audited(command: [String]) {
    let auditor = ["LD_AUDIT": "\(Library.programs)/auditor.so"]
    expectOK(Library.run(command[0], command[1], environment: auditor))
  }

  @Test("auditor and late loading together")
  func auditedLate() {
    let auditor = ["LD_AUDIT": "\(Library.programs)/auditor.so"]
    expectOK(Child.run(["\(Library.programs)/loader", "late", Library.path], environment: auditor))
  }
}
