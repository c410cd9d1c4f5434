// The seam between the engine and the system. Every memory system call of an arena goes through one
// function, so that a test can stand in its place and fail the n-th call.

import CShims

/// The memory system calls, in the order of the list in bellows_shims.h, which states their arguments.
package enum SystemCall: UInt32, Sendable {
  case reserve, map, commit, protect, readOnly, discard, reset, release, noHuge, huge, movePages
  case remap, resident, bind, place
  case populate, guardInstall, guardRemove, mapHuge, mapFile, fileBytes
  case currentNode, localNodes, distances, allowedNodes, nodeRoom, isLocked, isWritable, chargesOpen
}

/// What a system call came to.
package enum SystemResult {
  case success(UInt)
  case failure(Int32)
}

/// Where an arena's system calls go.
@safe
package struct Platform: BitwiseCopyable, Sendable {
  /// `(context, call, a, b, c, d)`; answers a value, or `-errno`. The calls are listed in bellows_shims.h.
  package typealias Entry = @convention(c) (UInt, UInt32, UInt, UInt, UInt, UInt) -> Int

  private let entry: Entry
  private let context: UInt

  /// The real system.
  package static var system: Platform { Platform(context: 0) { bellows_system($0, $1, $2, $3, $4, $5) } }

  package init(context: UInt, entry: @escaping Entry) {
    self.entry = entry
    self.context = context
  }

  @inline(never)
  package func perform(
    _ call: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt = 0, _ d: UInt = 0
  ) -> SystemResult {
    let result = entry(context, call.rawValue, a, b, c, d)
    return result < 0 && result > -4096
      ? .failure(Int32(truncatingIfNeeded: 0 &- result)) : .success(UInt(bitPattern: result))
  }

  /// Whether the call succeeded.
  @discardableResult
  package func attempt(_ call: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt = 0, _ d: UInt = 0) -> Bool {
    if case .success = perform(call, a, b, c, d) { true } else { false }
  }

  /// The address that a mapping call answers, or nil.
  package func address(_ call: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt = 0, _ d: UInt = 0) -> UInt? {
    if case .success(let address) = perform(call, a, b, c, d) { address } else { nil }
  }

  // MARK: Sections

  /// Makes a part of a section accessible, without huge pages: a page is to be resident because it was used, never because
  /// its neighbour was. What is reserved has no advice: one fresh mapping makes a range part of it again, and what is
  /// only made inaccessible stays apart from it. (A core dump goes through all of a mapping of which a page was ever
  /// touched.) False, and nothing done: the system refuses.
  @discardableResult
  package func open(_ start: UInt, _ bytes: UInt) -> Bool {
    guard attempt(.commit, start, bytes) else { return false }
    attempt(.noHuge, start, bytes)
    return true
  }

  // MARK: Nodes

  /// The node that the calling thread runs on; -1: its memory is to come from elsewhere, or nobody knows.
  package var currentNode: Int32 {
    if case .success(let node) = perform(.currentNode, 0, 0), node < 64 {
      return Int32(truncatingIfNeeded: node)
    }
    return -1
  }

  /// The nodes that the calling thread may have memory of, as bits 0 to 63; none where it is not to come from the node that
  /// the thread runs on.
  package var localNodes: UInt64 {
    var mask: UInt64 = 0
    let isKnown = unsafe withUnsafeMutablePointer(to: &mask) {
      attempt(.localNodes, UInt(bitPattern: $0), 0)
    }
    return isKnown ? mask : 0
  }

  /// The nodes that the calling thread may have memory of, as bits 0 to 63, whatever its own policy; none: nobody knows.
  package var allowedNodes: UInt64 {
    var mask: UInt64 = 0
    let isKnown = unsafe withUnsafeMutablePointer(to: &mask) {
      attempt(.allowedNodes, UInt(bitPattern: $0), 0)
    }
    return isKnown ? mask : 0
  }

  /// Bytes that may be placed on a node now; 0 where it is not there. Page cache counts as used: a policy that prefers a
  /// node goes elsewhere sooner than it takes cache away. Reads a file.
  package func room(on node: Int32) -> UInt {
    guard node >= 0, case .success(let bytes) = perform(.nodeRoom, UInt(UInt32(bitPattern: node)), 0) else {
      return 0
    }
    return bytes
  }

  /// The distances of a node to nodes 0 to 63; 0: unknown. `anew`: as they are now; else as somebody found them.
  package func distances(of node: Int32, anew: Bool = false) -> InlineArray<64, UInt8> {
    var distances = InlineArray<64, UInt8>(repeating: 0)
    unsafe withUnsafeMutablePointer(to: &distances) {
      _ = attempt(.distances, UInt(UInt32(bitPattern: node)), UInt(bitPattern: $0), 64, anew ? 1 : 0)
    }
    return distances
  }

  /// Says that pages of a range should come from whichever of some nodes is nearest to who touches them first, and from others
  /// only where none of these has any (MPOL_PREFERRED_MANY; before Linux 5.15 one node at a time can be preferred).
  @discardableResult
  package func prefer(among nodes: UInt64, _ start: UInt, _ bytes: UInt) -> Bool {
    let isMany = nodes & (nodes &- 1) != 0
    if isMany, attempt(.bind, start, bytes, 5 | 1 &<< 15, UInt(nodes)) { return true }
    return attempt(.bind, start, bytes, 1 | 1 &<< 15, UInt(nodes & (0 &- nodes)))
  }

  /// Takes the policy of a range away: pages come from where its threads' policies say.
  @discardableResult
  package func preferNothing(_ start: UInt, _ bytes: UInt) -> Bool { attempt(.bind, start, bytes, 0, 0) }

  /// Says that pages of a range should come from a node as long as it has any, and then from the nearest that has. Never an
  /// end by the system for want of memory on a node, as with a strict policy (MPOL_PREFERRED; MPOL_F_STATIC_NODES, so
  /// that the kernel does not write another node in when the process is confined to others for a while).
  @discardableResult
  package func prefer(_ node: Int32, _ start: UInt, _ bytes: UInt) -> Bool {
    guard node >= 0, node < 64 else { return false }
    return attempt(.bind, start, bytes, 1 | 1 &<< 15, 1 &<< UInt(truncatingIfNeeded: node))
  }

  /// Reserves `bytes` bytes of address space at a multiple of `alignment` without leaving slack behind.
  ///
  /// Asks for the exact size first and moves down to the boundary below, where address space that is
  /// handed out from the top is nearly always free; only then for size plus alignment, trimmed. So even
  /// under a tight RLIMIT_AS no more than `bytes` is needed.
  ///
  /// What `isCharged` counts where it becomes accessible: the kernel then refuses at once what is more than all its memory
  /// (overcommit mode 0), where it would else promise it and kill. Sections are not: they grow by the pageblock.
  package func reserve(
    _ bytes: UInt, alignment: UInt, hint: UInt = 0, isCharged: Bool = false
  ) -> UInt? {
    let charged: UInt = isCharged ? 2 : 0
    let exactly = charged | 1
    if hint != 0, let exact = address(.reserve, hint, bytes, exactly) { return exact }
    guard let first = address(.reserve, 0, bytes, charged) else { return nil }
    if first.isAligned(to: alignment) { return first }
    attempt(.release, first, bytes)
    if let below = address(.reserve, first.rounded(downTo: alignment), bytes, exactly) { return below }
    guard let wide = address(.reserve, 0, bytes &+ alignment, charged) else { return nil }
    let start = wide.rounded(upTo: alignment)
    if start > wide { attempt(.release, wide, start &- wide) }
    attempt(.release, start &+ bytes, wide &+ alignment &- start)
    return start
  }
}
