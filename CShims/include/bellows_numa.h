// The system calls of NUMA that concern a thread or another process; those for an arena's own memory stand in the list of
// bellows_shims.h. Raw calls with the kernel's numbers: libnuma allocates when it is loaded, and keeps the nodes that it saw then.
//
// Sets of nodes are one word, a bit for each node from 0 to 63. All functions answer -errno where the kernel refuses, leave errno
// alone and may be called from any thread.
#ifndef BELLOWS_NUMA_H
#define BELLOWS_NUMA_H

#include <stddef.h>
#include <stdint.h>

// The kernel's numbers; older headers lack some.
enum {
  BELLOWS_POLICY_DEFAULT = 0,
  BELLOWS_POLICY_PREFERRED = 1,
  BELLOWS_POLICY_BIND = 2,
  BELLOWS_POLICY_INTERLEAVE = 3,
  BELLOWS_POLICY_LOCAL = 4,
  BELLOWS_POLICY_PREFERRED_MANY = 5,       // Linux 5.15
  BELLOWS_POLICY_WEIGHTED_INTERLEAVE = 6,  // Linux 6.9
  BELLOWS_POLICY_STATIC_NODES = 1 << 15,
  BELLOWS_PLACE_STRICT = 1 << 0,
  BELLOWS_PLACE_MOVE = 1 << 1,
};

// move_pages of a process (0: this one). Without `nodes` it only asks. `results`: the node of each page, or -errno.
// Answers the number of pages that did not move.
intptr_t bellows_move_pages(int process, size_t count, const uintptr_t *addresses, const int *nodes, int *results);

// The policy of the calling thread for memory that it touches first and that has no policy of its own.
intptr_t bellows_thread_policy_set(unsigned policy, uint64_t nodes);
intptr_t bellows_thread_policy(unsigned *policy, uint64_t *nodes);
// The policy in force at an address of this process; touches no page.
intptr_t bellows_policy_at(uintptr_t address, unsigned *policy, uint64_t *nodes);
// The nodes that this thread may have memory from, by its cpuset.
intptr_t bellows_allowed_nodes(uint64_t *nodes);

// The node of the processor that the thread runs on at this moment.
intptr_t bellows_current_node(void);
// Lets the calling thread run on these processors only, each below 8192.
intptr_t bellows_pin_thread(const uint32_t *processors, size_t count);
// Writes the processors that the calling thread may run on, at most `room` of them; answers how many there are.
intptr_t bellows_thread_processors(uint32_t *processors, size_t room);

// A figure of a node's meminfo in bytes, such as "MemFree"; opens, reads and closes one file, and allocates nothing.
intptr_t bellows_node_bytes(unsigned node, const char *name);

// Bytes that may be placed on a node now: its free memory without what it keeps, 1/64 of all, at least 8 MiB. The kernel turns
// to other nodes at its low watermark, which is about that on small nodes and less on large ones. Page cache counts as used.
intptr_t bellows_node_room(unsigned node);

// The node that the calling thread runs on; -ENODEV where its memory policy says that memory comes from elsewhere.
intptr_t bellows_local_node(void);
// Writes the nodes 0 to 63 that the calling thread may have memory of, or none where its memory policy is not to take what is
// near, or a system call filter is in force (which may end the process for a call that it does not know).
intptr_t bellows_local_nodes(uint64_t *nodes);
// Writes the distances from a node to the nodes 0 to `count` - 1; 0 where one is not online.
intptr_t bellows_node_distances(unsigned node, uint8_t *distances, size_t count);

#endif
