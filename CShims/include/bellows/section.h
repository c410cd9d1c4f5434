/* section.h: the sections of an arena: they are added, come online, go offline and are removed. */
#ifndef BELLOWS_SECTION_H
#define BELLOWS_SECTION_H

#include <stddef.h>
#include <stdint.h>

#include "memmap.h"
#include "offline_report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a section is added. */
enum {
  BELLOWS_ADD_LAZY = 1, /* descriptors become resident when they are used, not at once */
  BELLOWS_ADD_HUGE = 2, /* descriptors are advised to be in huge pages where they fill one */
  /* Descriptors are all resident, and the section is kept offline: bringing it online needs no memory. */
  BELLOWS_ADD_SPARE = 4,
  BELLOWS_ADD_EARLY = 8, /* what the arena begins with: BELLOWS_ZONE_AUTOMATIC measures against it */
};

/* What a step of an addition sees. */
struct bellows_section_plan {
  struct bellows_arena *arena;
  void *start;
  size_t bytes;
  void *memmap; /* NULL in set_up */
  size_t memmap_bytes;
  struct bellows_altmap altmap; /* may be changed in set_up; all zero where the section does not host itself */
  intptr_t node;                /* -1: none in particular */
};
/* 0 or an errno, which ends the addition as if it had never been. With no lock held. */
typedef int bellows_section_step(void *context, struct bellows_section_plan *plan);
typedef void bellows_section_end(void *context, struct bellows_section_plan *plan);

/* Asked for an aligned run of fresh pages of a section that comes online, the largest that its address allows: 0 gives
 * them to the allocator; 1 keeps them until bellows_arena_supply, which may be called for them in the hook already. With no lock held. */
typedef int bellows_online_hook(void *context, struct bellows_arena *arena, void *start, size_t pages);

struct bellows_add_options {
  int node;        /* that the memory is bound to; -1: none in particular */
  int memmap_node; /* of descriptors outside; -1: that of the memory */
  uint32_t memmap; /* BELLOWS_MEMMAP_... */
  uint32_t flags;  /* BELLOWS_ADD_... */
  void *storage;   /* with BELLOWS_MEMMAP_STORAGE: at a page, 1/64 of the sections */
  size_t storage_bytes;
  bellows_online_hook *hook; /* NULL: pages are the allocator's */
  void *hook_context;
  bellows_section_step *set_up;    /* before the descriptors are placed; NULL: nothing */
  bellows_section_step *construct; /* when all descriptors are valid and nobody else sees them */
  bellows_section_end *tear_down;  /* when the section goes, or its addition fails behind set_up */
  void *step_context;
  uint32_t group; /* the memory group that they join, which says their node; 0: none */
  uint32_t reserved;
};
/* No node in particular, everything as by default: `struct bellows_add_options options = BELLOWS_ADD_OPTIONS;`. */
#define BELLOWS_ADD_OPTIONS {-1, -1, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0}

#define BELLOWS_ANYWHERE ((size_t)-1)

/* Adds `count` sections in a row at place *first, or at the first places that are free if that is BELLOWS_ANYWHERE:
 * *first says which. They are offline. `options` may be NULL; `size` is sizeof *options. E2BIG: outside of the arena, or more than it has places for.
 * EEXIST: a place is taken. ENOSPC: no place is free. ENOMEM; what a step answers. A few system calls a section,
 * and 0.6 ms for 2 MiB of descriptors. */
int bellows_arena_add(struct bellows_arena *arena, size_t count, size_t *first, const struct bellows_add_options *options,
                      size_t size);
/* EEXIST: a section is registered already. */
int bellows_arena_register(struct bellows_arena *arena, size_t first, size_t count);
/* EINVAL: a section is not registered. */
int bellows_arena_unregister(struct bellows_arena *arena, size_t first, size_t count);
/* All of them or none. EINVAL: one is online. ENOMEM; what an observer answers. */
int bellows_arena_online(struct bellows_arena *arena, size_t first, size_t count);
/* All of them or none, within so many milliseconds; where *cancel (it may be NULL) becomes non-zero it ends with EINTR.
 * Fills *report as bellows_offline does. EINVAL: one is offline. EBUSY: pages are in use. What an observer answers. */
int bellows_arena_offline(struct bellows_arena *arena, size_t first, size_t count, unsigned milliseconds,
                          const int *cancel, struct bellows_offline_report *report, size_t size);
/* EBUSY: one is not offline. EINVAL: more than a memory block, and a section hosts its own descriptors: such go by blocks. */
int bellows_arena_remove(struct bellows_arena *arena, size_t first, size_t count);
/* Replaces the hook of sections that are offline; NULL: pages are the allocator's. EBUSY: one is not offline. */
int bellows_arena_set_hook(struct bellows_arena *arena, size_t first, size_t count, bellows_online_hook *hook,
                           void *context);

/* Brings the lowest memory block that was added as a spare online; *first (unless NULL) says which. ENOSPC: there is none. */
int bellows_arena_online_spare(struct bellows_arena *arena, size_t *first);

/* Gives pages that an online hook kept to the allocator: in one section. EINVAL: one is not kept. */
int bellows_arena_supply(struct bellows_arena *arena, void *start, size_t pages);

enum {
  BELLOWS_SECTION_OFFLINE = 1,
  BELLOWS_SECTION_GOING_ONLINE = 2,
  BELLOWS_SECTION_ONLINE = 3,
  BELLOWS_SECTION_GOING_OFFLINE = 4,
};
enum {
  BELLOWS_SECTION_REGISTERED = 1,
  BELLOWS_SECTION_SELF_HOSTED = 2,
  BELLOWS_SECTION_POPULATED = 4, /* all descriptors are resident, and stay so */
  BELLOWS_SECTION_SPARE = 8,     /* offline, in reserve */
  BELLOWS_SECTION_EARLY = 16,    /* of what the arena began with */
  BELLOWS_SECTION_MOVABLE = 32,  /* online, or on its way, in a movable zone */
};

struct bellows_section {
  size_t index;  /* its place */
  size_t number; /* order of birth: stays, whatever is added or removed around it */
  void *start;
  size_t bytes;
  uint32_t state; /* BELLOWS_SECTION_OFFLINE ... */
  uint32_t flags; /* BELLOWS_SECTION_REGISTERED ... */
  int32_t node;   /* -1: none in particular */
  uint32_t group; /* 0: none */
  void *memmap;
  size_t memmap_bytes;
  struct bellows_altmap altmap; /* all zero where the descriptors lie outside */
  size_t present; /* bytes that came online; 0 while offline */
  size_t managed; /* of these, the allocator's: without descriptors and without what a hook keeps */
  size_t used;    /* of these, allocated */
  size_t block;   /* the number of its memory block */
};

/* What is known of the section at a place: fills *out, of which `size` bytes are known to the caller. ENXIO. */
int bellows_arena_section(struct bellows_arena *arena, size_t index, struct bellows_section *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
