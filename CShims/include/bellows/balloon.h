/* balloon.h: balloons: who gets the pages of a fresh section before malloc sees them, and how they become memory.
 *
 * All functions may be called from any thread. Those that answer int answer 0 or an errno, and have changed nothing where
 * that is not said otherwise. ENOSYS: the process has no Bellows heap; ENOMEM: the system, or the arena, has no memory.
 */
#ifndef BELLOWS_BALLOON_H
#define BELLOWS_BALLOON_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A balloon: pages that are there and that nobody can use, because no memory is behind them. Deflating binds memory to
 * pages and gives them to the allocator, so that the resident size grows by exactly that; inflating takes free pages
 * away and returns their memory. */
struct bellows_balloon;

struct bellows_balloon_options {
  size_t floor; /* what inflating leaves to the allocator */
  size_t kept;  /* what an allocation about to fail leaves in the balloon, unless the allocator has less than floor */
  uint32_t pageblocks;      /* 1: pages come and go in pageblocks of 2 MiB, as huge pages where the system has them */
  uint32_t ignore_shortage; /* 1: an allocation about to fail does not deflate it */
  uint32_t grow;            /* 1: bellows_balloon_advance adds sections where the balloon holds too little */
  uint32_t reserved;
};

struct bellows_balloon_figures {
  size_t held;     /* what the balloon holds */
  size_t managed;  /* what the allocator has, in use or free */
  size_t deflated; /* running sums: bound, bound for allocations about to fail, returned */
  size_t relieved;
  size_t inflated;
};

/* Makes a balloon that holds nothing: in *balloon. `options` may be NULL; `size` is sizeof *options. */
int bellows_balloon_create(struct bellows_arena *arena, const struct bellows_balloon_options *options, size_t size,
                           struct bellows_balloon **balloon);
/* Ends it: what it holds becomes ordinary free pages. */
void bellows_balloon_destroy(struct bellows_balloon *balloon);
/* Adds a section (of 128 MiB in the process heap), or a memory block where the arena has them of several sections, with all
 * of its pages in the balloon; of its memory the descriptors (1/64) are resident. */
int bellows_balloon_add_section(struct bellows_balloon *balloon);
/* Binds or returns up to `bytes` bytes, rounded up to pages or pageblocks; *done (unless NULL) says how much, also where
 * the answer is an errno. ENOSPC: it holds no more, or the floor is reached. EBUSY: no more is free. */
int bellows_balloon_deflate(struct bellows_balloon *balloon, size_t bytes, size_t *done);
int bellows_balloon_inflate(struct bellows_balloon *balloon, size_t bytes, size_t *done);
/* Sets how much the allocator shall have; bellows_balloon_advance goes there if a round is due. A round that fails is
 * followed by others after 1, 2 and 4 seconds, then after an hour: until then EAGAIN. A new target ends the waiting. */
void bellows_balloon_set_target(struct bellows_balloon *balloon, size_t bytes);
int bellows_balloon_advance(struct bellows_balloon *balloon, size_t *done);
/* Fills *figures, of which `size` bytes are known to the caller. */
void bellows_balloon_figures(struct bellows_balloon *balloon, struct bellows_balloon_figures *figures, size_t size);

/* A balloon of pageblocks as a pool of huge pages: takes 2 MiB out, resident and zero, as a transparent huge page where
 * the system can, or with `reserved` of the system's reserve (hugetlb). ENOSPC: none is left. EINVAL: not of pageblocks. */
int bellows_huge_page_take(struct bellows_balloon *balloon, int reserved, void **page);
/* Puts it back, with the same `reserved`. EINVAL: it was not taken. */
int bellows_huge_page_give(struct bellows_balloon *balloon, int reserved, void *page);

#ifdef __cplusplus
}
#endif
#endif
