// Probes of kernel features for the tool and the hosted library; see bellows_probe.h. The numbers stand here because
// the headers of older distributions lack them; they are the same on all architectures that Bellows runs on.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bellows_probe.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
  POPULATE_WRITE = 23,
  DONTNEED_LOCKED = 24,
  GUARD_INSTALL = 102,
  DONTUNMAP = 4,
  SET_VMA = 0x53564d41,
  SET_VMA_ANON_NAME = 0,
  BARRIER_PRIVATE = 1 << 3,
  BARRIER_REGISTER_PRIVATE = 1 << 4,
  CALL_PIDFD_OPEN = 434,
  CALL_PROCESS_MADVISE = 440,
};

// Two pages are mapped; calls that could harm work on the first, so that the second shows an overrun by faulting.
static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static char *map_pages(void) {
  void *pages = mmap(NULL, 2 * page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

static int unmap_pages(char *pages, int result) {
  munmap(pages, 2 * page_size());
  return result;
}

int bellows_probe_guard_install(void) {
  char *pages = map_pages();
  if (!pages) return errno;
  return unmap_pages(pages, madvise(pages, page_size(), GUARD_INSTALL) ? errno : 0);
}

int bellows_probe_dontneed_locked(void) {
  char *pages = map_pages();
  if (!pages) return errno;
  *(volatile char *)pages = 1;
  // Locking may be beyond the limit; the call is the same for a page that is not locked.
  (void)mlock(pages, page_size());
  if (madvise(pages, page_size(), DONTNEED_LOCKED)) return unmap_pages(pages, errno);
  return unmap_pages(pages, *(volatile char *)pages ? EIO : 0);
}

int bellows_probe_populate_write(void) {
  char *pages = map_pages();
  if (!pages) return errno;
  unsigned char present = 0;
  if (madvise(pages, page_size(), POPULATE_WRITE)) return unmap_pages(pages, errno);
  if (mincore(pages, page_size(), &present)) return unmap_pages(pages, errno);
  return unmap_pages(pages, present & 1 ? 0 : EIO);
}

int bellows_probe_process_dontneed(void) {
  int process = (int)syscall(CALL_PIDFD_OPEN, getpid(), 0);
  if (process < 0) return errno;
  char *pages = map_pages();
  if (!pages) {
    int reason = errno;
    close(process);
    return reason;
  }
  *(volatile char *)pages = 1;
  struct iovec range = {pages, page_size()};
  long done = syscall(CALL_PROCESS_MADVISE, process, &range, 1L, MADV_DONTNEED, 0);
  int reason = done < 0 ? errno : done == (long)page_size() && !*(volatile char *)pages ? 0 : EIO;
  close(process);
  return unmap_pages(pages, reason);
}

int bellows_probe_membarrier(void) {
  if (syscall(SYS_membarrier, BARRIER_REGISTER_PRIVATE, 0)) return errno;
  return syscall(SYS_membarrier, BARRIER_PRIVATE, 0) ? errno : 0;
}

int bellows_probe_mremap_dontunmap(void) {
  char *pages = map_pages();
  if (!pages) return errno;
  *(volatile char *)pages = 1;
  char *moved = mremap(pages, page_size(), page_size(), MREMAP_MAYMOVE | DONTUNMAP, NULL);
  if (moved == MAP_FAILED) return unmap_pages(pages, errno);
  // The contents are at the new place, and the old one is still mapped and empty.
  int reason = *(volatile char *)moved == 1 && *(volatile char *)pages == 0 ? 0 : EIO;
  munmap(moved, page_size());
  return unmap_pages(pages, reason);
}

int bellows_probe_anonymous_name(void) {
  char *pages = map_pages();
  if (!pages) return errno;
  return unmap_pages(pages, prctl(SET_VMA, SET_VMA_ANON_NAME, pages, page_size(), "bellows probe") ? errno : 0);
}

int bellows_probe_file_capabilities(const char *path) {
  return getxattr(path, "security.capability", NULL, 0) > 0;
}

int bellows_probe_scratch_file(void) {
  int file = memfd_create("bellows", MFD_CLOEXEC);
  return file < 0 ? -errno : file;
}
