/* bellows.h: what libbellows-malloc.so offers beside the malloc ABI.
 *
 * Link with -lbellows-malloc. To use these where the library may or may not be preloaded, declare them weak
 * or look them up with dlsym.
 *
 * It is in parts, each of which can be included alone and includes what it needs:
 *
 *   heap            the process heap, which is that of malloc: version, figures, trim, limits
 *   offline_report  what became of memory that was to go offline, and what holds the rest
 *   offline         sections of the process heap go offline and come back
 *   node            a NUMA node is emptied of the process heap
 *   arena           arenas of the caller's, and their pages
 *   memmap          where the descriptors of sections lie
 *   section         sections of an arena are added, come online, go offline and are removed
 *   zone            which zone of a node they come online in
 *   group           sections that belong together
 *   observer        who is told of what happens to sections, and may object
 *   balloon         who gets the pages of a fresh section before malloc, and how they become memory
 *   sub_block       parts of an online section that leave and come back
 *   device          device memory
 *
 * No part includes one below it.
 */
#ifndef BELLOWS_H
#define BELLOWS_H

#include "bellows/heap.h"
#include "bellows/offline_report.h"
#include "bellows/offline.h"
#include "bellows/node.h"
#include "bellows/arena.h"
#include "bellows/memmap.h"
#include "bellows/section.h"
#include "bellows/zone.h"
#include "bellows/group.h"
#include "bellows/observer.h"
#include "bellows/balloon.h"
#include "bellows/sub_block.h"
#include "bellows/device.h"

#endif
