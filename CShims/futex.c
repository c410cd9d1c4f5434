// Waiting for a lock word to change.
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "bellows_calls.h"
#include "bellows_shims.h"

static struct timespec span(uint64_t milliseconds) {
  return (struct timespec){(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
}

// EAGAIN (the word has changed), EINTR and ETIMEDOUT all mean: look again. Callers loop.

void bellows_futex_wait(uintptr_t word, uint32_t expected) {
  bellows_call(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL);
}

void bellows_futex_wake(uintptr_t word) { bellows_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1); }

void bellows_futex_wait_for(uintptr_t word, uint32_t expected, uint64_t milliseconds) {
  struct timespec time = span(milliseconds);
  bellows_call(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &time);
}

// Between processes: on a page that they share.

void bellows_futex_wait_shared(uintptr_t word, uint32_t expected, uint64_t milliseconds) {
  struct timespec time = span(milliseconds);
  bellows_call(SYS_futex, word, FUTEX_WAIT, expected, milliseconds == UINT64_MAX ? NULL : &time);
}

void bellows_futex_wake_shared(uintptr_t word) { bellows_call(SYS_futex, word, FUTEX_WAKE, INT_MAX); }
