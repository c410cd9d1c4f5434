// The system's side of control and limits: the shared page.
#define _GNU_SOURCE
#include "bellows_control.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include "bellows_calls.h"
#include "bellows_client.h"
#include "bellows_process.h"
#include "bellows_shims.h"

enum { NOEXEC_SEAL = 8 };  // MFD_NOEXEC_SEAL

static struct bellows_watch watch;
uintptr_t bellows_watch_address(void) { return (uintptr_t)&watch; }

uintptr_t bellows_control_open(void) {
  // Linux before 6.3 does not know the last flag, and a machine may refuse who does not say it (vm.memfd_noexec).
  int file =
      (int)bellows_call(SYS_memfd_create, BELLOWS_CONTROL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | NOEXEC_SEAL);
  if (file == -EINVAL)
    file = (int)bellows_call(SYS_memfd_create, BELLOWS_CONTROL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return 0;
  intptr_t page = -1;
  if (bellows_call(SYS_fchmod, file, 0600) == 0 && bellows_call(SYS_ftruncate, file, BELLOWS_CONTROL_BYTES) == 0 &&
      bellows_call(SYS_fcntl, file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    page = bellows_call(SYS_mmap, 0, BELLOWS_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (page < 0) {
    bellows_close(file);
    return 0;
  }
  // The child of a fork is a target of its own.
  bellows_call(SYS_madvise, page, BELLOWS_CONTROL_BYTES, MADV_DONTFORK);
  ((struct bellows_client *)bellows_client_address())->file = file;
  return (uintptr_t)page;
}

void bellows_control_leave(uintptr_t page) {
  bellows_call(SYS_mmap, page, BELLOWS_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
void bellows_control_close(uintptr_t page) { bellows_call(SYS_munmap, page, BELLOWS_CONTROL_BYTES); }

void bellows_limit_call(uintptr_t function, uintptr_t context, int which, uintptr_t held) {
  ((void (*)(void *, int, size_t))function)((void *)context, which, held);
}
