import Bellows

// The judgement of memory and limits.
extension Diagnosis {
  static func memory(_ report: SystemReport) -> [Finding] {
    func finding(
      _ id: String, _ title: String, _ value: String, _ verdict: Finding.Verdict = .ok,
      _ advice: String? = nil
    ) -> Finding {
      Finding(group: .memory, id: id, title: title, value: value, verdict: verdict, advice: advice)
    }
    var findings: [Finding] = []
    if let memory = report.memory {
      findings.append(
        finding(
          "memory", "Memory",
          "\(Bytes.text(memory.totalBytes)), \(Bytes.text(memory.availableBytes)) available"))
      findings.append(
        finding(
          "swap", "Swap",
          memory.swapTotalBytes == 0
            ? "none" : "\(Bytes.text(memory.swapTotalBytes)), \(Bytes.text(memory.swapFreeBytes)) free"))
    }
    findings.append(hugePages(report.hugePages, finding))
    if let sizes = report.hugePages?.sizes, !sizes.isEmpty {
      let on = sizes.filter { $0.mode != .never }.map { "\(Bytes.text($0.pageBytes)) \($0.mode.rawValue)" }
      findings.append(finding("mthp", "mTHP sizes", on.isEmpty ? "all never" : on.joined(separator: ", ")))
    }
    findings.append(overcommit(report, finding))
    if let pressure = report.pressure {
      let stalled = pressure.some.sixtySeconds
      // A tenth of the time is what service managers take as a reason to act.
      findings.append(
        finding(
          "pressure", "Pressure", "\(stalled) % of the last minute", stalled >= 10 ? .warning : .ok,
          stalled >= 10 ? "This machine is short of memory now; figures taken here mean little." : nil))
    } else {
      findings.append(
        finding(
          "pressure", "Pressure", "not measured", .note,
          "Shortage of memory cannot be seen coming (CONFIG_PSI, or psi=1 at boot)."))
    }
    return findings
  }

  private static func hugePages(
    _ settings: HugePageSettings?, _ finding: (String, String, String, Finding.Verdict, String?) -> Finding
  ) -> Finding {
    let title = "Huge pages"
    guard let settings else {
      return finding("thp", title, "not in this kernel", .note, "Large heaps take more page faults.")
    }
    return switch settings.mode {
    case .madvise, .inherit:
      finding("thp", title, "THP \(settings.mode.rawValue)", .ok, nil)
    case .always:
      finding(
        "thp", title, "THP always", .note,
        "Bellows asks for small pages where memory is sparse; other parts of a program may hold more than they use."
      )
    case .never:
      finding(
        "thp", title, "THP never", .note,
        "Large heaps take more page faults. To let Bellows ask for huge pages: "
          + "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
    }
  }

  private static func overcommit(
    _ report: SystemReport, _ finding: (String, String, String, Finding.Verdict, String?) -> Finding
  ) -> Finding {
    let id = "overcommit"
    let title = "Overcommit"
    switch report.overcommit {
    case nil: return finding(id, title, "unknown", .note, nil)
    case .heuristic: return finding(id, title, "mode 0, heuristic", .ok, nil)
    case .always: return finding(id, title, "mode 1, always", .ok, nil)
    case .never:
      let room = report.memory.map { max(0, $0.commitLimitBytes - $0.committedBytes) }
      // Less than one section is left: the next growth fails.
      let scarce = (room ?? 0) < 128 << 20
      return finding(
        id, title, "mode 2, \(room.map(Bytes.text) ?? "unknown") left to commit", scarce ? .warning : .note,
        scarce
          ? "Allocations fail soon. Raise vm.overcommit_ratio or add swap."
          : "Memory is committed in steps of 2 MiB, and malloc fails cleanly at the commit limit.")
    }
  }

  static func limits(_ report: SystemReport) -> [Finding] {
    func finding(
      _ id: String, _ title: String, _ value: String, _ verdict: Finding.Verdict = .ok,
      _ advice: String? = nil
    ) -> Finding {
      Finding(group: .limits, id: id, title: title, value: value, verdict: verdict, advice: advice)
    }
    func limit(_ id: String, _ title: String, _ limit: ResourceLimits.Limit, tight: Int?) -> Finding {
      guard let bytes = limit.softBytes else { return finding(id, title, "unlimited") }
      guard let tight else { return finding(id, title, Bytes.text(bytes)) }
      return bytes < tight
        ? finding(
          id, title, Bytes.text(bytes), .warning,
          "Leaves little room for sections of 128 MiB: raise it by ulimit.")
        : finding(id, title, Bytes.text(bytes), .note, "malloc fails cleanly when this is reached.")
    }
    var findings = [cgroup(report.cgroup, finding)]
    if let limits = report.limits {
      // A section is aligned to its size, so finding a place for one takes twice its address space for a moment.
      findings.append(limit("rlimit-as", "RLIMIT_AS", limits.addressSpace, tight: 256 << 20))
      findings.append(limit("rlimit-data", "RLIMIT_DATA", limits.data, tight: 16 << 20))
      findings.append(limit("rlimit-memlock", "RLIMIT_MEMLOCK", limits.lockedMemory, tight: nil))
      findings.append(limit("rlimit-stack", "RLIMIT_STACK", limits.stack, tight: nil))
    }
    if let count = report.maxMapCount {
      // The kernel's default.
      let low = count < 65530
      findings.append(
        finding(
          "max-map-count", "vm.max_map_count", "\(count)", low ? .warning : .ok,
          low ? "Giving memory back can split mappings. Raise it: sysctl vm.max_map_count=65530" : nil))
    }
    return findings
  }

  private static func cgroup(
    _ cgroup: CgroupMemory, _ finding: (String, String, String, Finding.Verdict, String?) -> Finding
  ) -> Finding {
    let title = "Control group"
    guard let controller = cgroup.memoryController else {
      return finding("cgroup", title, "\(cgroup.version.rawValue), no memory limits", .ok, nil)
    }
    let arrangement =
      cgroup.version == .hybrid ? "hybrid (memory on v\(controller))" : cgroup.version.rawValue
    let used = cgroup.usedBytes.map { ", \(Bytes.text($0)) used" } ?? ""
    guard let limit = cgroup.limitBytes else {
      return finding("cgroup", title, "\(arrangement), no limit\(used)", .ok, nil)
    }
    let tight = (cgroup.usedBytes ?? 0) > limit / 10 * 9
    return finding(
      "cgroup", title, "\(arrangement), limit \(Bytes.text(limit))\(used)", tight ? .warning : .ok,
      tight ? "Above nine tenths of the limit: the kernel kills when it is reached." : nil)
  }
}
