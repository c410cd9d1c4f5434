import Testing

extension Guest {
  /// The log does not block, end or mislead the program.
  @Suite struct LogTests {
    @Test(
      "a file, a FIFO, a pipe, a limit, a number used again, a link, another root",
      arguments: ["file", "fifo", "pipe", "size", "number", "link", "chroot"])
    func goes(kind: String) {
      expectOK(Library.run("logs", kind, limit: 60))
    }
  }
}
