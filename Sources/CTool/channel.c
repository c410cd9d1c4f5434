// The page of a process in a place without /proc: its threads are found by number, and the descriptor is taken by pidfd_getfd,
// for which the kernel checks what it checks for a debugger.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bellows_tool.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

enum {
  OF_THREAD = O_EXCL,  // PIDFD_THREAD
  BYTES = 8192,        // BELLOWS_CONTROL_BYTES
  SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
  // The thread's own table has one descriptor, at a low number; without a table of its own it is at 900 or above.
  DESCRIPTORS = 1024,
  NUMBERS = 4194304,
};

static int fitting(int file, uintptr_t *page) {
  struct stat status;
  if ((fcntl(file, F_GET_SEALS) & SEALS) != SEALS || fstat(file, &status) != 0 || status.st_size != BYTES) return 0;
  void *here = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (here == MAP_FAILED) return 0;
  *page = (uintptr_t)here;
  return 1;
}

// A descriptor of thread `thread`, or an errno negated.
static int taken(int thread, uintptr_t *page) {
  int handle = (int)syscall(SYS_pidfd_open, thread, OF_THREAD);
  // Before Linux 6.9 only leaders of a process have one.
  if (handle < 0) return errno == EINVAL ? -ENOSYS : -errno;
  int result = -ENOENT;
  for (int number = 0; number < DESCRIPTORS; number++) {
    int file = (int)syscall(SYS_pidfd_getfd, handle, number, 0);
    if (file < 0 && errno == EBADF) continue;
    if (file < 0) {
      result = -errno;
      break;
    }
    if (fitting(file, page)) {
      result = file;
      break;
    }
    close(file);
  }
  close(handle);
  return result;
}

int bellows_channel_take(int process, uintptr_t *page) {
  if (kill(process, 0) != 0 && errno == ESRCH) return -ESRCH;
  int result = -ENOENT;
  // Numbers go up, and begin anew: the threads of control are not far behind their process. tgkill with no signal says
  // whether a number is one of its threads.
  for (int step = 1, number = process; step < NUMBERS; step++) {
    number = number + 1 < NUMBERS ? number + 1 : 2;
    if (syscall(SYS_tgkill, process, number, 0) != 0) {
      if (errno == EPERM) return -EPERM;
      continue;
    }
    result = taken(number, page);
    if (result >= 0 || (result != -ENOENT && result != -ESRCH)) break;
  }
  return result;
}
