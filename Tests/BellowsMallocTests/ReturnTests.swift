import Testing

/// What users complain of in mallocs, scenario by scenario: memory that does not come back, peaks that add up, and
/// what giving back costs. Bounds are shares of the memory that the program had, or of its live memory.
@Suite("Memory goes back", .needsLibrary)
struct ReturnTests {
  /// A program without threads has the helper only where it is switched on.
  private static let withHelper = ["BELLOWS_THREAD": "1"]

  // MARK: Idle programs

  @Test("s1: 300,000 objects freed, no traffic: at most 5 % after 1.5 s")
  func s1IdleProgramGivesBack() {
    expectOK(Library.run("returns", "idle", "wait=1500", "percent=5", environment: Self.withHelper))
    expectOK(Library.run("returns", "idle", "wait=1500", "percent=5", "thread"))
  }

  @Test("s2: one object in twenty stays: at most 30 % after 2 s")
  func s2SurvivorsKeepTheirPagesOnly() {
    expectOK(
      Library.run("returns", "idle", "keep=20", "wait=2000", "percent=30", environment: Self.withHelper))
    expectOK(Library.run("returns", "idle", "keep=20", "wait=2000", "percent=30", "thread"))
  }

  @Test(
    "s1, s2: malloc_trim returns the same at once",
    arguments: [["keep=0", "percent=5"], ["keep=20", "percent=30"]])
  func s1s2TrimGivesBackAtOnce(bounds: [String]) {
    expectOK(Library.run("returns", "idle", bounds[0], bounds[1], "trim"))
  }

  @Test("s2b: then the survivors are replaced: at most 1.3 times the live bytes")
  func s2bReplacementSettles() {
    let duration = "seconds=\(Library.isSoak ? 60 : 15)"
    expectOK(Library.run("returns", "settle", duration, "percent=130"))
  }

  @Test("a spike of 2 GiB over two threads, all freed: at most 20 MiB after 1 s")
  func spikeGoes() {
    expectOK(Library.run("returns", "spike", "mib=2048", "wait=1000", "left=20"))
  }

  // MARK: Threads

  @Test("s3: 32 workers with 64 MiB in turn: at most 1.3 times that")
  func s3PeaksOfAPoolDoNotAddUp() {
    expectOK(Library.run("threads", "pool", "20", limit: 600))
  }

  @Test("s4: 16 producers, one thread that only frees, 370 MiB live: at most 1.25 times that")
  func s4FreeingThreadGivesBack() {
    expectOK(Library.run("threads", "free-only", Library.isSoak ? "30" : "12", "370"))
  }

  // MARK: Pages

  @Test(
    "s5: what is purged is gone: nothing of it is left to the kernel to take, 0.5 s after the purge delay")
  func s5PurgedIsGone() {
    expectOK(Library.run("returns", "lazy", "wait=750"))
    expectOK(Library.run("returns", "lazy", "trim"))
  }

  /// With huge pages always and on request: in the emulated machine (Tests/VM/returns.sh).
  @Test("s6: 100 threads with 64 sizes: at most 12 MiB")
  func s6CrowdStaysSmall() {
    expectOK(Library.run("returns", "crowd", "kib=\(12 * 1024)"))
  }

  // MARK: Address space, start, cost

  @Test("s14: 100 threads with stacks of 8 MiB under ulimit -v 1000000")
  func s14AddressSpaceOfThreads() {
    let script = "ulimit -v 1000000; exec env LD_PRELOAD=\"$0\" \"$1\" limited"
    expectOK(Child.run(["sh", "-c", script, Library.path, "\(Library.programs)/threads"]))
  }

  /// 20 MiB twice every 5 ms are 2,000,000 pages a second. Half a percent of them may be faulted in again.
  @Test(
    "s16: buffers that come and go are not purged between: 10,000 faults, 60 system calls a second at most")
  func s16BuffersInUseStay() throws {
    let calls = "madvise,mmap,mprotect,mremap,munmap"
    let child = Child.run([
      "strace", "-f", "-c", "-U", "calls", "-e", "trace=\(calls)", "-E", "LD_PRELOAD=\(Library.path)",
      "\(Library.programs)/returns", "scan", "faults=10000",
    ])
    #expect(child.ending == .exited(0) && child.output.hasSuffix("ok\n"), "\(child)")
    let total = child.errors.split(separator: "\n").last { $0.hasSuffix(" total") }?.split(separator: " ")
      .first
    // What starts the program and its threads is 200 at most; then six seconds of it.
    let count = try #require(total.flatMap { Int($0) }, "\(child)")
    #expect(count <= 200 + 6 * 60, "\(child)")
  }

  @Test("true: anonymous memory at exit at most libc's and 256 KiB")
  func smallProgram() throws {
    func resident(_ preload: String) throws -> Int {
      let child = Child.run(["true"], environment: ["LD_PRELOAD": preload])
      let words = child.errors.split(whereSeparator: \.isWhitespace)
      return try #require(words.last.flatMap { Int($0) }, "\(child)")
    }
    let witness = "\(Library.programs)/resident.so"
    let plain = try resident(witness)
    let ours = try resident("\(Library.path):\(witness)")
    #expect(ours <= plain + 256, "\(ours) KiB; \(plain) without")
  }

  // MARK: Seizure

  @Test("heaps taken from sleeping threads lose and double nothing", arguments: [[], ["signals"]])
  func seized(signals: [String]) {
    let seconds = Library.isSoak ? "300" : "8"
    let delay = ["BELLOWS_PURGE_DELAY": "2"]
    expectOK(
      signals.isEmpty
        ? Library.run("returns", "seized", seconds, environment: delay, limit: 400)
        : Library.run("returns", "seized", seconds, signals[0], environment: delay, limit: 400))
  }
}
