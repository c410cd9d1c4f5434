// Waiting for a lock word to change.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bellows_shims.h"

void bellows_futex_wait(uintptr_t word, uint32_t expected) {
  int saved = errno;
  // EAGAIN (the word has changed) and EINTR both mean: look again. The caller loops.
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
  errno = saved;
}

void bellows_futex_wake(uintptr_t word) {
  int saved = errno;
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  errno = saved;
}

void bellows_futex_wait_for(uintptr_t word, uint32_t expected, uint64_t milliseconds) {
  int saved = errno;
  struct timespec span = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expected, &span, NULL, 0);
  errno = saved;
}

// Between processes: on a page that they share.

void bellows_futex_wait_shared(uintptr_t word, uint32_t expected, uint64_t milliseconds) {
  int saved = errno;
  struct timespec span = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT, expected, milliseconds == UINT64_MAX ? NULL : &span, NULL, 0);
  errno = saved;
}

void bellows_futex_wake_shared(uintptr_t word) {
  int saved = errno;
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
  errno = saved;
}
