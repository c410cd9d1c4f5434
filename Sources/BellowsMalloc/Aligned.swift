// The aligned allocators. Alignment is a power of two without an upper bound; blocks aligned to 128 MiB and
// more are mappings of their own.

import BellowsCoreEmbedded
import CMalloc
import CShims

/// A block at a multiple of `alignment`, a power of two; 0, with errno as it was, where there is none.
@inline(never)
func allocateAligned(_ alignment: UInt, _ bytes: UInt) -> UInt {
  let hit = alignedHit(alignment, bytes)
  if _fastPath(hit != 0) { return hit }
  guard isPossible(bytes), isPossible(alignment) else { return 0 }
  guard let own = Process.threadHeap() else {
    return Process.status == .steppedAside ? bellows_glibc_allocate(bytes, alignment) : 0
  }
  return handedOut { Process.heap.allocate(own, bytes: bytes, alignment: alignment) }
}

/// The hit path: a block of the smallest class that is aligned so, from the thread's list; or 0.
@c(bw_aligned_hit) @inline(never)
func alignedHit(_ alignment: UInt, _ bytes: UInt) -> UInt {
  let hot = bellows_thread_hot()
  guard hot != bellows_empty_heap(), alignment <= SizeClass.largestBytes, bytes <= SizeClass.largestBytes,
    let sizeClass = SizeClass(bytes: bytes, alignment: alignment)
  else { return 0 }
  let block = HitPath.allocate(hot, sizeClass)
  return _fastPath(block != 0) ? block : Process.heap.recycle(ThreadHeapRef(hot), sizeClass)
}

/// posix_memalign: EINVAL unless `alignment` is a power of two and a multiple of 8, with errno left alone; ENOMEM where there
/// is no memory, with errno set too, as glibc's.
@c(bw_posix_memalign)
func posixMemalign(_ result: UInt, _ alignment: UInt, _ bytes: UInt) -> Int32 {
  guard alignment.isPowerOfTwo, alignment >= 8 else { return invalidArgument }
  let block = allocateAligned(alignment, bytes)
  guard block != 0 else {
    bellows_set_errno(outOfMemory)
    return outOfMemory
  }
  Ref<UInt>(result).it = block
  return 0
}

/// aligned_alloc (C23): errno EINVAL unless `alignment` is a power of two. `bytes` need not be a multiple.
@c(bw_aligned_alloc)
func alignedAlloc(_ alignment: UInt, _ bytes: UInt) -> UInt {
  guard alignment.isPowerOfTwo else {
    bellows_set_errno(invalidArgument)
    return 0
  }
  return orOutOfMemory(allocateAligned(alignment, bytes))
}

/// memalign: as glibc's, an alignment that is no power of two is rounded up to one, and one that cannot be is EINVAL.
@c(bw_memalign)
func memalignEntry(_ alignment: UInt, _ bytes: UInt) -> UInt {
  guard alignment <= 1 &<< 63 else {
    bellows_set_errno(invalidArgument)
    return 0
  }
  return orOutOfMemory(allocateAligned(1 &<< alignment.ceilingLog2, bytes))
}

@c(bw_valloc)
func vallocEntry(_ bytes: UInt) -> UInt { orOutOfMemory(allocateAligned(Page.bytes, bytes)) }

/// pvalloc: whole pages at a page boundary, at least one.
@c(bw_pvalloc)
func pvallocEntry(_ bytes: UInt) -> UInt {
  guard isPossible(bytes) else { return orOutOfMemory(0) }
  return orOutOfMemory(allocateAligned(Page.bytes, max(bytes, 1).rounded(upTo: Page.bytes)))
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_aligned)
func namesAligned() { bellows_names_aligned() }
