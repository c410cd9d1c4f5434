// The OS edge of Bellows: what Swift cannot say. Everything else is Swift.
//
// Addresses cross this border as uintptr_t, so that the Swift side decides in one place (Ref) where an
// integer becomes memory. No function here holds policy; none calls malloc.
#ifndef BELLOWS_SHIMS_H
#define BELLOWS_SHIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Atomic words -------------------------------------------------------------------------------------
// On plain words by address: they serve descriptor fields and links inside free blocks alike, and the
// thread sanitizer understands them.

static inline uintptr_t bellows_load(uintptr_t word) {
  return __atomic_load_n((uintptr_t *)word, __ATOMIC_RELAXED);
}
static inline uintptr_t bellows_load_acquire(uintptr_t word) {
  return __atomic_load_n((uintptr_t *)word, __ATOMIC_ACQUIRE);
}
static inline void bellows_store(uintptr_t word, uintptr_t value) {
  __atomic_store_n((uintptr_t *)word, value, __ATOMIC_RELAXED);
}
static inline void bellows_store_release(uintptr_t word, uintptr_t value) {
  __atomic_store_n((uintptr_t *)word, value, __ATOMIC_RELEASE);
}
static inline uintptr_t bellows_exchange(uintptr_t word, uintptr_t value) {
  return __atomic_exchange_n((uintptr_t *)word, value, __ATOMIC_ACQ_REL);
}
static inline bool bellows_compare_exchange(uintptr_t word, uintptr_t expected, uintptr_t desired) {
  return __atomic_compare_exchange_n((uintptr_t *)word, &expected, desired, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}
static inline uintptr_t bellows_fetch_add(uintptr_t word, uintptr_t value) {
  return __atomic_fetch_add((uintptr_t *)word, value, __ATOMIC_RELAXED);
}
static inline uint64_t bellows_fetch_or(uintptr_t word, uint64_t bits) {
  return __atomic_fetch_or((uint64_t *)word, bits, __ATOMIC_RELAXED);
}
static inline uint64_t bellows_fetch_and(uintptr_t word, uint64_t bits) {
  return __atomic_fetch_and((uint64_t *)word, bits, __ATOMIC_RELAXED);
}
// Lock words (Lock.swift): `owner` is what bellows_self answers, perhaps with BELLOWS_LOCK_SLEEPERS.
static inline bool bellows_lock_try(uintptr_t word, uint32_t owner) {
  uint32_t expected = 0;
  return __atomic_compare_exchange_n((uint32_t *)word, &expected, owner, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED);
}
static inline uint32_t bellows_lock_open(uintptr_t word) {
  return __atomic_exchange_n((uint32_t *)word, 0, __ATOMIC_RELEASE);
}
static inline uint8_t bellows_load8(uintptr_t byte) {
  return __atomic_load_n((uint8_t *)byte, __ATOMIC_ACQUIRE);
}
static inline void bellows_store8(uintptr_t byte, uint8_t value) {
  __atomic_store_n((uint8_t *)byte, value, __ATOMIC_RELEASE);
}
static inline uint32_t bellows_load32(uintptr_t word) {
  return __atomic_load_n((uint32_t *)word, __ATOMIC_ACQUIRE);
}
static inline void bellows_store32(uintptr_t word, uint32_t value) {
  __atomic_store_n((uint32_t *)word, value, __ATOMIC_RELEASE);
}
static inline uint32_t bellows_exchange32(uintptr_t word, uint32_t value) {
  return __atomic_exchange_n((uint32_t *)word, value, __ATOMIC_ACQ_REL);
}
static inline bool bellows_compare_exchange32(uintptr_t word, uint32_t expected, uint32_t desired) {
  return __atomic_compare_exchange_n((uint32_t *)word, &expected, desired, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}
// `value`, in a way that the compiler cannot see through: what is computed from it on a cold path is not
// computed on the hot one before.
static inline uintptr_t bellows_opaque(uintptr_t value) {
  __asm__("" : "+r"(value));
  return value;
}
static inline void bellows_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
void bellows_futex_wait(uintptr_t word, uint32_t expected);
void bellows_futex_wake(uintptr_t word);
// Waits until the word changes or `milliseconds` have passed, whichever comes first.
void bellows_futex_wait_for(uintptr_t word, uint32_t expected, uint64_t milliseconds);

// Between processes, on a page that they share. UINT64_MAX milliseconds: without an end.
void bellows_futex_wait_shared(uintptr_t word, uint32_t expected, uint64_t milliseconds);
void bellows_futex_wake_shared(uintptr_t word);

// A count of changes, odd while one is under way, for readers that take no lock because they are another process.
// Whoever changes holds the lock.
static inline void bellows_change_begin(uintptr_t count) {
  __atomic_store_n((uint32_t *)count, *(uint32_t *)count + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void bellows_change_end(uintptr_t count) {
  __atomic_store_n((uint32_t *)count, *(uint32_t *)count + 1, __ATOMIC_RELEASE);
}

// ---- The system ---------------------------------------------------------------------------------------
// One entry for every memory system call, so that a test can stand in its place (Platform.swift). The calls are made
// inline (bellows_calls.h): an interposer does not see them. errno is left as it was.

enum {
  BELLOWS_RESERVE,     // (hint, length, exactly | charged * 2)   mmap PROT_NONE   -> address; charged: without NORESERVE
  BELLOWS_MAP,         // (hint, length, 0)         mmap read-write           -> address
  BELLOWS_COMMIT,      // (address, length)         mprotect read-write
  BELLOWS_PROTECT,     // (address, length)         mprotect none
  BELLOWS_READ_ONLY,   // (address, length)         mprotect read
  BELLOWS_DISCARD,     // (address, length)         madvise DONTNEED, DONTNEED_LOCKED where locked
  BELLOWS_RESET,       // (address, length)         mmap FIXED PROT_NONE over it
  BELLOWS_RELEASE,     // (address, length)         munmap
  BELLOWS_NO_HUGE,     // (address, length)         madvise NOHUGEPAGE
  BELLOWS_HUGE,        // (address, length)         madvise HUGEPAGE
  BELLOWS_MOVE_PAGES,  // (address, length, target) mremap DONTUNMAP: the pages go, the range stays
  BELLOWS_REMAP,       // (address, length, target, new length) mremap to a fixed place
  BELLOWS_RESIDENT,    // (address, length)         mincore                   -> resident pages
  BELLOWS_BIND,        // (address, length, policy, nodes) mbind; policy: MPOL_ mode and flags, MPOL_MF_ flags << 32;
                       //                           nodes: one bit a node, 0 to 63
  BELLOWS_PLACE,       // (count, addresses, nodes, results) move_pages of this process: arrays of 8, 4 and 4 bytes;
                       //                           nodes 0: only asks -> pages that did not move; results: node or -errno
  BELLOWS_POPULATE,    // (address, length)         madvise POPULATE_WRITE, else a write to each page
  BELLOWS_GUARD,       // (address, length)         madvise GUARD_INSTALL: the pages go, an access faults
  BELLOWS_UNGUARD,     // (address, length)         madvise GUARD_REMOVE
  BELLOWS_MAP_HUGE,    // (address, length)         mmap FIXED read-write of the kernel's reserved huge pages
  BELLOWS_MAP_FILE,    // (address, length, file, offset) mmap FIXED read-write, shared with the file
  BELLOWS_FILE_BYTES,  // (file)                    fstat                     -> the file's length
  BELLOWS_CURRENT_NODE,  // ()                      getcpu                    -> the node that the thread runs on; -ENODEV:
                       //                           its memory policy is another one than to take what is near
  BELLOWS_LOCAL_NODES,  // (mask)                   get_mempolicy: the nodes 0 to 63 that the thread may have memory of;
                       //                           none where its memory policy is another one, or a filter is in force
  BELLOWS_DISTANCES,   // (node, bytes, 64, anew)   the node's distances to nodes 0 to 63; 0: unknown. As they were when somebody last
                       //                           looked anew, or asked for that node first
  BELLOWS_ALLOWED_NODES,  // (mask)                 get_mempolicy: the nodes 0 to 63 that the thread may have memory of,
                       //                           whatever its own policy
  BELLOWS_NODE_ROOM,   // (node)                    free bytes of a node above what it keeps back
  BELLOWS_IS_LOCKED,   // (address, length)         whether any of it is mlock'd (msync INVALIDATE, which refuses that) -> 1 or 0
  BELLOWS_IS_WRITABLE, // (address, length)         whether a byte of each page can be written: the system writes some there; -EFAULT
  BELLOWS_CHARGES_OPEN,  // ()                      whether what is accessible counts against the system's commit limit, used
                       //                           or not (vm.overcommit_memory 2, as it was first found) -> 1 or 0
};
// The result of the call, or -errno.
intptr_t bellows_system(uintptr_t context, uint32_t call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);

uint64_t bellows_clock_milliseconds(void);  // CLOCK_MONOTONIC_COARSE
// The same since 1970.
uint64_t bellows_wall_milliseconds(void);
// A file in memory of `length` bytes, of huge pages where `huge`; or -errno (ENOMEM: none are reserved).
int bellows_memory_file(uintptr_t length, bool huge);
uintptr_t bellows_page_size(void);
uint32_t bellows_thread_id(void);

// ---- Memory and text ----------------------------------------------------------------------------------

void bellows_zero(uintptr_t target, uintptr_t length);
// Zeroes and answers `target`: a tail call, so that no return address lies in the caller.
static inline uintptr_t bellows_zeroed(uintptr_t target, uintptr_t length) {
  return (uintptr_t)__builtin_memset((void *)target, 0, length);
}
void bellows_copy(uintptr_t target, uintptr_t source, uintptr_t length);
void bellows_write(int descriptor, uintptr_t text, uintptr_t length);
_Noreturn void bellows_abort(void);

// Where eight words begin of which the first `count` are all ones and the others zero.
static inline uintptr_t bellows_mask_window(uintptr_t count) {
  static const uint64_t words[16] = {~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL};
  return (uintptr_t)(words + 8 - count);
}

// ---- The wiring of the process heap -------------------------------------------------------------------
// The only globals of Bellows. What changes is zero-filled, so that the first malloc, which comes from the dynamic
// loader before any constructor, needs no set-up to find out that there is none.

// The hot words, read by every free: the section table and its length. Length 0: not yet set up.
struct bellows_hot_words {
  uintptr_t table;
  uintptr_t limit;
};
extern struct bellows_hot_words bellows_hot_ __attribute__((visibility("hidden")));
static inline uintptr_t bellows_hot_table(void) { return bellows_hot_.table; }
static inline uintptr_t bellows_hot_limit(void) { return bellows_hot_.limit; }
static inline void bellows_hot_set(uintptr_t table, uintptr_t limit) {
  bellows_hot_.table = table;
  __atomic_store_n(&bellows_hot_.limit, limit, __ATOMIC_RELEASE);
}

// Request size in 16-byte steps -> size class. Read-only once the library is loaded.
enum { BELLOWS_CLASS_STEPS = 2049 };
extern uint8_t bellows_classes_[BELLOWS_CLASS_STEPS] __attribute__((visibility("hidden")));
static inline uintptr_t bellows_class(uintptr_t step) { return bellows_classes_[step]; }

// Storage for the process heap's arena, zone and heap, and the heap of a thread that has none: all its
// lists are empty, so malloc misses, and it owns nothing, so free sees a stranger.
enum { BELLOWS_STATE_BYTES = 12288, BELLOWS_EMPTY_HEAP_BYTES = 512 };
extern uint8_t bellows_process_state_[BELLOWS_STATE_BYTES] __attribute__((visibility("hidden"), aligned(64)));
static inline uintptr_t bellows_process_state(void) { return (uintptr_t)bellows_process_state_; }
extern const uint64_t bellows_empty_heap_[BELLOWS_EMPTY_HEAP_BYTES / 8] __attribute__((visibility("hidden")));
static inline uintptr_t bellows_empty_heap(void) { return (uintptr_t)bellows_empty_heap_; }

// Per thread, 32 bytes: the heap that the hit paths use (the empty one while it must miss), the heap that the thread
// owns, what lock words name it by, how often it has the C library's lock on its list of files for a fork, and the pageblock
// that it is returning, for which it holds no lock.
struct bellows_thread_words {
  uintptr_t hot;
  uintptr_t mine;
  uint32_t self;
  uint32_t file_lists;
  uintptr_t purging;
};
extern _Thread_local struct bellows_thread_words bellows_thread_
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
// Others change the hot word at any time, so it is read once, and who needs it twice keeps it. The second form is for one
// comparison, which the compiler then makes with the word itself; it might read it again if it were used twice.
static inline uintptr_t bellows_thread_hot(void) { return __atomic_load_n(&bellows_thread_.hot, __ATOMIC_RELAXED); }
static inline uintptr_t bellows_thread_hot_once(void) { return bellows_thread_.hot; }
static inline uintptr_t bellows_thread_mine(void) { return bellows_thread_.mine; }
static inline uintptr_t bellows_thread_words(void) { return (uintptr_t)&bellows_thread_; }
static inline uintptr_t bellows_stack_address(void) { return (uintptr_t)__builtin_frame_address(0); }
static inline void bellows_thread_set(uintptr_t hot, uintptr_t mine) {
  bellows_thread_.hot = hot;
  bellows_thread_.mine = mine;
}

// What lock words name the calling thread by: its number (below 2^22, as the kernel's are), and above that in how many forks it
// is, each in a signal handler that interrupted the one before.
#define BELLOWS_LOCK_THREAD 0x003fffffu
#define BELLOWS_LOCK_FORK 0x00400000u
#define BELLOWS_LOCK_SLEEPERS 0x80000000u
static inline void bellows_self_set(uint32_t self) { __atomic_store_n(&bellows_thread_.self, self, __ATOMIC_RELAXED); }
// A fork in a signal handler may change it at any time, so each look is one.
static inline uint32_t bellows_self(void) {
  if (__builtin_expect(__atomic_load_n(&bellows_thread_.self, __ATOMIC_RELAXED) == 0, 0))
    bellows_self_set(bellows_thread_id());
  return __atomic_load_n(&bellows_thread_.self, __ATOMIC_RELAXED);
}
static inline uintptr_t bellows_purging(void) { return __atomic_load_n(&bellows_thread_.purging, __ATOMIC_RELAXED); }
static inline void bellows_purging_set(uintptr_t pageblock) {
  __atomic_store_n(&bellows_thread_.purging, pageblock, __ATOMIC_RELAXED);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

// ---- Lock ranks, checked in debug builds ----------------------------------------------------------------

extern _Thread_local uint32_t bellows_ranks_held_ __attribute__((visibility("hidden")));
static inline uint32_t bellows_ranks_held(void) { return bellows_ranks_held_; }
static inline void bellows_ranks_set(uint32_t ranks) { bellows_ranks_held_ = ranks; }

#endif
