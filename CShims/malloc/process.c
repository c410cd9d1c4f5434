// Thread exit, fork and start-up hooks of the process heap; the environment; C++ failure.
#define _GNU_SOURCE
#include "bellows_process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <time.h>
#include <unistd.h>

#include "bellows_calls.h"
#include "bellows_control.h"
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

// By the thread itself: libc names another one through /proc, which is not always there, and opens a file for it.
static void take_name(const char *name) { bellows_call(SYS_prctl, PR_SET_NAME, name); }

static void *helper(void *unused) {
  (void)unused;
  take_name("bellows");
  bellows_helper_main();
  return NULL;
}

static void *holder(void *unused) {
  (void)unused;
  take_name(BELLOWS_CONTROL_NAME);
  bellows_holder_main();
  return NULL;
}

static void *worker(void *unused) {
  (void)unused;
  take_name("bellows-worker");
  bellows_worker_main();
  return NULL;
}

static bool start_thread(void *(*body)(void *)) {
  int saved = errno;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // 128 KiB: its deepest call chain takes about 12; thread-local storage of large programs comes out of it too, and
  // where that does not fit, 1 MiB does.
  pthread_attr_setstacksize(&attributes, 131072);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  bool made = pthread_create(&thread, &attributes, body, NULL) == 0 ||
              (pthread_attr_setstacksize(&attributes, 1 << 20), pthread_create(&thread, &attributes, body, NULL) == 0);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  errno = saved;
  return made;
}

bool bellows_helper_start(void) { return start_thread(helper); }
bool bellows_holder_start(void) { return start_thread(holder); }
bool bellows_worker_start(void) { return start_thread(worker); }

void bellows_sleep_milliseconds(uint64_t milliseconds) {
  struct timespec time = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
  nanosleep(&time, NULL);
}

void bellows_at_exit(void) { atexit(bellows_ended); }

uintptr_t bellows_environment(uintptr_t i) {
  static const char prefix[] = "BELLOWS_";
  if (environ == NULL || getauxval(AT_SECURE) != 0) return 0;
  for (char **entry = environ; *entry != NULL; entry++) {
    if (strncmp(*entry, prefix, sizeof prefix - 1) != 0) continue;
    if (i-- == 0) return (uintptr_t)*entry + sizeof prefix - 1;
  }
  return 0;
}

int bellows_file_descriptor(uintptr_t file) {
  fflush((FILE *)file);
  return fileno((FILE *)file);
}

void bellows_file_write(uintptr_t file, uintptr_t text, uintptr_t length) {
  fwrite((const void *)text, 1, length, (FILE *)file);
}

int bellows_drain_tell(uintptr_t function, uintptr_t context, uintptr_t done, uintptr_t total) {
  return ((bellows_drain_progress *)function)((void *)context, done, total);
}

// The linker's names for the ends of what is zero at start.
extern char __bss_start[] __attribute__((visibility("hidden"))), _end[] __attribute__((visibility("hidden")));
uintptr_t bellows_storage_start(void) { return (uintptr_t)__bss_start; }
uintptr_t bellows_storage_end(void) { return (uintptr_t)_end; }
