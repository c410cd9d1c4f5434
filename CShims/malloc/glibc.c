// glibc's own malloc behind ours.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>

#include "bellows_calls.h"
#include "bellows_process.h"
#include "bellows_shims.h"

// glibc's functions, looked up once. dlsym may itself free (the text of an earlier error) and, where it fails,
// allocate: what comes here while it runs is let go, or refused, which it can bear.
static struct {
  void (*release)(void *);
  size_t (*usable)(void *);
  void *(*allocate)(size_t, size_t);
  void *(*reallocate)(void *, size_t);
  struct mallinfo2 (*information)(void);
} glibc;
static uint32_t lookup;   // 0 not begun, 1 under way, 2 done
static uint32_t looking;  // the thread that looks

static bool found(void) {
  if (__atomic_load_n(&lookup, __ATOMIC_ACQUIRE) == 2) return true;
  uint32_t expected = 0;
  if (!__atomic_compare_exchange_n(&lookup, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
    if (__atomic_load_n(&looking, __ATOMIC_RELAXED) == bellows_thread_id()) return false;
    while (__atomic_load_n(&lookup, __ATOMIC_ACQUIRE) != 2) bellows_futex_wait_for((uintptr_t)&lookup, 1, 1);
    return true;
  }
  __atomic_store_n(&looking, bellows_thread_id(), __ATOMIC_RELAXED);
  *(void **)&glibc.release = dlsym(RTLD_NEXT, "free");
  *(void **)&glibc.usable = dlsym(RTLD_NEXT, "malloc_usable_size");
  *(void **)&glibc.allocate = dlsym(RTLD_NEXT, "memalign");
  *(void **)&glibc.reallocate = dlsym(RTLD_NEXT, "realloc");
  *(void **)&glibc.information = dlsym(RTLD_NEXT, "mallinfo2");
  __atomic_store_n(&lookup, 2, __ATOMIC_RELEASE);
  return true;
}

// In the child of a fork: whoever was looking is not there, unless it is the thread that forked, which was `parent`.
void bellows_glibc_forget(uint32_t parent) {
  if (lookup != 1) return;
  if (looking == parent)
    looking = bellows_thread_id();
  else
    lookup = 0;
}

// Where glibc has its blocks: below the break, in heaps of 64 MiB at a multiple of that, in mappings of their own. To read
// /proc/self/maps would take a descriptor of the program's, so it is told by what stands before the block, and only what can be
// read is looked at.

enum { HEAP_BYTES = 64 << 20, PAGE = 4096 };
enum { IS_MAPPED = 2, OF_OTHER_ARENA = 4, FLAGS = 7 };

static bool is_readable(uintptr_t address) {
#ifndef MADV_POPULATE_READ
  enum { MADV_POPULATE_READ = 22 };
#endif
  intptr_t result = bellows_call(SYS_madvise, address & ~(uintptr_t)(PAGE - 1), PAGE, MADV_POPULATE_READ);
  // Linux before 5.14: whether anything is mapped there, which it may still be forbidden to read.
  if (result == -EINVAL) result = bellows_call(SYS_madvise, address & ~(uintptr_t)(PAGE - 1), PAGE, MADV_WILLNEED);
  return result == 0 || result == -EBADF;
}

static uintptr_t current_break(void) { return (uintptr_t)bellows_call(SYS_brk, 0); }

static uintptr_t first_break;
void bellows_glibc_start(void) { first_break = current_break(); }

// The main arena: `bytes` are what glibc took of the break in all, if not before us then after.
static bool is_below_break(uintptr_t block, size_t bytes) {
  uintptr_t end = current_break(), start = end - bytes < first_break ? end - bytes : first_break;
  return block >= start && block < end;
}

// The header of another arena's heap (glibc's struct _heap_info, up to where it is read).
struct heap_header {
  uintptr_t arena, previous;
  size_t bytes, accessible;
};

static bool is_in_heap(uintptr_t block) {
  uintptr_t start = block & ~(uintptr_t)(HEAP_BYTES - 1);
  if (!is_readable(start)) return false;
  const struct heap_header *heap = (const struct heap_header *)start;
  return heap->arena != 0 && heap->arena % 16 == 0 && heap->bytes % PAGE == 0 && heap->accessible <= HEAP_BYTES &&
         heap->bytes <= heap->accessible && block - start < heap->bytes && is_readable(heap->arena);
}

// A chunk's header is the two words before its block: the bytes before it that are its own too, and its size with flags.
static bool looks_like_chunk(uintptr_t block, const struct mallinfo2 *now) {
  if (block % 16 != 0 || !is_readable(block - 16)) return false;
  size_t before = ((const size_t *)block)[-2], size = ((const size_t *)block)[-1], bytes = size & ~(size_t)FLAGS;
  if (bytes < 32 || bytes % 16 != 0) return false;
  if (size & IS_MAPPED)
    return now->hblks != 0 && (block - 16 - before) % PAGE == 0 && (before + bytes) % PAGE == 0 &&
           before + bytes <= now->hblkhd && is_readable(block - 16 + bytes - 1);
  return size & OF_OTHER_ARENA ? is_in_heap(block) : is_below_break(block, now->arena);
}

bool bellows_glibc_owns(uintptr_t block) {
  if (!found() || glibc.information == NULL) return false;
  struct mallinfo2 now = glibc.information();
  return (now.arena != 0 || now.hblkhd != 0) && looks_like_chunk(block, &now);
}

void bellows_glibc_free(uintptr_t block) {
  if (found() && glibc.release) glibc.release((void *)block);
}

uintptr_t bellows_glibc_usable_size(uintptr_t block) {
  return found() && glibc.usable ? glibc.usable((void *)block) : 0;
}

uintptr_t bellows_glibc_allocate(uintptr_t bytes, uintptr_t alignment) {
  return found() && glibc.allocate ? (uintptr_t)glibc.allocate(alignment, bytes) : 0;
}

uintptr_t bellows_glibc_reallocate(uintptr_t block, uintptr_t bytes) {
  return found() && glibc.reallocate ? (uintptr_t)glibc.reallocate((void *)block, bytes) : 0;
}
