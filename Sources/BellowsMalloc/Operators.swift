// C++ operator new: malloc's hit path; the rest is in C (CShims/malloc/operators.c), because it throws.

import BellowsCoreEmbedded
import CMalloc
import CShims

@c(bw_new)
func new(_ bytes: UInt) -> UInt {
  let block = HitPath.allocate(bellows_thread_hot(), bytes: bytes)
  if _slowPath(block == 0) { return bellows_new_miss(bytes) }
  return block
}

@c(bellows_malloc_again)
func mallocAgain(_ bytes: UInt) -> UInt { mallocEntry(bytes) }

@c(bellows_allocate_aligned)
func allocateAlignedForNew(_ alignment: UInt, _ bytes: UInt) -> UInt { allocateAligned(alignment, bytes) }

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_operators)
func namesOperators() { bellows_names_operators() }
