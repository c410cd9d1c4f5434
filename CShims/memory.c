// The memory system calls, each through libc so that an interposer can see it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

static intptr_t address_or_error(void *result) { return result == MAP_FAILED ? -errno : (intptr_t)result; }
static intptr_t zero_or_error(int result) { return result == 0 ? 0 : -errno; }

static intptr_t reserve(uintptr_t hint, size_t length, bool exactly, bool charged) {
  int flags = (ANONYMOUS & ~(charged ? MAP_NORESERVE : 0)) | (exactly ? MAP_FIXED_NOREPLACE : 0);
  void *got = mmap((void *)hint, length, PROT_NONE, flags, -1, 0);
  if (exactly && got != MAP_FAILED && got != (void *)hint) {
    // A kernel before 4.17 takes MAP_FIXED_NOREPLACE for a mere hint.
    munmap(got, length);
    return -EEXIST;
  }
  return address_or_error(got);
}

static intptr_t discard(void *address, size_t length) {
  if (madvise(address, length, MADV_DONTNEED) == 0) return 0;
  if (errno == EINVAL && madvise(address, length, MADV_DONTNEED_LOCKED) == 0) return 0;
  return -errno;
}

static intptr_t resident(uintptr_t address, size_t length) {
  unsigned char chunk[512];
  intptr_t pages = 0;
  for (size_t done = 0; done < length;) {
    size_t part = length - done < sizeof chunk * 4096 ? length - done : sizeof chunk * 4096;
    if (mincore((void *)(address + done), part, chunk) != 0) return -errno;
    for (size_t page = 0; page < part / 4096; page++) pages += chunk[page] & 1;
    done += part;
  }
  return pages;
}

// The kernel reads one bit less than it is told: 65 for the 64 of a word.
static intptr_t bind(uintptr_t address, size_t length, uintptr_t policy, uint64_t nodes) {
  unsigned mode = (unsigned)policy, flags = (unsigned)(policy >> 32);
  return zero_or_error((int)syscall(SYS_mbind, address, length, mode, &nodes, 65ul, flags));
}

static intptr_t place(size_t count, uintptr_t addresses, uintptr_t nodes, uintptr_t results) {
  enum { MOVE_OWN_PAGES = 1 << 1 };
  long left = syscall(SYS_move_pages, 0, count, addresses, nodes, results, nodes ? MOVE_OWN_PAGES : 0);
  return left < 0 ? -errno : left;
}

// Linux before 5.14 has no POPULATE_WRITE and says EINVAL. There a write to each page does the same, but where memory
// has run out it ends in a signal instead of an error.
static intptr_t populate(char *address, size_t length) {
  int result;
  do {
    result = madvise(address, length, MADV_POPULATE_WRITE);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return 0;
  if (errno != EINVAL) return -errno;
  for (size_t page = 0; page < length; page += 4096) __atomic_fetch_or(address + page, 0, __ATOMIC_RELAXED);
  return 0;
}

static intptr_t file_bytes(int file) {
  struct stat status;
  return fstat(file, &status) == 0 ? (intptr_t)status.st_size : -errno;
}

int bellows_memory_file(uintptr_t length, bool huge) {
  int saved = errno;
  int file = memfd_create("bellows device", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
  if (file >= 0 && ftruncate(file, (off_t)length) != 0) {
    int reason = errno;
    close(file);
    errno = saved;
    return -reason;
  }
  int result = file >= 0 ? file : -errno;
  errno = saved;
  return result;
}

static intptr_t map_huge(void *address, size_t length) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED;
  return address_or_error(mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0));
}

static intptr_t map_file(void *address, size_t length, int file, off_t offset) {
  return address_or_error(mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, offset));
}

// Asked once: 1 or 0. Who cannot read it takes the worse for true.
static intptr_t charges_open(void) {
  static int known;  // 0: not asked yet, 1: no, 2: yes
  if (__atomic_load_n(&known, __ATOMIC_RELAXED) == 0) {
    char mode = '2';
    int file = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
      if (read(file, &mode, 1) != 1) mode = '2';
      close(file);
    }
    __atomic_store_n(&known, mode == '2' ? 2 : 1, __ATOMIC_RELAXED);
  }
  return known - 1;
}

static intptr_t perform(uint32_t call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
  void *address = (void *)a;
  switch (call) {
    case BELLOWS_RESERVE: return reserve(a, b, c & 1, c & 2);
    case BELLOWS_MAP: return address_or_error(mmap(address, b, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0));
    case BELLOWS_COMMIT: return zero_or_error(mprotect(address, b, PROT_READ | PROT_WRITE));
    case BELLOWS_PROTECT: return zero_or_error(mprotect(address, b, PROT_NONE));
    case BELLOWS_READ_ONLY: return zero_or_error(mprotect(address, b, PROT_READ));
    case BELLOWS_DISCARD: return discard(address, b);
    case BELLOWS_RESET: return address_or_error(mmap(address, b, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0));
    case BELLOWS_RELEASE: return zero_or_error(munmap(address, b));
    case BELLOWS_NO_HUGE: return zero_or_error(madvise(address, b, MADV_NOHUGEPAGE));
    case BELLOWS_HUGE: return zero_or_error(madvise(address, b, MADV_HUGEPAGE));
    case BELLOWS_MOVE_PAGES:
      return address_or_error(
          mremap(address, b, b, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (void *)c));
    case BELLOWS_REMAP: return address_or_error(mremap(address, b, d, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)c));
    case BELLOWS_RESIDENT: return resident(a, b);
    case BELLOWS_BIND: return bind(a, b, c, d);
    case BELLOWS_PLACE: return place(a, b, c, d);
    case BELLOWS_POPULATE: return populate(address, b);
    case BELLOWS_GUARD: return zero_or_error(madvise(address, b, MADV_GUARD_INSTALL));
    case BELLOWS_UNGUARD: return zero_or_error(madvise(address, b, MADV_GUARD_REMOVE));
    case BELLOWS_MAP_HUGE: return map_huge(address, b);
    case BELLOWS_MAP_FILE: return map_file(address, b, (int)c, (off_t)d);
    case BELLOWS_FILE_BYTES: return file_bytes((int)a);
    case BELLOWS_CURRENT_NODE: return bellows_local_node();
    case BELLOWS_LOCAL_NODES: return bellows_local_nodes((uint64_t *)a);
    case BELLOWS_DISTANCES: return bellows_node_distances((unsigned)a, (uint8_t *)b, c);
    case BELLOWS_ALLOWED_NODES: return bellows_allowed_nodes((uint64_t *)a);
    case BELLOWS_NODE_ROOM: return bellows_node_room((unsigned)a);
    case BELLOWS_IS_LOCKED: return msync(address, b, MS_INVALIDATE) != 0 && errno == EBUSY;
    case BELLOWS_CHARGES_OPEN: return charges_open();
    default: return -ENOSYS;
  }
}

intptr_t bellows_system(uintptr_t context, uint32_t call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
  (void)context;
  int saved = errno;
  intptr_t result = perform(call, a, b, c, d);
  errno = saved;
  return result;
}

uint64_t bellows_clock_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uintptr_t bellows_page_size(void) { return (uintptr_t)getpagesize(); }
uint32_t bellows_thread_id(void) { return (uint32_t)gettid(); }

void bellows_zero(uintptr_t target, uintptr_t length) { memset((void *)target, 0, length); }
void bellows_copy(uintptr_t target, uintptr_t source, uintptr_t length) {
  memcpy((void *)target, (const void *)source, length);
}

void bellows_write(int descriptor, uintptr_t text, uintptr_t length) {
  int saved = errno;
  while (length > 0) {
    ssize_t written = write(descriptor, (const void *)text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    text += (uintptr_t)written;
    length -= (uintptr_t)written;
  }
  errno = saved;
}

void bellows_abort(void) { abort(); }
