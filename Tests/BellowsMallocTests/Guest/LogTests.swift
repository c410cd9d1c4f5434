import Testing

extension Guest {
  /// The log does not block, end or mislead the program.
  @Suite struct LogTests {
    @Test(
      "a file, a FIFO, a pipe, a limit, a number used again, a link, another root",
      arguments: ["file", "fifo", "pipe", "size", "number", "link", "chroot"])
    func goes(kind: String) {
      let child = Library.run("logs", kind, limit: 60)
      #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
      // A link is not followed, which is said.
      let said = "bellows: ignoring BELLOWS_LOG: it cannot be opened, or is a symbolic link"
      #expect(child.errorLines == (kind == "link" ? [said[...]] : []), "\(child)")
    }
  }
}
