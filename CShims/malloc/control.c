// The system's side of control, limits and the log: the shared page, and files.
#define _GNU_SOURCE
#include "bellows_control.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bellows_client.h"
#include "bellows_process.h"
#include "bellows_shims.h"

static struct bellows_watch watch;
uintptr_t bellows_watch_address(void) { return (uintptr_t)&watch; }

// Closes descriptors from `first` to `last`; the call is as old as Linux 5.9, the loop serves the rest.
static void close_all(unsigned first, unsigned last) {
  if (first > last) return;
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, last, 0) == 0) return;
#endif
  struct rlimit limit = {1024, 1024};
  getrlimit(RLIMIT_NOFILE, &limit);
  unsigned end = limit.rlim_cur < 65536 ? (unsigned)limit.rlim_cur : 65536;
  for (unsigned file = first; file <= last && file < end; file++) close((int)file);
}

uintptr_t bellows_control_open(void) {
  // A table of its own: the program sees no descriptor that it did not open, can close all it knows, and none of its
  // own is held open here.
  bool own = unshare(CLONE_FILES) == 0;
  int file = memfd_create(BELLOWS_CONTROL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return 0;
  void *page = MAP_FAILED;
  if (fchmod(file, 0600) == 0 && ftruncate(file, BELLOWS_CONTROL_BYTES) == 0 &&
      fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    page = mmap(NULL, BELLOWS_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page == MAP_FAILED) {
    close(file);
    return 0;
  }
  // The child of a fork is a target of its own.
  madvise(page, BELLOWS_CONTROL_BYTES, MADV_DONTFORK);
  if (own) {
    if (file > 0) close_all(0, (unsigned)file - 1);
    close_all((unsigned)file + 1, ~0u);
  } else {
    // Where a filter forbids that: out of the way of programs that count on low numbers.
    int high = fcntl(file, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) {
      close(file);
      file = high;
    }
  }
  ((struct bellows_client *)bellows_client_address())->file = file;
  return (uintptr_t)page;
}

void bellows_limit_call(uintptr_t function, uintptr_t context, int which, uintptr_t held) {
  ((void (*)(void *, int, size_t))function)((void *)context, which, held);
}

void bellows_log_append(uintptr_t path, uintptr_t text, uintptr_t length) {
  int saved = errno;
  int file = open((const char *)path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
  if (file >= 0) {
    bellows_write(file, text, length);
    close(file);
  }
  errno = saved;
}

uint64_t bellows_wall_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool bellows_absolute_path(uintptr_t path, uintptr_t length, uintptr_t target) {
  enum { ROOM = 512 };
  char *text = (char *)target;
  size_t at = 0;
  if (length == 0) return false;
  if (*(const char *)path != '/') {
    // The system call, not libc's function, which may allocate.
    long got = syscall(SYS_getcwd, text, ROOM);
    if (got <= 0 || text[0] != '/') return false;
    at = (size_t)got - 1;
    if (at + 1 < ROOM) text[at++] = '/';
  }
  if (at + length >= ROOM) return false;
  memcpy(text + at, (const void *)path, length);
  text[at + length] = 0;
  return true;
}
