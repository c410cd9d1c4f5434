// The facts that `doctor` judges. They are gathered in one place and judged in another (Diagnosis), so that the advice
// can be tested on systems that are not at hand.

import Bellows
import Glibc

/// What a system offers.
struct SystemReport: Encodable {
  /// A kernel feature and what came of trying it.
  struct Feature: Encodable {
    /// The feature.
    let name: KernelFeature
    /// Whether the call works.
    let works: Bool
    /// What the kernel answered where it does not, as a number and in words.
    let errno: Int32?
    let error: String?
  }

  /// The kernel's version; nil where /proc does not tell.
  var kernel: KernelVersion?
  /// The instruction set that the tool is built for.
  var machine = ELFImage.Target.own.machineName
  /// The page size, in bytes.
  var pageBytes: Int
  /// Memory, swap and commit of the machine.
  var memory: MemoryInfo?
  /// Transparent huge pages.
  var hugePages: HugePageSettings?
  /// The NUMA nodes.
  var topology: NodeTopology
  /// How the kernel charges writable memory.
  var overcommit: Overcommit?
  /// How many mappings a process may have.
  var maxMapCount: Int?
  /// The limits of this process.
  var limits: ResourceLimits?
  /// The control groups of this process.
  var cgroup: CgroupMemory
  /// The pressure on memory; nil where the kernel does not measure it.
  var pressure: Pressure?
  /// Yama's rule on who may look into a process; nil where Yama is not in use.
  var ptraceScope: Int?
  /// The kernel features.
  var features: [Feature]
  /// The library, and what came of running a program under it.
  var library: LibraryReport

  /// Gathers the facts; the page size and the features are those of the running kernel whatever the files are.
  init(files: SystemFiles, library: LibraryReport) {
    kernel = KernelVersion(reading: files)
    pageBytes = sysconf(Int32(_SC_PAGESIZE))
    memory = MemoryInfo(reading: files)
    hugePages = HugePageSettings(reading: files)
    topology = NodeTopology(reading: files)
    overcommit = Overcommit(reading: files)
    maxMapCount = files.integer("proc/sys/vm/max_map_count")
    limits = ResourceLimits(reading: files)
    cgroup = CgroupMemory(reading: files)
    pressure = Pressure(reading: files)
    ptraceScope = files.integer("proc/sys/kernel/yama/ptrace_scope")
    features = KernelFeature.allCases.map { feature in
      let error = feature.probe()
      return Feature(name: feature, works: error == nil, errno: error?.rawValue, error: error.map { "\($0)" })
    }
    self.library = library
  }
}
