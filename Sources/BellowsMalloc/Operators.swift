// C++ operator new: as malloc, but failure calls the program's new handler until there is none, and then
// throws. operator delete is free.

import BellowsCoreEmbedded
import CMalloc
import CShims

@c(bw_new)
func new(_ bytes: UInt) -> UInt {
  let block = HitPath.allocate(bellows_thread_hot(), bytes: bytes)
  if _slowPath(block == 0) { return newMiss(bytes) }
  return block
}

@inline(never)
func newMiss(_ bytes: UInt) -> UInt {
  while true {
    let block = mallocMiss(bytes)
    if block != 0 { return block }
    if !bellows_new_handler() { bellows_throw_bad_alloc() }
  }
}

@c(bw_new_nothrow)
func newNothrow(_ bytes: UInt, _ tag: UInt) -> UInt {
  while true {
    let block = malloc(bytes)
    if block != 0 || !bellows_new_handler() { return block }
  }
}

@c(bw_new_aligned)
func newAligned(_ bytes: UInt, _ alignment: UInt) -> UInt {
  while true {
    let block = allocateAligned(alignment, bytes)
    if block != 0 { return block }
    if !bellows_new_handler() { bellows_throw_bad_alloc() }
  }
}

@c(bw_new_aligned_nothrow)
func newAlignedNothrow(_ bytes: UInt, _ alignment: UInt, _ tag: UInt) -> UInt {
  while true {
    let block = allocateAligned(alignment, bytes)
    if block != 0 || !bellows_new_handler() { return block }
  }
}
