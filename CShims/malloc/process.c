// Thread exit, fork and start-up hooks of the process heap; the environment; C++ failure.
#define _GNU_SOURCE
#include "bellows_process.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
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

void bellows_thread_watch(uintptr_t heap) {
  if (has_key) pthread_setspecific(key, (void *)heap);
}

uintptr_t bellows_environment(uintptr_t i) {
  static const char prefix[] = "BELLOWS_";
  if (environ == NULL || getauxval(AT_SECURE) != 0) return 0;
  for (char **entry = environ; *entry != NULL; entry++) {
    if (strncmp(*entry, prefix, sizeof prefix - 1) != 0) continue;
    if (i-- == 0) return (uintptr_t)*entry + sizeof prefix - 1;
  }
  return 0;
}

// ---- operator new: libstdc++'s and libc++'s functions, if the program has them ------------------------------

typedef void (*handler)(void);
extern handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

bool bellows_new_handler(void) {
  handler installed = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
  if (installed == NULL) return false;
  installed();
  return true;
}

void bellows_throw_bad_alloc(void) {
  if (_ZSt17__throw_bad_allocv) _ZSt17__throw_bad_allocv();
  static const char line[] = "bellows: operator new: out of memory, and no C++ run-time to throw with\n";
  bellows_write(2, (uintptr_t)line, sizeof line - 1);
  bellows_abort();
}

int bellows_file_descriptor(uintptr_t file) {
  fflush((FILE *)file);
  return fileno((FILE *)file);
}

void bellows_file_write(uintptr_t file, uintptr_t text, uintptr_t length) {
  fwrite((const void *)text, 1, length, (FILE *)file);
}
