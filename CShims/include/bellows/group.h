/* group.h: memory groups: sections of an arena that belong together. */
#ifndef BELLOWS_GROUP_H
#define BELLOWS_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "offline_report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A static group is at most `bytes` bytes, as a module of memory; a dynamic one comes in units of `bytes`, a power of two.
 * *group is its number, from 1. EINVAL: not whole memory blocks. ENOMEM. */
enum { BELLOWS_GROUP_STATIC = 1, BELLOWS_GROUP_DYNAMIC = 2 };
int bellows_arena_add_group(struct bellows_arena *arena, int kind, size_t bytes, int node, uint32_t *group);
/* Ends it. EBUSY: it has sections. */
int bellows_arena_remove_group(struct bellows_arena *arena, uint32_t group);
/* Takes all sections of a group offline and removes them: all, or everything stays. As bellows_arena_offline. */
int bellows_arena_remove_sections(struct bellows_arena *arena, uint32_t group, unsigned milliseconds, const int *cancel,
                                  struct bellows_offline_report *report, size_t size);

#ifdef __cplusplus
}
#endif
#endif
