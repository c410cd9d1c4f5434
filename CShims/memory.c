// The memory system calls.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "bellows_calls.h"
#include "bellows_numa.h"
#include "bellows_shims.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };

static intptr_t map(uintptr_t address, size_t length, int access, int flags) {
  return bellows_call(SYS_mmap, address, length, access, flags, -1, 0);
}
static intptr_t advise(uintptr_t address, size_t length, int advice) {
  return bellows_call(SYS_madvise, address, length, advice);
}

static intptr_t reserve(uintptr_t hint, size_t length, bool exactly, bool charged) {
  int flags = (ANONYMOUS & ~(charged ? MAP_NORESERVE : 0)) | (exactly ? MAP_FIXED_NOREPLACE : 0);
  intptr_t got = map(hint, length, PROT_NONE, flags);
  if (exactly && got > 0 && got != (intptr_t)hint) {
    // A kernel before 4.17 takes MAP_FIXED_NOREPLACE for a mere hint.
    bellows_call(SYS_munmap, got, length);
    return -EEXIST;
  }
  return got;
}

static intptr_t discard(uintptr_t address, size_t length) {
  intptr_t result = advise(address, length, MADV_DONTNEED);
  if (result == -EINVAL && advise(address, length, MADV_DONTNEED_LOCKED) == 0) return 0;
  return result;
}

static intptr_t resident(uintptr_t address, size_t length) {
  unsigned char chunk[512];
  intptr_t pages = 0;
  for (size_t done = 0; done < length;) {
    size_t part = length - done < sizeof chunk * 4096 ? length - done : sizeof chunk * 4096;
    intptr_t result = bellows_call(SYS_mincore, address + done, part, chunk);
    if (result != 0) return result;
    for (size_t page = 0; page < part / 4096; page++) pages += chunk[page] & 1;
    done += part;
  }
  return pages;
}

// The kernel reads one bit less than it is told: 65 for the 64 of a word.
static intptr_t bind(uintptr_t address, size_t length, uintptr_t policy, uint64_t nodes) {
  unsigned mode = (unsigned)policy, flags = (unsigned)(policy >> 32);
  return bellows_call(SYS_mbind, address, length, mode, &nodes, 65ul, flags);
}

// Linux before 5.14 has no POPULATE_WRITE and says EINVAL. There a write to each page does the same, but where memory
// has run out it ends in a signal instead of an error.
static intptr_t populate(uintptr_t address, size_t length) {
  intptr_t result;
  do {
    result = advise(address, length, MADV_POPULATE_WRITE);
  } while (result == -EINTR);
  if (result != -EINVAL) return result;
  for (size_t page = 0; page < length; page += 4096) __atomic_fetch_or((char *)address + page, 0, __ATOMIC_RELAXED);
  return 0;
}

static intptr_t file_bytes(int file) {
#ifdef BELLOWS_CALLS_THROUGH_LIBC
  struct stat status;
  return fstat(file, &status) == 0 ? (intptr_t)status.st_size : -errno;
#else
  struct stat status;
  intptr_t result = bellows_call(SYS_fstat, file, &status);
  return result == 0 ? (intptr_t)status.st_size : result;
#endif
}

int bellows_memory_file(uintptr_t length, bool huge) {
  intptr_t file = bellows_call(SYS_memfd_create, "bellows device", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
  if (file < 0) return (int)file;
  intptr_t result = bellows_call(SYS_ftruncate, file, length);
  if (result != 0) bellows_close((int)file);
  return (int)(result != 0 ? result : file);
}

static intptr_t map_huge(uintptr_t address, size_t length) {
  return map(address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED);
}

static intptr_t map_file(uintptr_t address, size_t length, int file, off_t offset) {
  return bellows_call(SYS_mmap, address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, offset);
}

static intptr_t protect(uintptr_t address, size_t length, int access) {
  return bellows_call(SYS_mprotect, address, length, access);
}

static intptr_t move(uintptr_t address, size_t length, size_t new_length, int flags, uintptr_t target) {
  return bellows_call(SYS_mremap, address, length, new_length, MREMAP_MAYMOVE | MREMAP_FIXED | flags, target);
}

// Asked once: 1 or 0. Who cannot read it takes the worse for true.
// The kernel writes the signal mask, which tells in every version what nothing else does without a fault.
static intptr_t is_writable(uintptr_t address, size_t length) {
  for (size_t page = 0; page < length; page += 4096) {
    intptr_t result = bellows_call(SYS_rt_sigprocmask, SIG_BLOCK, NULL, address + page, 8);
    if (result != 0) return result;
  }
  return 0;
}

static intptr_t charges_open(void) {
  static int known;  // 0: not asked yet, 1: no, 2: yes
  if (__atomic_load_n(&known, __ATOMIC_RELAXED) == 0) {
    char mode = '2';
    int file = (int)bellows_open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC, 0);
    if (file >= 0) {
      if (bellows_read(file, &mode, 1) != 1) mode = '2';
      bellows_close(file);
    }
    __atomic_store_n(&known, mode == '2' ? 2 : 1, __ATOMIC_RELAXED);
  }
  return known - 1;
}

// A thread that allocates opens no file: the start and the helper have looked.
static intptr_t distances(unsigned node, uint8_t *to, size_t count, bool anew) {
  enum { NODES = 64 };
  static uint8_t rows[NODES][NODES];
  static uint64_t known;
  if (node >= NODES || count != NODES) return bellows_node_distances(node, to, count);
  uint64_t bit = (uint64_t)1 << node;
  if (!anew && (__atomic_load_n(&known, __ATOMIC_ACQUIRE) & bit) != 0) {
    memcpy(to, rows[node], NODES);
    return 0;
  }
  intptr_t result = bellows_node_distances(node, to, NODES);
  if (result == 0) {
    memcpy(rows[node], to, NODES);
    __atomic_fetch_or(&known, bit, __ATOMIC_RELEASE);
  }
  return result;
}

intptr_t bellows_system(uintptr_t context, uint32_t call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
  (void)context;
  switch (call) {
    case BELLOWS_RESERVE: return reserve(a, b, c & 1, c & 2);
    case BELLOWS_MAP: return map(a, b, PROT_READ | PROT_WRITE, ANONYMOUS);
    case BELLOWS_COMMIT: return protect(a, b, PROT_READ | PROT_WRITE);
    case BELLOWS_PROTECT: return protect(a, b, PROT_NONE);
    case BELLOWS_READ_ONLY: return protect(a, b, PROT_READ);
    case BELLOWS_DISCARD: return discard(a, b);
    case BELLOWS_RESET: return map(a, b, PROT_NONE, ANONYMOUS | MAP_FIXED);
    case BELLOWS_RELEASE: return bellows_call(SYS_munmap, a, b);
    case BELLOWS_NO_HUGE: return advise(a, b, MADV_NOHUGEPAGE);
    case BELLOWS_HUGE: return advise(a, b, MADV_HUGEPAGE);
    case BELLOWS_MOVE_PAGES: return move(a, b, b, MREMAP_DONTUNMAP, c);
    case BELLOWS_REMAP: return move(a, b, d, 0, c);
    case BELLOWS_RESIDENT: return resident(a, b);
    case BELLOWS_BIND: return bind(a, b, c, d);
    case BELLOWS_PLACE: return bellows_move_pages(0, a, (const uintptr_t *)b, (const int *)c, (int *)d);
    case BELLOWS_POPULATE: return populate(a, b);
    case BELLOWS_GUARD: return advise(a, b, MADV_GUARD_INSTALL);
    case BELLOWS_UNGUARD: return advise(a, b, MADV_GUARD_REMOVE);
    case BELLOWS_MAP_HUGE: return map_huge(a, b);
    case BELLOWS_MAP_FILE: return map_file(a, b, (int)c, (off_t)d);
    case BELLOWS_FILE_BYTES: return file_bytes((int)a);
    case BELLOWS_CURRENT_NODE: return bellows_local_node();
    case BELLOWS_LOCAL_NODES: return bellows_local_nodes((uint64_t *)a);
    case BELLOWS_DISTANCES: return distances((unsigned)a, (uint8_t *)b, c, d != 0);
    case BELLOWS_ALLOWED_NODES: return bellows_allowed_nodes((uint64_t *)a);
    case BELLOWS_NODE_ROOM: return bellows_node_room((unsigned)a);
    case BELLOWS_IS_LOCKED: return bellows_call(SYS_msync, a, b, MS_INVALIDATE) == -EBUSY;
    case BELLOWS_IS_WRITABLE: return is_writable(a, b);
    case BELLOWS_CHARGES_OPEN: return charges_open();
    default: return -ENOSYS;
  }
}

uintptr_t bellows_page_size(void) { return (uintptr_t)getauxval(AT_PAGESZ); }

// The C library knows its threads' numbers. It tells them as the clock of a thread's processor time, whose number the kernel
// makes of them (the number's complement above three bits): no system call, which a filter might forbid.
uint32_t bellows_thread_id(void) {
  clockid_t clock;
  return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? ~(uint32_t)(clock >> 3) & 0x1fffffff : 0;
}

void bellows_zero(uintptr_t target, uintptr_t length) { memset((void *)target, 0, length); }
void bellows_copy(uintptr_t target, uintptr_t source, uintptr_t length) {
  memcpy((void *)target, (const void *)source, length);
}

void bellows_write(int descriptor, uintptr_t text, uintptr_t length) {
  while (length > 0) {
    intptr_t written = bellows_call(SYS_write, descriptor, text, length);
    if (written == -EINTR) continue;
    if (written <= 0) break;
    text += (uintptr_t)written;
    length -= (uintptr_t)written;
  }
}

void bellows_abort(void) { abort(); }
