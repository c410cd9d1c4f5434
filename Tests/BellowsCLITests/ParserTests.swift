@testable import Bellows
import Glibc
import SystemPackage
import Testing

@Suite struct ParserTests {
  @Test(arguments: [
    ("", []), ("0", [0]), ("0-3,8,10-11\n", [0, 1, 2, 3, 8, 10, 11]), ("7,1", [1, 7]), ("2-2", [2]),
  ])
  func numberList(text: String, numbers: [Int]) {
    #expect(NumberList(parsing: text)?.numbers == numbers)
  }

  @Test(arguments: ["a", "3-1", "1-2-3", "-1", "1-", "0-99999999999", "1 2"])
  func numberListRefuses(text: String) {
    #expect(NumberList(parsing: text) == nil)
  }

  @Test func numberListIsWrittenAsTheKernelDoes() {
    #expect(NumberList(parsing: "0,1,2,5,7-8")?.text == "0-2,5,7-8")
  }

  @Test(arguments: [
    ("6.18.44-fc-v657", 6, 18), ("5.4", 5, 4), ("6.1.0-18-amd64", 6, 1), ("6.12-rc3+", 6, 12),
  ])
  func kernelVersion(release: String, major: Int, minor: Int) throws {
    let version = try #require(KernelVersion(parsing: release))
    #expect((version.major, version.minor) == (major, minor))
    #expect(version.isAtLeast(major, minor) && !version.isAtLeast(major, minor + 1))
    #expect(!version.isAtLeast(major + 1, 0))
  }

  @Test(arguments: ["", "6", "Linux", "x.y"]) func kernelVersionRefuses(release: String) {
    #expect(KernelVersion(parsing: release) == nil)
  }

  @Test func memoryInfo() throws {
    let info = try #require(
      MemoryInfo(
        parsing: """
          MemTotal:       24641036 kB
          MemFree:        20000000 kB
          MemAvailable:   22000000 kB
          SwapTotal:       1000000 kB
          SwapFree:         900000 kB
          CommitLimit:    12320516 kB
          Committed_AS:     345678 kB
          HugePages_Total:       5
          """))
    #expect(info.totalBytes == 24_641_036 * 1024)
    #expect(info.availableBytes == 22_000_000 * 1024)
    #expect(info.swapTotalBytes == 1_024_000_000 && info.swapFreeBytes == 921_600_000)
    #expect(info.commitLimitBytes == 12_320_516 * 1024 && info.committedBytes == 345678 * 1024)
    #expect(MemoryInfo(parsing: "nothing of the kind") == nil)
  }

  @Test func amountsThatDoNotFitAreAbsent() {
    let text = KeyedText(parsing: "A: 9223372036854775807 kB\nB: 12 MB\nC: x kB\nD:\nE: 4096")
    #expect(["A", "B", "C", "D", "F"].allSatisfy { text.bytes($0) == nil })
    #expect(text.bytes("E") == 4096)
  }

  @Test func processStatus() throws {
    let status = try #require(
      ProcessStatus(
        parsing: """
          Name:\tredis-server
          Umask:\t0022
          State:\tS (sleeping)
          Pid:\t4711
          PPid:\t1
          Uid:\t999\t1000\t999\t999
          VmHWM:\t   20480 kB
          VmSize:\t  163840 kB
          VmLck:\t       0 kB
          VmRSS:\t   10240 kB
          VmData:\t   81920 kB
          Threads:\t5
          Mems_allowed:\t00000000,0000000d
          Mems_allowed_list:\t0,2-3
          """))
    #expect(status.name == "redis-server" && status.processID == 4711 && status.parentID == 1)
    #expect(status.userID == 999 && status.threadCount == 5)
    #expect(status.virtualBytes == 160 << 20 && status.residentBytes == 10 << 20)
    #expect(status.peakResidentBytes == 20 << 20 && status.dataBytes == 80 << 20 && status.lockedBytes == 0)
    #expect(status.allowedNodes?.numbers == [0, 2, 3])
  }

  @Test func kernelThreadHasNoMemoryFigures() throws {
    let status = try #require(
      ProcessStatus(parsing: "Name:\tkswapd0\nPid:\t40\nUid:\t0\t0\t0\t0\nThreads:\t1\n"))
    #expect(status.virtualBytes == nil && status.residentBytes == nil)
  }

  @Test func residentMemory() throws {
    let memory = try #require(
      ResidentMemory(
        parsing: """
          55d0a0000000-7ffd8f1ff000 ---p 00000000 00:00 0                          [rollup]
          Rss:                2048 kB
          Pss:                1024 kB
          Pss_Anon:            512 kB
          Anonymous:           768 kB
          LazyFree:             16 kB
          AnonHugePages:         0 kB
          Swap:                 64 kB
          SwapPss:              32 kB
          Locked:                4 kB
          """))
    #expect(memory.residentBytes == 2 << 20 && memory.proportionalBytes == 1 << 20)
    #expect(memory.anonymousBytes == 768 << 10 && memory.anonymousHugeBytes == 0)
    #expect(memory.lazyFreeBytes == 16 << 10 && memory.swapBytes == 64 << 10 && memory.lockedBytes == 4 << 10)
  }

  @Test func resourceLimits() throws {
    let limits = try #require(
      ResourceLimits(
        parsing: """
          Limit                     Soft Limit           Hard Limit           Units
          Max cpu time              unlimited            unlimited            seconds
          Max data size             1048576              2097152              bytes
          Max stack size            8388608              unlimited            bytes
          Max locked memory         65536                65536                bytes
          Max address space         unlimited            unlimited            bytes
          """))
    #expect(limits.addressSpace == .init(softBytes: nil, hardBytes: nil))
    #expect(limits.data == .init(softBytes: 1 << 20, hardBytes: 2 << 20))
    #expect(limits.stack == .init(softBytes: 8 << 20, hardBytes: nil))
    #expect(limits.lockedMemory == .init(softBytes: 65536, hardBytes: 65536))
    #expect(ResourceLimits(parsing: "Max data size 1 2 bytes") == nil)
  }

  @Test func pressure() throws {
    let pressure = try #require(
      Pressure(
        parsing: """
          some avg10=1.50 avg60=22.09 avg300=0.31 total=123456
          full avg10=0.00 avg60=3.25 avg300=0.10 total=654
          """))
    #expect(pressure.some == .init(tenSeconds: 1.5, sixtySeconds: 22.09, fiveMinutes: 0.31))
    #expect(pressure.full.sixtySeconds == 3.25)
    #expect(Pressure(parsing: "some avg10=1.50\n") == nil)
  }

  // The running system: what the parsers make of it must agree with what the kernel says in other ways.
  @Test func thisProcess() throws {
    let files = SystemFiles()
    let status = try #require(ProcessStatus(reading: files))
    #expect(status.processID == Int(getpid()) && status.parentID == Int(getppid()))
    #expect(status.userID == Int(getuid()))
    let memory = try #require(ResidentMemory(reading: files))
    #expect(memory.residentBytes > memory.anonymousBytes && memory.anonymousBytes > 0)
    #expect(ResourceLimits(reading: files) != nil && MemoryInfo(reading: files) != nil)
    #expect(KernelVersion(reading: files) != nil)
    let cpus = NodeTopology(reading: files).nodes.flatMap(\.cpus)
    #expect(cpus.count == sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  }

  @Test func filesThatAreNotThere() {
    let files = Fixtures.files("no-such-tree")
    #expect(throws: Errno.noSuchFileOrDirectory) { try files.text("proc/meminfo") }
    #expect(files.line("proc/meminfo") == nil && files.names(in: "proc").isEmpty)
  }

  // Which features there are depends on the kernel; the answer must be of the kernel's vocabulary, never the EIO by
  // which a probe says that a call reported success without doing its work.
  @Test(arguments: KernelFeature.allCases) func featureProbesAnswer(feature: KernelFeature) {
    let allowed: [Errno?] = [nil, .invalidArgument, .noFunction, .notPermitted, .permissionDenied]
    #expect(allowed.contains(feature.probe()))
    #expect(feature.probe() == feature.probe())
  }

  @Test func barrierAndPopulateExistSinceLinux5_14() throws {
    let kernel = try #require(KernelVersion(reading: SystemFiles()))
    guard kernel.isAtLeast(5, 14) else { return }
    #expect(KernelFeature.membarrier.probe() == nil)
    #expect(KernelFeature.populateWrite.probe() == nil)
    #expect(KernelFeature.mremapDontunmap.probe() == nil)
  }
}
