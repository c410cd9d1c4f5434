// Threads of ours: how they start, sleep, and what the process is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "bellows_calls.h"
#include "bellows_process.h"
#include "bellows_shims.h"

// 128 KiB: its deepest call chain takes about 12; thread-local storage of large programs comes out of it too, and
// where that does not fit, 1 MiB does.
enum { STACK = 128 << 10, LARGE_STACK = 1 << 20, GUARD = 4096 };

// Their stacks are memory of ours. The C library has its record of a thread in the last page of its stack.
static struct bellows_stack stacks[BELLOWS_OWN_THREADS];
static void note_stack(struct bellows_stack *stack, uintptr_t bytes) {
  uintptr_t end = ((uintptr_t)pthread_self() | (GUARD - 1)) + 1;
  stack->start = end - bytes + GUARD;
  __atomic_store_n(&stack->bytes, bytes - GUARD, __ATOMIC_RELEASE);
}
struct bellows_stack bellows_own_stack(int thread) {
  uintptr_t bytes = __atomic_load_n(&stacks[thread].bytes, __ATOMIC_ACQUIRE);
  return (struct bellows_stack){stacks[thread].start, bytes};
}

// Who waits for it knows by its state that it has begun.
static pthread_t the_helper;
static void *helper(void *bytes) {
  __atomic_store_n(&the_helper, pthread_self(), __ATOMIC_RELEASE);
  note_stack(&stacks[0], (uintptr_t)bytes);
  uintptr_t start = stacks[0].start;
  bellows_helper_main();
  // The next one may have begun.
  if (stacks[0].start == start) __atomic_store_n(&stacks[0].bytes, 0, __ATOMIC_RELEASE);
  return NULL;
}

static void *worker(void *bytes) {
  note_stack(&stacks[1], (uintptr_t)bytes);
  bellows_worker_main();
  __atomic_store_n(&stacks[1].bytes, 0, __ATOMIC_RELEASE);
  return NULL;
}

// The C library's own: a program may have one that waits for what the new thread, which is ours, never does.
static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = pthread_create;
void bellows_threads_start(void) {
  void *found = dlsym(RTLD_NEXT, "pthread_create");
  if (found != NULL) *(void **)&create = found;
}

// Names come from the threads themselves: the C library opens a file to name another one.
static bool start_thread(void *(*body)(void *), pthread_t *thread, int state) {
  int saved = errno;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, state);
  pthread_attr_setstacksize(&attributes, STACK);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool made = create(thread, &attributes, body, (void *)STACK) == 0 ||
              (pthread_attr_setstacksize(&attributes, LARGE_STACK),
               create(thread, &attributes, body, (void *)LARGE_STACK) == 0);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  errno = saved;
  return made;
}

// In a child of vfork, which runs on its parent's memory, a thread would be of the child: so the process is asked for,
// where it is not known from elsewhere that the caller is none.
bool bellows_helper_start(uint32_t process) {
  pthread_t thread;
  return (process == 0 || (uint32_t)bellows_call(SYS_getpid) == process) &&
         start_thread(helper, &thread, PTHREAD_CREATE_JOINABLE);
}
bool bellows_worker_start(void) {
  pthread_t thread;
  return start_thread(worker, &thread, PTHREAD_CREATE_DETACHED);
}
void bellows_helper_join(void) {
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  pthread_join(__atomic_load_n(&the_helper, __ATOMIC_ACQUIRE), NULL);
  pthread_setcancelstate(before, NULL);
}

uint32_t bellows_process_id(void) { return (uint32_t)bellows_call(SYS_getpid); }

// Nobody wakes it. nanosleep is not among the calls that malloc needs.
void bellows_sleep_milliseconds(uint64_t milliseconds) {
  static uint32_t quiet;
  bellows_futex_wait_for((uintptr_t)&quiet, 0, milliseconds);
}
