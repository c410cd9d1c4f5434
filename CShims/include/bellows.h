/* bellows.h: what libbellows-malloc.so offers beside the malloc ABI.
 *
 * Link with -lbellows-malloc. To use these where the library may or may not be preloaded, declare them weak
 * or look them up with dlsym.
 */
#ifndef BELLOWS_H
#define BELLOWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library in use: major * 10000 + minor * 100 + patch. Any thread, no lock. */
uint32_t bellows_version(void);

/* Returns free memory of the process heap to the system until `keep` bytes of it are left resident; answers
 * the number of bytes returned. Reaches free pages and cached runs of all threads, and the calling thread's
 * own empty shards. Any thread; takes as long as the system calls do (about 75 us per MiB). */
size_t bellows_trim(size_t keep);

/* The figures of the process heap, in bytes unless stated otherwise. */
struct bellows_statistics {
  size_t reserved;   /* address space of sections, inaccessible parts included */
  size_t committed;  /* of these, accessible */
  size_t memmap;     /* page descriptors, in committed */
  size_t allocated;  /* pages that blocks lie in, huge blocks included */
  size_t free_resident; /* free pages that were used and not yet returned */
  size_t huge;       /* blocks that are mappings of their own, in allocated */
  size_t returned;   /* returned to the system since the start, a running sum */
  size_t sections;   /* number of sections */
  size_t heaps;      /* number of thread heaps, idle ones included */
};

/* Fills *out, of which `size` bytes are known to the caller (pass sizeof *out). Exact in pages. Any thread. */
void bellows_statistics(struct bellows_statistics *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
