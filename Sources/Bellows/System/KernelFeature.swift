// What the kernel offers beyond the common calls, found out by trying: version numbers lie (features are back-ported,
// configured away, or filtered by a sandbox). Each probe maps a few pages of its own, makes the call and unmaps them.

import CShims
import SystemPackage

/// A call of the kernel that Bellows makes use of where it is there.
package enum KernelFeature: String, CaseIterable, Sendable, Encodable {
  /// Guard pages that cost no mapping (Linux 6.13).
  case guardInstall = "MADV_GUARD_INSTALL"
  /// Giving back locked pages (Linux 5.18).
  case dontneedLocked = "MADV_DONTNEED_LOCKED"
  /// Populating pages with the failure reported (Linux 5.14).
  case populateWrite = "MADV_POPULATE_WRITE"
  /// Giving back many ranges in one call by MADV_DONTNEED (for the own process, Linux 6.13).
  case processDontneed = "process_madvise"
  /// A memory barrier in all threads of the process, the private expedited kind (Linux 4.14).
  case membarrier = "membarrier"
  /// Moving pages without a hole where they were (Linux 5.7).
  case mremapDontunmap = "MREMAP_DONTUNMAP"
  /// Names for anonymous memory in /proc/PID/maps (Linux 5.17, where configured).
  case anonymousName = "PR_SET_VMA_ANON_NAME"

  /// Tries the call; nil says that it works, else what the kernel answered.
  package func probe() -> Errno? {
    let code =
      switch self {
      case .guardInstall: bellows_probe_guard_install()
      case .dontneedLocked: bellows_probe_dontneed_locked()
      case .populateWrite: bellows_probe_populate_write()
      case .processDontneed: bellows_probe_process_dontneed()
      case .membarrier: bellows_probe_membarrier()
      case .mremapDontunmap: bellows_probe_mremap_dontunmap()
      case .anonymousName: bellows_probe_anonymous_name()
      }
    return code == 0 ? nil : Errno(rawValue: code)
  }
}
