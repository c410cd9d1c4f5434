/* sub_block.h: the pageblocks of an online section, which leave and come back one by one.
 *
 * All functions may be called from any thread. Those that answer int answer 0 or an errno, and have changed nothing where
 * that is not said otherwise. ENOSYS: the process has no Bellows heap; ENOMEM: the system, or the arena, has no memory.
 */
#ifndef BELLOWS_SUB_BLOCK_H
#define BELLOWS_SUB_BLOCK_H

#include <stddef.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Unplugging takes exactly these pages from the allocator, returns
 * their memory, and makes an access end in SIGSEGV; plugging gives them back. EBUSY: a page is in use. EEXIST: it is that
 * way already. EINVAL: no sub-block starts there, or it holds descriptors. ENXIO: no online section is there. */
size_t bellows_sub_block_size(struct bellows_arena *arena);
int bellows_sub_block_unplug(struct bellows_arena *arena, void *start);
int bellows_sub_block_plug(struct bellows_arena *arena, void *start);
/* Adds a section with all of its sub-blocks unplugged: *count of them from *first on. Where the arena has memory blocks of
 * several sections it adds a block of them: *count of all, and each further section begins with its descriptors. */
int bellows_sub_block_add_section(struct bellows_arena *arena, void **first, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
