/* memmap.h: where the descriptors of sections lie, 64 bytes a page. */
#ifndef BELLOWS_MEMMAP_H
#define BELLOWS_MEMMAP_H

#include <stddef.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the descriptors of a section lie. */
enum {
  BELLOWS_MEMMAP_PREFER = 0,  /* at its own start where the sizes allow it, else outside */
  BELLOWS_MEMMAP_REQUIRE = 1, /* at its own start, or EINVAL */
  BELLOWS_MEMMAP_OUTSIDE = 2, /* in a mapping of its own */
  BELLOWS_MEMMAP_STORAGE = 3, /* in memory of the caller's: neither in the section itself nor with other descriptors in it, or EINVAL;
                                 writable, or EFAULT */
  BELLOWS_MEMMAP_RESERVE = 4, /* in one that bellows_arena_reserve_memmaps keeps; ENOMEM: there is none */
};

/* How descriptors are carved out of the section that they describe, in pages of the arena. */
struct bellows_altmap {
  size_t base;    /* the first page of what is described */
  size_t reserve; /* pages at the front that are the owner's */
  size_t free;    /* pages that are set aside for descriptors */
  size_t align;   /* pages that were skipped for alignment */
  size_t alloc;   /* pages that are handed out: 0 when the section has gone */
};

/* Keeps descriptors for `count` more sections, resident, on `node` (-1: any). ENOMEM. E2BIG: more than the arena has
 * places. */
int bellows_arena_reserve_memmaps(struct bellows_arena *arena, size_t count, int node);

#ifdef __cplusplus
}
#endif
#endif
