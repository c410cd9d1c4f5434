// Whether whoever asked the process for something is still there (Control+Client.swift).
#define _GNU_SOURCE
#include "bellows_client.h"

#include <fcntl.h>
#include <unistd.h>

#include "bellows_calls.h"

static struct bellows_client client = {.file = -1};
uintptr_t bellows_client_address(void) { return (uintptr_t)&client; }

bool bellows_client_is_locked(int file) {
  struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  // Where the kernel does not say, it is.
  return bellows_call(SYS_fcntl, file, F_OFD_GETLK, &all) != 0 || all.l_type != F_UNLCK;
}
