/* zone.h: the zones of an arena's nodes, which sections come online in. */
#ifndef BELLOWS_ZONE_H
#define BELLOWS_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The zones of a node. In the normal one anything may live; in the movable one only what can move, or what its owner gives
 * up when its section goes offline, so that it can go. */
enum {
  /* The zone of the memory blocks beside, where they are in one; else the normal one: what bellows_arena_online does. */
  BELLOWS_ZONE_CONTIGUOUS = 0,
  BELLOWS_ZONE_NORMAL = 1,
  BELLOWS_ZONE_MOVABLE = 2,
  /* Movable as long as movable memory is at most `percent` percent of the early memory, in the arena and on the node, else
   * normal. Early is what came by need or was added with BELLOWS_ADD_EARLY; within a dynamic group its own normal memory
   * counts for it, too. The parts of a static group and of a unit of a dynamic one come online alike. */
  BELLOWS_ZONE_AUTOMATIC = 3,
};
/* As bellows_arena_online, each memory block into a zone. `percent` is for BELLOWS_ZONE_AUTOMATIC: 301 is usual; 0: never
 * movable. EINVAL: no such zone. ENOMEM: also for the record of a zone, where it is the first. */
int bellows_arena_online_in(struct bellows_arena *arena, size_t first, size_t count, int zone, uint32_t percent);

#ifdef __cplusplus
}
#endif
#endif
