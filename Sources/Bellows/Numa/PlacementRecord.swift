// An arena's placement, where its system calls can see it: each passes by here, so that memory is placed before it can be
// touched and a policy survives every decommit.
//
//   commit   room on the nodes of a strict policy? no: ENOMEM ─► a section's first: its own policy, its memmap's ─► commit
//   reset    the fresh mapping has no policy: the same again
//
// Guarded by the arena's growth and zone locks: the engine commits under one of them, and who changes this takes both.

import BellowsCore
import CShims

struct PlacementRecord: BitwiseCopyable {
  /// Whether anything was chosen.
  var isSet: Bool
  /// Whether the memmap has a policy of its own.
  var hasMemmap: Bool
  var base: UInt
  var bytes: UInt
  var sectionShift: UInt
  var memmapBytes: UInt
  var pages: KernelPolicy
  var memmap: KernelPolicy
  /// Nodes whose room is looked at before memory is committed; 0: none.
  var strict: UInt64
  /// Nodes that are drained, and those that serve instead.
  var avoided: UInt64
  var others: UInt64
  /// The node of each section in turn.
  var schedule: InlineArray<64, UInt8>
  var scheduleCount: UInt
  /// Sections with a policy of their own.
  var chosen: InlineArray<32, SectionPolicy>
  var chosenCount: Int

  struct SectionPolicy: BitwiseCopyable {
    var index: UInt
    var policy: KernelPolicy
  }

  /// Whether one policy serves all addresses.
  var isUniform: Bool { scheduleCount == 0 && chosenCount == 0 && !hasMemmap }

  /// The policy of the pages of a section.
  func policy(section index: UInt) -> KernelPolicy {
    for place in 0..<chosenCount where chosen[place].index == index {
      return chosen[place].policy.avoiding(avoided, others: others)
    }
    let policy =
      scheduleCount == 0 ? pages : .preferring(1 << UInt64(schedule[Int(index % scheduleCount)]))
    return policy.avoiding(avoided, others: others)
  }

  /// Gives a range of the arena its policy; 0 or -errno.
  func apply(_ start: UInt, _ length: UInt) -> Int {
    if isUniform { return policy(section: 0).apply(start, length) }
    var address = start
    while address < start + length {
      let index = (address - base) >> sectionShift
      let section = base + index << sectionShift
      let memmapEnd = section + (hasMemmap ? memmapBytes : 0)
      let isMemmap = address < memmapEnd
      let end = min(start + length, isMemmap ? memmapEnd : section + 1 << sectionShift)
      let chosen = isMemmap ? memmap.avoiding(avoided, others: others) : policy(section: index)
      let result = chosen.apply(address, end - address)
      if result < 0 { return result }
      address = end
    }
    return 0
  }

  /// A system call of the arena, with the placement that belongs to it.
  func perform(_ call: UInt32, _ a: UInt, _ b: UInt, _ c: UInt, _ d: UInt) -> Int {
    let isInside = isSet && a >= base && a < base + bytes
    if isInside, call == SystemCall.commit.rawValue {
      if strict != 0, !hasRoom(b) { return -12 }
      let section = base + ((a - base) >> sectionShift) << sectionShift
      // The first pages of a section; what the kernel refuses here is a preference that it cannot have.
      if !isUniform, a == section { _ = apply(section, 1 << sectionShift) }
    }
    let result = bellows_system(0, call, a, b, c, d)
    let isFresh = call == SystemCall.reset.rawValue || call == SystemCall.mapHuge.rawValue
    if isInside, isFresh, result > 0 { _ = apply(a, b) }
    return result
  }

  private func hasRoom(_ needed: UInt) -> Bool {
    var room = 0
    for node in 0..<64 where (strict & ~avoided) >> UInt64(node) & 1 != 0 {
      room += NodeRoom.bytes(on: NodeNumber(rawValue: node))
      if room >= Int(needed) { return true }
    }
    return false
  }
}
