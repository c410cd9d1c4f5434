import Glibc
import Testing

extension Guest {
  /// Our threads: how many there are, and that they have no right which the program has not.
  @Suite struct RightsTests {
    /// Where the program has no capability to give up, there is only no_new_privs.
    @Test("capabilities that the main thread gave up", arguments: Way.allCases)
    func dropped(way: Way) throws {
      try needRoot()
      for options in [["large", ""], ["large", "threads"]] {
        expectOK(Library.run("rights", "dropped", options[0], options[1], environment: way.environment))
      }
    }

    @Test("setuid, which the C library has every thread follow", arguments: Way.allCases)
    func becomesAnother(way: Way) throws {
      try needRoot()
      expectOK(Library.run("rights", "setuid", environment: way.environment))
    }

    @Test("unshare of a user namespace after the program's threads", arguments: [Way.plain, .check])
    func unshares(way: Way) {
      expectOK(Library.run("rights", "unshare", environment: way.environment))
    }

    @Test(
      "a helper that does not look comes and goes with the program's threads", arguments: [Way.plain, .check])
    func comesAgain(way: Way) {
      expectOK(Library.run("rights", "again", environment: way.environment))
    }

    /// The main thread, the helper, the worker of control, and a thread of the program.
    @Test(
      "how many threads there are",
      arguments: [
        ("", "1", "", ""), ("", "1", "large", ""), ("", "3", "thread", ""),
        ("BELLOWS_THREAD=0", "2", "thread", ""), ("BELLOWS_THREAD=1", "2", "", ""),
        ("BELLOWS_CONTROL=1", "1", "", ""), ("BELLOWS_CONTROL=1", "3", "large", ""),
        ("BELLOWS_CONTROL=1", "4", "thread", "large"), ("BELLOWS_LOG=/dev/null", "2", "", ""),
      ])
    func count(setting: String, threads: String, one: String, other: String) {
      let words = setting.split(separator: "=").map(String.init)
      let environment = words.isEmpty ? [:] : [words[0]: words[1]]
      expectOK(Library.run("rights", "count", threads, one, other, environment: environment))
    }

    /// One switch turns all of them off, and says what goes with them.
    @Test func noneAtAll() {
      let child = Library.run(
        "rights", "count", "1", "large",
        environment: ["BELLOWS_THREAD": "0", "BELLOWS_CONTROL": "1", "BELLOWS_LOG": "2"])
      #expect(child.ending == .exited(0) && child.output == "ok\n", "\(child)")
      #expect(
        child.errorLines == [
          "bellows: ignoring BELLOWS_CONTROL: BELLOWS_THREAD=0",
          "bellows: ignoring BELLOWS_LOG: BELLOWS_THREAD=0",
        ], "\(child)")
    }

    /// Short-lived and small programs that want a single thread, or change who they are.
    @Test(
      "small tools, with control",
      arguments: [
        "setpriv --reuid 65534 --regid 65534 --clear-groups id -u", "unshare -Ur id -u",
        "setpriv --reuid 65534 --clear-groups --bounding-set -all --inh-caps -all true",
        "chroot --userspec=65534:65534 / id -u", "runuser -u nobody -- id -u",
      ])
    func smallTools(command: String) throws {
      try needRoot()
      let words = command.split(separator: " ").map(String.init)
      let plain = Child.run(words)
      try #require(plain.ending == .exited(0), "\(plain)")
      let child = Child.run(words, environment: ["LD_PRELOAD": Library.path, "BELLOWS_CONTROL": "1"])
      #expect(child.isClean && child.output == plain.output, "\(child)")
    }

    private func needRoot() throws {
      if geteuid() != 0, !Library.isRequired { try Test.cancel("SKIPPED: it takes root") }
    }
  }
}
