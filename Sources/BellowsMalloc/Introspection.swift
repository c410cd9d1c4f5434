// Sizes and figures: malloc_usable_size, malloc_trim, mallinfo, malloc_info, malloc_stats, mallopt, and what
// bellows.h adds.

import BellowsCoreEmbedded
import CMalloc
import CShims

@c(bw_malloc_usable_size)
func mallocUsableSize(_ block: UInt) -> UInt {
  guard block != 0 else { return 0 }
  guard Process.isReady, Process.heap.knows(block) else {
    if Process.status == .steppedAside || bellows_glibc_owns(block) {
      return bellows_glibc_usable_size(block)
    }
    fail("malloc_usable_size", block, "not allocated by Bellows: no section is at this address")
  }
  return Process.heap.usableBytes(block, "malloc_usable_size")
}

// MARK: Giving back

/// malloc_trim: returns free memory, keeping `keep` bytes of it; 1 if any was returned.
@c(bw_malloc_trim)
func mallocTrim(_ keep: UInt) -> Int32 { trim(keep) > 0 ? 1 : 0 }

@c(bw_trim)
func trim(_ keep: UInt) -> UInt {
  guard Process.isReady else { return 0 }
  let returned = Process.heap.trim(Process.ownHeap, keep: keep &>> Page.shift) &<< Page.shift
  Log.notePurges(isUrgent: true)
  return returned
}

// MARK: Figures

func statistics() -> HeapStatistics {
  Process.isReady ? Process.heap.statistics() : HeapStatistics()
}

extension HeapStatistics {
  /// Pages of sections that blocks lie in: without freed runs in slots and pages returned out of shards.
  private var livePages: UInt { usedPages &- slottedPages &- holePages }
  var sectionBytes: UInt { livePages &<< Page.shift }
  var allocatedBytes: UInt { sectionBytes &+ hugeBytes }
  var freeBytes: UInt { (committedPages &- memmapPages &- livePages) &<< Page.shift }
  /// Free and resident: what a trim would return.
  var residentFreeBytes: UInt { (dirtyPages &+ slottedPages) &<< Page.shift }
}

/// mallinfo2: `arena` is what is committed, `uordblks` the pages that blocks lie in, `fordblks` the rest of
/// what is committed, `keepcost` the part of it that malloc_trim would return, `hblks` and `hblkhd` the
/// huge blocks.
@c(bw_mallinfo2)
func mallinfo2() -> bellows_mallinfo2 {
  let now = statistics()
  return bellows_mallinfo2(
    arena: Int(bitPattern: now.committedPages &<< Page.shift), ordblks: 0, smblks: 0,
    hblks: Int(bitPattern: now.hugeBlocks), hblkhd: Int(bitPattern: now.hugeBytes), usmblks: 0, fsmblks: 0,
    uordblks: Int(bitPattern: now.sectionBytes), fordblks: Int(bitPattern: now.freeBytes),
    keepcost: Int(bitPattern: now.residentFreeBytes))
}

/// mallinfo: as mallinfo2, in ints that stop at their largest value.
@c(bw_mallinfo)
func mallinfo() -> bellows_mallinfo {
  let now = mallinfo2()
  func clamp(_ value: Int) -> Int32 { value > Int(Int32.max) ? Int32.max : Int32(truncatingIfNeeded: value) }
  return bellows_mallinfo(
    arena: clamp(now.arena), ordblks: 0, smblks: 0, hblks: clamp(now.hblks), hblkhd: clamp(now.hblkhd),
    usmblks: 0, fsmblks: 0, uordblks: clamp(now.uordblks), fordblks: clamp(now.fordblks),
    keepcost: clamp(now.keepcost))
}

/// malloc_stats: the figures on standard error.
@c(bw_malloc_stats)
func mallocStats() {
  let now = statistics()
  func row(_ name: StaticString, _ value: UInt) {
    var line = Line()
    line.append("bellows: ")
    line.append(name)
    line.append(value)
    line.write()
  }
  row("sections               ", now.sections)
  row("committed bytes        ", now.committedPages &<< Page.shift)
  row("memmap bytes           ", now.memmapPages &<< Page.shift)
  row("allocated bytes        ", now.allocatedBytes)
  row("free, resident bytes   ", now.residentFreeBytes)
  row("huge bytes             ", now.hugeBytes)
  // glibc's words for it, which are looked for.
  row("max mmap bytes         ", now.mostHugeBytes)
  row("returned bytes         ", now.returnedPages &<< Page.shift)
  row("returned from shards   ", now.holePages &<< Page.shift)
  row("kept in slots          ", now.slottedPages &<< Page.shift)
  row("thread heaps           ", now.heaps)
  row("idle heaps trimmed     ", now.seizures)
  row("  and not to be had    ", now.refusals)
}

extension Line {
  /// `,"name":value`
  fileprivate mutating func field(_ name: StaticString, _ value: UInt) {
    append(",\"")
    append(name)
    append("\":")
    append(value)
  }
}

/// The figures as one JSON object on standard error (BELLOWS_STATISTICS=json).
func jsonStatistics() {
  let now = statistics()
  let limits = Process.heap.limits
  var line = Line()
  line.append("{\"schema\":1,\"event\":\"statistics\",\"process\":")
  line.append(Process.processID)
  let pages = Page.shift
  line.field("sections", now.sections)
  line.field("reserved", now.presentPages &<< pages)
  line.field("committed", now.committedPages &<< pages)
  line.field("memmap", now.memmapPages &<< pages)
  line.field("allocated", now.allocatedBytes)
  line.field("free_resident", now.residentFreeBytes)
  line.field("huge", now.hugeBytes)
  line.field("returned", now.returnedPages &<< pages)
  line.field("held", Process.heap.heldPages() &<< pages)
  line.field("soft_limit", limits.soft &<< pages)
  line.field("hard_limit", limits.hard &<< pages)
  line.field("heaps", now.heaps)
  line.append("}")
  line.write()
}

/// malloc_info: the figures as XML on a FILE. -1 and EINVAL unless `options` is 0.
@c(bw_malloc_info)
func mallocInfo(_ options: Int32, _ file: UInt) -> Int32 {
  guard options == 0, file != 0 else {
    bellows_set_errno(invalidArgument)
    return -1
  }
  let now = statistics()
  var text = Line()
  text.append("<malloc version=\"bellows-1\">\n<sections count=\"")
  text.append(now.sections)
  text.append("\" committed=\"")
  text.append(now.committedPages &<< Page.shift)
  text.append("\" memmap=\"")
  text.append(now.memmapPages &<< Page.shift)
  text.append("\"/>\n<total type=\"allocated\" size=\"")
  text.append(now.sectionBytes)
  text.append("\"/>\n<total type=\"free\" size=\"")
  text.append(now.freeBytes)
  text.append("\" resident=\"")
  text.append(now.residentFreeBytes)
  text.append("\"/>\n<total type=\"mmap\" count=\"")
  text.append(now.hugeBlocks)
  text.append("\" size=\"")
  text.append(now.hugeBytes)
  text.append("\"/>\n<heaps count=\"")
  text.append(now.heaps)
  text.append("\"/>\n</malloc>")
  text.write { bellows_file_write(file, $0, $1) }
  return 0
}

/// mallopt: takes what glibc's takes, which is everything but an M_MXFAST out of its range, and changes nothing: programs
/// tune glibc's arenas and thresholds with it, and some give up where they cannot.
@c(bw_mallopt)
func mallopt(_ parameter: Int32, _ value: Int32) -> Int32 {
  let largestFastBlock: Int32 = 160
  return parameter != sizeOfFastBlocks || value >= 0 && value <= largestFastBlock ? 1 : 0
}

/// M_MXFAST.
private let sizeOfFastBlocks: Int32 = 1

@c(bw_version)
func version() -> UInt32 { 100 }

@c(bw_statistics)
func fillStatistics(_ out: UInt, _ size: UInt) {
  let now = statistics()
  let pages = Page.shift
  let limits = Process.isReady ? Process.heap.limits : (soft: 0, hard: 0)
  let held = Process.isReady ? Process.heap.heldPages() : 0
  let figures: InlineArray<15, UInt> = [
    now.presentPages &<< pages, now.committedPages &<< pages, now.memmapPages &<< pages, now.allocatedBytes,
    now.residentFreeBytes, now.hugeBytes, now.returnedPages &<< pages, now.sections, now.heaps,
    held &<< pages, limits.soft &<< pages, limits.hard &<< pages,
    now.cagedPages &<< pages, now.offlineSections, now.seizures,
  ]
  for index in 0..<15 where UInt(bitPattern: index &+ 1) &* 8 <= size {
    Ref<UInt>(out &+ UInt(bitPattern: index) &* 8).it = figures[index]
  }
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_introspection)
func namesIntrospection() { bellows_names_introspection() }
