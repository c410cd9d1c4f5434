// The memory system calls, each through libc so that an interposer can see it.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bellows_shims.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
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

static intptr_t reserve(uintptr_t hint, size_t length, bool exactly) {
  int flags = ANONYMOUS | (exactly ? MAP_FIXED_NOREPLACE : 0);
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

static intptr_t perform(uint32_t call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
  void *address = (void *)a;
  switch (call) {
    case BELLOWS_RESERVE: return reserve(a, b, c != 0);
    case BELLOWS_MAP: return address_or_error(mmap(address, b, PROT_READ | PROT_WRITE, ANONYMOUS, -1, 0));
    case BELLOWS_COMMIT: return zero_or_error(mprotect(address, b, PROT_READ | PROT_WRITE));
    case BELLOWS_PROTECT: return zero_or_error(mprotect(address, b, PROT_NONE));
    case BELLOWS_READ_ONLY: return zero_or_error(mprotect(address, b, PROT_READ));
    case BELLOWS_DISCARD: return discard(address, b);
    case BELLOWS_RESET: return address_or_error(mmap(address, b, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0));
    case BELLOWS_RELEASE: return zero_or_error(munmap(address, b));
    case BELLOWS_NO_HUGE: return zero_or_error(madvise(address, b, MADV_NOHUGEPAGE));
    case BELLOWS_HUGE: return zero_or_error(madvise(address, b, MADV_HUGEPAGE));
    case BELLOWS_NO_DUMP: return zero_or_error(madvise(address, b, MADV_DONTDUMP));
    case BELLOWS_DUMP: return zero_or_error(madvise(address, b, MADV_DODUMP));
    case BELLOWS_MOVE_PAGES:
      return address_or_error(
          mremap(address, b, b, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (void *)c));
    case BELLOWS_REMAP: return address_or_error(mremap(address, b, d, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)c));
    case BELLOWS_RESIDENT: return resident(a, b);
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
