// Tries what the kernel offers. Each function maps a few pages of its own, makes one call, checks what it did, unmaps
// the pages, and returns 0 where the call works, else the errno that the kernel gave (EIO: it returned success without
// doing its work). None keeps state; all may run in any thread.
#ifndef BELLOWS_PROBE_H
#define BELLOWS_PROBE_H

int bellows_probe_guard_install(void);
int bellows_probe_dontneed_locked(void);
int bellows_probe_populate_write(void);
int bellows_probe_process_dontneed(void);
int bellows_probe_membarrier(void);
int bellows_probe_mremap_dontunmap(void);
int bellows_probe_anonymous_name(void);

// For programs that are to run under the library: 1 where the file carries capabilities, else 0.
int bellows_probe_file_capabilities(const char *path);
// An empty file in memory that no child inherits, or the errno negated.
int bellows_probe_scratch_file(void);

#endif
