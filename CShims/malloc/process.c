// Thread exit, fork and start-up hooks of the process heap; the environment; C++ failure.
#define _GNU_SOURCE
#include "bellows_process.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include "bellows_shims.h"

void bellows_set_errno(int value) { errno = value; }
int bellows_errno(void) { return errno; }

static pthread_key_t key;
static bool has_key;

// A key's destructor runs after C++ thread_local destructors. Later frees of the thread find the empty heap
// and take the remote path; a later malloc gets a heap again and with it another round of destructors.
static void thread_ended(void *heap) { bellows_thread_ended((uintptr_t)heap); }

bool bellows_thread_watch_start(void) {
  has_key = pthread_key_create(&key, thread_ended) == 0;
  return has_key;
}

bool bellows_thread_watch(uintptr_t heap) {
  return has_key && pthread_setspecific(key, (void *)heap) == 0;
}

bool bellows_is_single_threaded(void) { return __libc_single_threaded; }

void bellows_at_exit(void) { atexit(bellows_ended); }
void bellows_log_at_exit(void) { atexit(bellows_log_ended); }

// Before libc's own constructor has run, the environment is where the kernel put it: behind the arguments, which begin with
// their number at the end of the stack.
extern void *__libc_stack_end __attribute__((weak));
static char **environment(void) {
  if (environ != NULL || &__libc_stack_end == NULL || __libc_stack_end == NULL) return environ;
  return (char **)__libc_stack_end + *(long *)__libc_stack_end + 2;
}

uintptr_t bellows_environment(uintptr_t i) {
  static const char prefix[] = "BELLOWS_";
  char **entries = environment();
  if (entries == NULL || getauxval(AT_SECURE) != 0) return 0;
  for (char **entry = entries; *entry != NULL; entry++) {
    if (strncmp(*entry, prefix, sizeof prefix - 1) != 0) continue;
    if (i-- == 0) return (uintptr_t)*entry + sizeof prefix - 1;
  }
  return 0;
}

// stdio's functions are cancellation points, and malloc_info is none.
void bellows_file_write(uintptr_t file, uintptr_t text, uintptr_t length) {
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  fwrite((const void *)text, 1, length, (FILE *)file);
  pthread_setcancelstate(before, NULL);
}

int bellows_drain_tell(uintptr_t function, uintptr_t context, uintptr_t done, uintptr_t total) {
  return ((bellows_drain_progress *)function)((void *)context, done, total);
}

// The linker's names for the ends of what is zero at start.
extern char __bss_start[] __attribute__((visibility("hidden"))), _end[] __attribute__((visibility("hidden")));
uintptr_t bellows_storage_start(void) { return (uintptr_t)__bss_start; }
uintptr_t bellows_storage_end(void) { return (uintptr_t)_end; }
