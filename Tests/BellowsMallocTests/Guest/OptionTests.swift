import Testing

extension Guest {
  /// What glibc's malloc accepts and refuses, row by row.
  @Suite struct OptionTests {
    @Test(
      "mallopt takes what glibc's takes, and absurd sizes and alignments have its errno",
      arguments: ["options", "absurd"])
    func asGlibc(command: String) {
      expectSame(Library.run("options", command), Library.runPlain("options", command))
    }

    @Test("more memory than the machine has is refused, in overcommit mode 0")
    func overcommit() throws {
      let mode = Child.run(["cat", "/proc/sys/vm/overcommit_memory"]).output
      guard mode == "0\n" else { try Test.cancel("SKIPPED: the overcommit mode is \(mode)") }
      let child = Library.run("overcommit")
      expectSame(child, Library.runPlain("overcommit"))
      #expect(child.output.contains("malloc NULL, errno 12\n"), "\(child)")
    }

    private func expectSame(_ child: Child, _ plain: Child) {
      expectOK(child)
      let ours = child.output.split(separator: "\n")
      let glibc = plain.output.split(separator: "\n")
      #expect(ours.count == glibc.count && ours.count > 30)
      for (own, other) in zip(ours, glibc) where own != other {
        Issue.record("\(own), but of glibc: \(other)")
      }
    }
  }
}
