/* node.h: a NUMA node is emptied of the process heap, and filled again.
 *
 * All memory of the process heap leaves a node while threads run: blocks keep their addresses, the pages under them move.
 * First the placement leaves the node out, so that nothing new comes there; sections of it in which nothing is allocated
 * go offline; then what lives there moves to the nearest other nodes, 512 pages at a time: blocks, page descriptors,
 * records. Free memory goes back to the system instead. What threads have on their stacks, and memory that malloc did not
 * hand out, is not the heap's.
 */
#ifndef BELLOWS_NODE_H
#define BELLOWS_NODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bellows_drain_report {
  size_t found;    /* bytes that were to move when it began */
  size_t room;     /* bytes that the other nodes could take then; on the way home: that the node could */
  size_t moved;    /* bytes that moved */
  size_t returned; /* free bytes that went back to the system instead */
  size_t left;     /* bytes that are still to move, counted by the kernel at the end; of these, why: */
  size_t busy;        /* the kernel uses them, or they are pinned for a device: another try may help */
  size_t locked;      /* the same, in memory that is mlock'd */
  size_t shared;      /* other processes have them mapped too: children of a fork */
  size_t no_room;     /* there was no memory left for them */
  size_t not_reached; /* the time was up first, or threads touched them meanwhile */
  size_t other;
  uintptr_t first_left; /* the first address of these; 0: none */
  uint32_t sections; /* sections that went offline, or came back */
  uint32_t passes;   /* over all memory */
};

/* How far it is, in bytes, after each 512 pages: in the calling thread, with no lock held. Not 0 ends it. */
typedef int bellows_drain_progress(void *context, size_t done, size_t total);

/* Empties a node of the process heap. It begins nothing more after so many milliseconds, and ends where *cancel (it may be
 * NULL) becomes non-zero. `progress` may be NULL. Fills *report, of which `size` bytes are known to the caller, unless it
 * is NULL. The node is left out until bellows_bring_home, also where something stayed; another call goes on with it.
 *
 * 0: nothing is left there. EBUSY: something is, or another thread takes sections offline. ENOMEM: the other nodes have no
 * room for all of it; nothing has changed. EINTR: cancelled. EINVAL: no such node, or no other one. EPERM: the kernel does
 * not let pages move, or a system call filter is in force. EDEADLK: called by a listener. ENOSYS: no process heap. Any
 * thread. Takes 0.2 us for each page in use, and 3 us for each one that moves. */
int bellows_drain_node(int node, unsigned milliseconds, const int *cancel, bellows_drain_progress *progress,
                       void *context, struct bellows_drain_report *report, size_t size);
/* Lets it serve again: its sections come back online, and what lies in them moves there. What never had a node (blocks above
 * 64 MiB, records) stays where it is. ENOMEM: the node has no room for all of it; it serves again, and nothing has
 * moved. EINVAL: it was not emptied. Else as above. */
int bellows_bring_home(int node, unsigned milliseconds, const int *cancel, bellows_drain_progress *progress,
                       void *context, struct bellows_drain_report *report, size_t size);

#ifdef __cplusplus
}
#endif
#endif
