// What runs around fork.
#include <pthread.h>
#include <stddef.h>
#include <sys/single_threaded.h>

#include "bellows_process.h"
#include "bellows_shims.h"

// The C library's lock on its list of open files, which is recursive. fork takes it behind all handlers; but a thread that has it may
// wait for one whose file it wants to write, and that one for memory, so it comes before our locks. The
// child of a process with several threads finds it open.
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));

static void prepare(void) {
  if (!__libc_single_threaded && _IO_list_lock && _IO_list_unlock) {
    _IO_list_lock();
    bellows_thread_.file_lists++;
  }
  bellows_fork_prepare();
}

static void in_parent(void) {
  bellows_fork_parent();
  if (bellows_thread_.file_lists == 0) return;
  bellows_thread_.file_lists--;
  _IO_list_unlock();
}

static void in_child(void) {
  bellows_thread_.file_lists = 0;
  bellows_fork_child();
}

void bellows_fork_watch_start(void) {
  static int done;
  if (!done++) pthread_atfork(prepare, in_parent, in_child);
}
