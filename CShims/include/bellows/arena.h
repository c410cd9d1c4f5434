/* arena.h: arenas of the caller's, and pages of them.
 *
 * An arena is the machine that memory is added to: addresses of its own, cut into sections. Memory comes and goes by
 * sections, and nobody but the caller decides when:
 *
 *              add                online                offline                 remove
 *   absent ----------> offline ----------> online ------------------> offline ----------> absent
 *
 * Add makes the addresses accessible and places their descriptors, 64 bytes a page (the memmap); online gives the pages
 * to the arena's allocator, or to a hook. Register and unregister make sections visible to listings, and can be left
 * out. The malloc of the process has nothing to do with these arenas.
 *
 * A memory block is what comes and goes together: one section, or as many as the arena's options say. Sections are named by
 * their place: 0 is at the start of the addresses.
 *
 * All functions of arenas, their sections, zones, groups and observers answer 0 or an errno, and then nothing has changed.
 * EINVAL: no such values, not whole memory blocks, or no arena. ENXIO: no section is there. EBUSY: it is in use, or another
 * thread is at it. EDEADLK: called by a hook, a step or an observer of a transition of the same thread. EAGAIN: 16 threads
 * have one. Any thread. In a child of fork, leave an arena alone that other threads used.
 */
#ifndef BELLOWS_ARENA_H
#define BELLOWS_ARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An arena. To balloons, sub-blocks and devices NULL means the arena of the process heap, that is of malloc. */
struct bellows_arena;

struct bellows_arena_options {
  size_t section_size;    /* in bytes, a power of two from 4 MiB to 1 GiB; 0: 128 MiB */
  uint32_t grows_by_need; /* 1: an allocation brings a spare or a new memory block online where there is no room */
  uint32_t block_sections; /* sections of a memory block, which come and go together; 0: 1; at most as many as there are, or EINVAL */
};

/* Reserves addresses for `capacity` bytes, at most 64 TiB, rounded up to sections; none of it is memory yet. `options`
 * may be NULL; `size` is sizeof *options. ENOMEM; ENOSYS: pages of this system are not 4 KiB. */
int bellows_arena_reserve(size_t capacity, const struct bellows_arena_options *options, size_t size,
                          struct bellows_arena **arena);
/* Gives everything back. Nobody may use the arena any more, its balloons are destroyed and its devices removed before.
 * EBUSY: a thread is at a transition. */
int bellows_arena_release(struct bellows_arena *arena);
/* The first address, and in *bytes (unless NULL) how many there are. */
void *bellows_arena_range(struct bellows_arena *arena, size_t *bytes);

/* Pages of sections that are online: at a multiple of `alignment`, a power of two; `bytes` is rounded up to pages. They
 * are zero. ENOMEM. */
int bellows_arena_allocate(struct bellows_arena *arena, size_t bytes, size_t alignment, void **start);
/* The same of pages that the owner gives up when their section goes offline (BELLOWS_EVENT_GOING_OFFLINE): from movable zones
 * first. Nothing else is allocated there. */
int bellows_arena_allocate_movable(struct bellows_arena *arena, size_t bytes, size_t alignment, void **start);
/* Frees them, all or in parts. EINVAL: not all of it is allocated. */
int bellows_arena_free(struct bellows_arena *arena, void *start, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
