// glibc's own malloc behind ours.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
static int lookup;     // 0 not begun, 1 under way, 2 done
static pid_t looking;  // the thread that looks

static bool found(void) {
  if (__atomic_load_n(&lookup, __ATOMIC_ACQUIRE) == 2) return true;
  int expected = 0;
  if (!__atomic_compare_exchange_n(&lookup, &expected, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
    if (__atomic_load_n(&looking, __ATOMIC_RELAXED) == gettid()) return false;
    while (__atomic_load_n(&lookup, __ATOMIC_ACQUIRE) != 2) sched_yield();
    return true;
  }
  __atomic_store_n(&looking, gettid(), __ATOMIC_RELAXED);
  *(void **)&glibc.release = dlsym(RTLD_NEXT, "free");
  *(void **)&glibc.usable = dlsym(RTLD_NEXT, "malloc_usable_size");
  *(void **)&glibc.allocate = dlsym(RTLD_NEXT, "memalign");
  *(void **)&glibc.reallocate = dlsym(RTLD_NEXT, "realloc");
  *(void **)&glibc.information = dlsym(RTLD_NEXT, "mallinfo2");
  __atomic_store_n(&lookup, 2, __ATOMIC_RELEASE);
  return true;
}

// What /proc/self/maps says of an address. Read with plain system calls into the stack: stdio would allocate.
enum place { NOWHERE, ANONYMOUS_MEMORY, BREAK_HEAP };

// The next line of the file at `descriptor`, without its line feed, cut to `room`. Reads by the byte through a
// small buffer.
struct lines {
  int descriptor;
  size_t at, end;
  char buffer[1024];
};

static bool next_line(struct lines *lines, char *line, size_t room) {
  for (size_t length = 0;;) {
    if (lines->at == lines->end) {
      ssize_t got = read(lines->descriptor, lines->buffer, sizeof lines->buffer);
      if (got <= 0) return false;
      lines->at = 0;
      lines->end = (size_t)got;
    }
    char byte = lines->buffer[lines->at++];
    if (byte == '\n') {
      line[length] = 0;
      return true;
    }
    if (length + 1 < room) line[length++] = byte;
  }
}

static enum place classify(const char *line) {
  const char *rest = strchr(line, ' ');
  if (rest == NULL || rest[1] != 'r' || rest[2] != 'w') return NOWHERE;
  if (strstr(rest, "[heap]")) return BREAK_HEAP;
  return strchr(rest, '/') || strchr(rest, '[') ? NOWHERE : ANONYMOUS_MEMORY;
}

static enum place locate(uintptr_t address, uintptr_t *start) {
  struct lines lines = {.descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  if (lines.descriptor < 0) return NOWHERE;
  char line[256];
  enum place found = NOWHERE;
  while (next_line(&lines, line, sizeof line)) {
    char *dash;
    uintptr_t low = strtoull(line, &dash, 16);
    uintptr_t high = *dash == '-' ? strtoull(dash + 1, NULL, 16) : 0;
    if (address < low || address >= high) continue;
    *start = low;
    found = classify(line);
    break;
  }
  close(lines.descriptor);
  return found;
}

// glibc's chunk header, the two words before a block: the size's low bits are PREV_INUSE, IS_MMAPPED and
// NON_MAIN_ARENA. Heaps of other arenas start at multiples of 64 MiB.
static bool looks_like_chunk(uintptr_t block, enum place place, uintptr_t start) {
  if (block - start < 16 || block % 16 != 0) return false;
  size_t size = ((size_t *)block)[-1];
  size_t bytes = size & ~(size_t)7;
  if (bytes < 32 || bytes % 16 != 0) return false;
  if (place == BREAK_HEAP) return (size & 6) == 0;
  if (size & 2) return ((block - 16 - ((size_t *)block)[-2]) & 4095) == 0;
  return (size & 4) != 0 && (start & ((64 << 20) - 1)) == 0;
}

bool bellows_glibc_owns(uintptr_t block) {
  if (!found() || glibc.information == NULL) return false;
  struct mallinfo2 now = glibc.information();
  if (now.arena == 0 && now.hblkhd == 0) return false;
  uintptr_t start = 0;
  enum place place = locate(block, &start);
  return place != NOWHERE && looks_like_chunk(block, place, start);
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
