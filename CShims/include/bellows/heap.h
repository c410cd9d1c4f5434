/* heap.h: the process heap, which is that of malloc: its version, its figures, trim and limits. */
#ifndef BELLOWS_HEAP_H
#define BELLOWS_HEAP_H

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
  size_t held;       /* what the limits are compared with: see bellows_limit */
  size_t soft_limit; /* 0: none */
  size_t hard_limit; /* 0: none */
  size_t caged;      /* free and out of circulation, in sections that are on their way offline */
  size_t offline;    /* number of sections that are offline, in sections */
  size_t seizures;   /* times that something was taken from the heap of a sleeping thread, a running sum */
};

/* Fills *out, of which `size` bytes are known to the caller (pass sizeof *out). Exact in pages. Any thread. */
void bellows_statistics(struct bellows_statistics *out, size_t size);

/* What was crossed: bits of `which` below. */
enum { BELLOWS_SOFT_LIMIT = 1, BELLOWS_HARD_LIMIT = 2 };
typedef void bellows_limit_crossed(void *context, int which, size_t held);

/* Limits what the process heap holds: pages that blocks lie in, free ones that were not yet returned, and huge blocks.
 * In bytes, rounded up to pages; 0: no limit. Above `soft`, free memory goes back at once instead of after the purge
 * delay, and address space is added only when that brought no room; no request fails. A request that would go above
 * `hard` fails with ENOMEM after all that is free has gone back.
 *
 * `crossed`, unless NULL, is called when the soft limit is crossed upwards and when the hard limit refuses, once until
 * the heap was well below (by 1/16). It runs in the thread whose request it was, or in one that came soon after, with
 * no lock held: it may allocate and free; it is not called again while it runs.
 *
 * Answers 0; EINVAL where `soft` is above `hard`; ENOMEM where there is no heap. Any thread. While there is no limit it
 * costs nothing; while there is one, 20 ns for each request that reaches the page allocator. */
int bellows_limit(size_t soft, size_t hard, bellows_limit_crossed *crossed, void *context);

#ifdef __cplusplus
}
#endif
#endif
