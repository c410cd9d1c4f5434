// Waiting for a lock word to change.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
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
