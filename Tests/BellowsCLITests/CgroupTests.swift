@testable import Bellows
import Testing

@Suite struct CgroupTests {
  private func read(_ tree: String) -> CgroupMemory { CgroupMemory(reading: Fixtures.files(tree)) }

  // The process's own limit is larger than its parent's: the parent's rules, and its use counts.
  @Test func secondVersionTakesTheSmallestOnTheWayUp() {
    let cgroup = read("cgroup-v2")
    #expect(cgroup.version == .v2 && cgroup.memoryController == 2)
    #expect(cgroup.path == "/sys/fs/cgroup/system.slice/shop.service/worker")
    #expect(cgroup.limitBytes == 512 << 20 && cgroup.usedBytes == 300_000_000)
    #expect(cgroup.highBytes == 384 << 20)
    #expect(cgroup.swapLimitBytes == 0)
  }

  @Test func rootGroupHasNoLimit() {
    let cgroup = read("cgroup-v2-root")
    #expect(cgroup.version == .v2 && cgroup.memoryController == 2)
    #expect(cgroup.limitBytes == nil && cgroup.usedBytes == nil)
  }

  @Test func containerSeesItsGroupAtTheMountPoint() {
    let cgroup = read("cgroup-v2-container")
    #expect(cgroup.path == "/sys/fs/cgroup")
    #expect(cgroup.limitBytes == 256 << 20 && cgroup.usedBytes == 100_000_000 && cgroup.highBytes == nil)
  }

  @Test func groupOutsideOfTheNamespace() {
    let cgroup = read("cgroup-v2-outside")
    #expect(cgroup.path == "/sys/fs/cgroup" && cgroup.limitBytes == 1_048_576_000)
  }

  @Test func firstVersion() {
    let cgroup = read("cgroup-v1")
    #expect(cgroup.version == .v1 && cgroup.memoryController == 1)
    #expect(cgroup.path == "/sys/fs/cgroup/memory/batch/job:7")
    #expect(cgroup.limitBytes == 2 << 30 && cgroup.usedBytes == 1_500_000_000)
    #expect(cgroup.highBytes == nil && cgroup.swapLimitBytes == nil)
  }

  @Test func hybridWithMemoryOnTheFirst() {
    let cgroup = read("cgroup-hybrid")
    #expect(cgroup.version == .hybrid && cgroup.memoryController == 1)
    #expect(cgroup.limitBytes == nil && cgroup.usedBytes == 403_000_000)
  }

  // Its mount point has a blank in it, which mountinfo writes as \040.
  @Test func hybridWithMemoryOnTheSecond() {
    let cgroup = read("cgroup-hybrid-memory-v2")
    #expect(cgroup.version == .hybrid && cgroup.memoryController == 2)
    #expect(cgroup.path == "/sys/fs/cgroup/uni fied/a" && cgroup.limitBytes == 1_000_000)
  }

  @Test func none() {
    let cgroup = read("cgroup-none")
    #expect(cgroup.version == .none && cgroup.memoryController == nil && cgroup.limitBytes == nil)
  }
}

@Suite struct HugePageTests {
  @Test(arguments: [
    ("always", HugePageSettings.Mode.always), ("madvise", .madvise), ("never", .never),
  ])
  func mode(word: String, mode: HugePageSettings.Mode) throws {
    let settings = try #require(HugePageSettings(reading: Fixtures.files("thp-\(word)")))
    #expect(settings.mode == mode && settings.defrag == "madvise" && settings.hugePageBytes == 2 << 20)
  }

  @Test func smallerSizesInOrder() throws {
    let settings = try #require(HugePageSettings(reading: Fixtures.files("thp-madvise")))
    #expect(
      settings.sizes == [
        .init(pageBytes: 16 << 10, mode: .madvise), .init(pageBytes: 64 << 10, mode: .always),
        .init(pageBytes: 1 << 20, mode: .never), .init(pageBytes: 2 << 20, mode: .inherit),
      ])
  }

  @Test func kernelWithoutHugePages() {
    #expect(HugePageSettings(reading: Fixtures.files("nodes-1")) == nil)
  }
}
