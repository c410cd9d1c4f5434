// Looking into another process, and asking it; see bellows_peek.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bellows_peek.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bellows_control.h"

// A read that stops in between has met a page that is not mapped.
static int outcome(ssize_t got, size_t wanted) { return got < 0 ? errno : (size_t)got == wanted ? 0 : EFAULT; }

int bellows_peek(int process, uintptr_t remote, uintptr_t local, uintptr_t length) {
  struct iovec here = {(void *)local, length}, there = {(void *)remote, length};
  return outcome(process_vm_readv(process, &here, 1, &there, 1, 0), length);
}

int bellows_peek_between(int process, uintptr_t word, uint64_t *before, uint64_t *after, uintptr_t remote,
                         uintptr_t local, uintptr_t length) {
  // The kernel takes the pieces in the order given.
  struct iovec here[] = {{before, 8}, {(void *)local, length}, {after, 8}};
  struct iovec there[] = {{(void *)word, 8}, {(void *)remote, length}, {(void *)word, 8}};
  return outcome(process_vm_readv(process, here, 3, there, 3, 0), length + 16);
}

int bellows_peek_words(int process, const uint64_t *remote, uint64_t *local, uintptr_t count) {
  enum { AT_ONCE = 256 };
  struct iovec there[AT_ONCE];
  for (uintptr_t done = 0; done < count;) {
    uintptr_t part = count - done < AT_ONCE ? count - done : AT_ONCE;
    for (uintptr_t i = 0; i < part; i++) there[i] = (struct iovec){(void *)(uintptr_t)remote[done + i], 8};
    struct iovec here = {local + done, part * 8};
    int reason = outcome(process_vm_readv(process, &here, 1, there, part, 0), part * 8);
    if (reason != 0) return reason;
    done += part;
  }
  return 0;
}

int bellows_channel_open(const char *path, uintptr_t *page) {
  // Not to wait for a pipe, nor to get a terminal: the process may be anybody's and show anything under the name.
  int file = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return -errno;
  // A file that could shrink would end whoever has it mapped.
  int seals = fcntl(file, F_GET_SEALS);
  struct stat status;
  int reason = EINVAL;
  if (seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(file, &status) == 0 && status.st_size >= BELLOWS_CONTROL_BYTES) {
    void *here = mmap(NULL, BELLOWS_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (here != MAP_FAILED) {
      *page = (uintptr_t)here;
      return file;
    }
    reason = errno;
  }
  close(file);
  return -reason;
}

int bellows_channel_lock(int descriptor) {
  // The process' lock, not the open file's (F_OFD_SETLK): a descriptor that was taken from the other process has its file.
  struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(descriptor, F_SETLK, &all) == 0;
}

void bellows_channel_close(int descriptor, uintptr_t page) {
  munmap((void *)page, BELLOWS_CONTROL_BYTES);
  close(descriptor);
}
