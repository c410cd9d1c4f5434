/* bellows.h: what libbellows-malloc.so offers beside the malloc ABI.
 *
 * Link with -lbellows-malloc. To use these where the library may or may not be preloaded, declare them weak
 * or look them up with dlsym.
 */
#ifndef BELLOWS_H
#define BELLOWS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library in use: major * 10000 + minor * 100 + patch. Any thread, no lock. */
uint32_t bellows_version(void);

/* Returns free memory of the process heap to the system until `keep` bytes of it are left resident; answers
 * the number of bytes returned. Reaches free pages and cached runs of all threads, and the calling thread's
 * own empty shards. Any thread; takes as long as the system calls do (about 75 us per MiB). */
size_t bellows_trim(size_t keep);

/* The figures of the process heap, in bytes unless stated otherwise. */
struct bellows_statistics {
  size_t reserved;   /* address space of sections, inaccessible parts included */
  size_t committed;  /* of these, accessible */
  size_t memmap;     /* page descriptors, in committed */
  size_t allocated;  /* pages that blocks lie in, huge blocks included */
  size_t free_resident; /* free pages that were used and not yet returned */
  size_t huge;       /* blocks that are mappings of their own, in allocated */
  size_t returned;   /* returned to the system since the start, a running sum */
  size_t sections;   /* number of sections */
  size_t heaps;      /* number of thread heaps, idle ones included */
  size_t held;       /* what the limits are compared with: see bellows_limit */
  size_t soft_limit; /* 0: none */
  size_t hard_limit; /* 0: none */
  size_t caged;      /* free and out of circulation, in sections that are on their way offline */
  size_t offline;    /* number of sections that are offline, in sections */
  size_t seizures;   /* times that something was taken from the heap of a sleeping thread, a running sum */
};

/* Fills *out, of which `size` bytes are known to the caller (pass sizeof *out). Exact in pages. Any thread. */
void bellows_statistics(struct bellows_statistics *out, size_t size);

/* What was crossed: bits of `which` below. */
enum { BELLOWS_SOFT_LIMIT = 1, BELLOWS_HARD_LIMIT = 2 };
typedef void bellows_limit_crossed(void *context, int which, size_t held);

/* Limits what the process heap holds: pages that blocks lie in, free ones that were not yet returned, and huge blocks.
 * In bytes, rounded up to pages; 0: no limit. Above `soft`, free memory goes back at once instead of after the purge
 * delay, and address space is added only when that brought no room; no request fails. A request that would go above
 * `hard` fails with ENOMEM after all that is free has gone back.
 *
 * `crossed`, unless NULL, is called when the soft limit is crossed upwards and when the hard limit refuses, once until
 * the heap was well below (by 1/16). It runs in the thread whose request it was, or in one that came soon after, with
 * no lock held: it may allocate and free; it is not called again while it runs.
 *
 * Answers 0; EINVAL where `soft` is above `hard`; ENOMEM where there is no heap. Any thread. While there is no limit it
 * costs nothing; while there is one, 20 ns for each request that reaches the page allocator. */
int bellows_limit(size_t soft, size_t hard, bellows_limit_crossed *crossed, void *context);

/* ---- Taking memory offline -------------------------------------------------------------------------------
 *
 * The process heap's memory comes in sections of 128 MiB. A section that is to go offline is first taken out of
 * circulation: malloc returns no address there any more, and what is freed there goes back to the system at once.
 * When nothing is left in it, it is offline: its pages are gone, its addresses inaccessible, and malloc does not use
 * it again until it is brought back. What is allocated cannot be moved by malloc; the report says what it is, and the
 * program can move it itself (bellows_should_move). */

enum {
  /* All or nothing: where a section cannot go, all come back as they were, and nothing was returned. */
  BELLOWS_OFFLINE_WHOLE = 1,
  /* Where a section cannot go as a whole, its wholly free pageblocks (2 MiB) stay out of circulation, and the rest
   * comes back. Without either flag it stays on its way: what is freed goes, until the next call goes on with it or
   * bellows_online brings it back. */
  BELLOWS_OFFLINE_PARTIAL = 2,
};

/* What holds memory that was to go. */
enum {
  BELLOWS_BLOCKER_BLOCKS = 1,   /* live blocks of one size class; detail: its block size */
  BELLOWS_BLOCKER_RUNS = 2,     /* live blocks above 32 KiB */
  BELLOWS_BLOCKER_PAGES = 3,    /* pages that are about to become a block, or were allocated as pages */
  BELLOWS_BLOCKER_THREAD = 4,   /* a thread that runs and has not come by a slow path: its shards; detail: its number */
  BELLOWS_BLOCKER_PINNED = 5,   /* pinned relocatable blocks; detail: the first handle */
  /* Relocatable blocks in mlock'd memory, which they may not leave; detail: the first handle. With detail 0: free pages that the
   * system does not take back: mlock'd ones before Linux 5.18, which drops them. */
  BELLOWS_BLOCKER_LOCKED = 6,
  /* 7 would be an allocation that reaches into another section. There are none: pages come from one section, and what is
   * larger than a section holds is refused, or by malloc mapped apart. */
  /* A listener or observer objected; detail: its errno, count: its place in the order of asking, from 1. What else holds the
   * section is named beside it; what can move was not asked to. */
  BELLOWS_BLOCKER_VETOED = 8,
};

struct bellows_blocker {
  uint32_t kind;
  uint32_t reserved;
  size_t detail;
  size_t count;
  size_t bytes; /* what they take of the sections */
};

struct bellows_offline_report {
  size_t taken;    /* bytes out of circulation now, of the sections that were asked for */
  size_t left;     /* bytes of them that are not */
  size_t returned; /* resident bytes that went back to the system during the call */
  uint32_t sections; /* sections that went as a whole */
  uint32_t partial;  /* sections of which a part went, or that are on their way */
  uint32_t pageblocks; /* pageblocks of 2 MiB that are out of circulation as a whole */
  uint32_t passes;
  uint32_t pieces[19]; /* by order: pieces of 2^order pages that were taken in one */
  uint32_t blocker_count;
  struct bellows_blocker blockers[48]; /* of these, blocker_count */
};

/* Takes `bytes` bytes of sections offline, rounded up to sections: the emptiest first, of equals the youngest; goes
 * on with sections that are on their way (`bytes` may be 0). Tries for `milliseconds` at most; where *cancel becomes
 * non-zero (it may be NULL), it ends. Fills *report, of which `size` bytes are known to the caller, unless it is NULL.
 *
 * 0: all of it went. EBUSY: part of it is left (see the report), or another thread is at it. EINTR: cancelled. EDEADLK:
 * called by a listener. ENOSYS: no process heap. Else what a listener answered. Any thread; a pass costs about 10 us
 * for each thread, 1 us for each live shard, and what the system takes to return the memory (about 75 us per MiB). */
int bellows_offline(size_t bytes, unsigned milliseconds, unsigned flags, const int *cancel,
                    struct bellows_offline_report *report, size_t size);

/* The same for the section that holds `address`. EINVAL: there is none. */
int bellows_offline_section(const void *address, unsigned milliseconds, unsigned flags, const int *cancel,
                            struct bellows_offline_report *report, size_t size);

/* Brings `bytes` bytes of sections back, rounded up to sections: those on their way or partly out first. 0; ENOMEM:
 * there were fewer; EBUSY, EDEADLK, ENOSYS as above. */
int bellows_online(size_t bytes);

/* The same for the section that held `address`. EINVAL: nothing of it is out of circulation. */
int bellows_online_section(const void *address);

/* Whether the page at `address` is out of circulation: 1 or 0. Any thread. */
int bellows_is_caged(const void *address);

/* Whether `pointer` lies in a section on its way offline, so that it helps to allocate it anew and free it (realloc to
 * the size it has does both): 1 or 0. Any thread; one load while no section is on its way. */
int bellows_should_move(const void *pointer);

enum {
  BELLOWS_GOING_OFFLINE = 0,  /* nothing is allocated in the range any more; the answer may be an errno: a veto */
  BELLOWS_CANCEL_OFFLINE = 1, /* the range stays; sent to listeners that never saw the first event, too */
  BELLOWS_OFFLINE = 2,
  BELLOWS_ONLINE = 3,
};

/* Told of each section that goes or comes: in the thread that asked for it, with no lock held. It may allocate, free
 * and move blocks; asking for another transition is EDEADLK. */
typedef int bellows_listener(void *context, int event, void *start, size_t bytes);

/* Adds a listener: 0, or ENOSPC where there are 16. */
int bellows_listen(bellows_listener *listener, void *context);
/* Takes it out again: 0, or EINVAL where it is not there. A call to it may still be under way. */
int bellows_unlisten(bellows_listener *listener, void *context);

/* ---- Emptying a NUMA node ---------------------------------------------------------------------------------
 *
 * All memory of the process heap leaves a node while threads run: blocks keep their addresses, the pages under them move.
 * First the placement leaves the node out, so that nothing new comes there; sections of it in which nothing is allocated
 * go offline; then what lives there moves to the nearest other nodes, 512 pages at a time: blocks, page descriptors,
 * records. Free memory goes back to the system instead. What threads have on their stacks, and memory that malloc did not
 * hand out, is not the heap's. */

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

/* ---- Arenas and their sections ---------------------------------------------------------------------------
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
 * their place: 0 is at the start of the addresses. All functions answer 0 or an errno, and then
 * nothing has changed. EINVAL: no such values, not whole memory blocks, or no arena. ENXIO: no section is there. EBUSY: it is in use, or another
 * thread is at it. EDEADLK: called by a hook, a step or an observer of a transition of the same thread. EAGAIN: 16
 * threads have one. Any thread. In a child of fork, leave an arena alone that other threads used. */

/* An arena; where one is asked for further below, NULL means the arena of the process heap, that is of malloc. */
struct bellows_arena;

struct bellows_arena_options {
  size_t section_size;    /* in bytes, a power of two from 4 MiB to 1 GiB; 0: 128 MiB */
  uint32_t grows_by_need; /* 1: an allocation brings a spare or a new memory block online where there is no room */
  uint32_t block_sections; /* sections of a memory block, which come and go together; 0: 1 */
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

/* Where the descriptors of a section lie. */
enum {
  BELLOWS_MEMMAP_PREFER = 0,  /* at its own start where the sizes allow it, else outside */
  BELLOWS_MEMMAP_REQUIRE = 1, /* at its own start, or EINVAL */
  BELLOWS_MEMMAP_OUTSIDE = 2, /* in a mapping of its own */
  BELLOWS_MEMMAP_STORAGE = 3, /* in memory of the caller's */
  BELLOWS_MEMMAP_RESERVE = 4, /* in one that bellows_arena_reserve_memmaps keeps; ENOMEM: there is none */
};

enum {
  BELLOWS_ADD_LAZY = 1, /* descriptors become resident when they are used, not at once */
  BELLOWS_ADD_HUGE = 2, /* descriptors are advised to be in huge pages where they fill one */
  /* Descriptors are all resident, and the section is kept offline: bringing it online needs no memory. */
  BELLOWS_ADD_SPARE = 4,
  BELLOWS_ADD_EARLY = 8, /* what the arena begins with: BELLOWS_ZONE_AUTOMATIC measures against it */
};

/* How descriptors are carved out of the section that they describe, in pages of the arena. */
struct bellows_altmap {
  size_t base;    /* the first page of what is described */
  size_t reserve; /* pages at the front that are the owner's */
  size_t free;    /* pages that are set aside for descriptors */
  size_t align;   /* pages that were skipped for alignment */
  size_t alloc;   /* pages that are handed out: 0 when the section has gone */
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
 * them to the allocator; 1 keeps them until bellows_arena_supply. With no lock held. */
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
 * *first says which. They are offline. `options` may be NULL; `size` is sizeof *options. E2BIG: outside of the arena.
 * EEXIST: a place is taken. ENOSPC: no place is free. ENOMEM; what a step answers. A few system calls a section,
 * and 0.6 ms for 2 MiB of descriptors. */
int bellows_arena_add(struct bellows_arena *arena, size_t count, size_t *first, const struct bellows_add_options *options,
                      size_t size);
/* Keeps descriptors for `count` more sections, resident, on `node` (-1: any). ENOMEM. */
int bellows_arena_reserve_memmaps(struct bellows_arena *arena, size_t count, int node);
/* EEXIST: a section is registered already. */
int bellows_arena_register(struct bellows_arena *arena, size_t first, size_t count);
/* EINVAL: a section is not registered. */
int bellows_arena_unregister(struct bellows_arena *arena, size_t first, size_t count);
/* All of them or none. EINVAL: one is online. ENOMEM; what an observer answers. */
int bellows_arena_online(struct bellows_arena *arena, size_t first, size_t count);
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

/* Memory groups: sections that belong together. A static group is at most `bytes` bytes, as a module of memory; a dynamic
 * one comes in units of `bytes`, a power of two. *group is its number, from 1. EINVAL: not whole memory blocks. ENOMEM. */
enum { BELLOWS_GROUP_STATIC = 1, BELLOWS_GROUP_DYNAMIC = 2 };
int bellows_arena_add_group(struct bellows_arena *arena, int kind, size_t bytes, int node, uint32_t *group);
/* Ends it. EBUSY: it has sections. */
int bellows_arena_remove_group(struct bellows_arena *arena, uint32_t group);
/* Takes all sections of a group offline and removes them: all, or everything stays. As bellows_arena_offline. */
int bellows_arena_remove_sections(struct bellows_arena *arena, uint32_t group, unsigned milliseconds, const int *cancel,
                                  struct bellows_offline_report *report, size_t size);

/* Pages of sections that are online: at a multiple of `alignment`, a power of two; `bytes` is rounded up to pages. They
 * are zero. ENOMEM. */
int bellows_arena_allocate(struct bellows_arena *arena, size_t bytes, size_t alignment, void **start);
/* The same of pages that the owner gives up when their section goes offline (BELLOWS_EVENT_GOING_OFFLINE): from movable zones
 * first. Nothing else is allocated there. */
int bellows_arena_allocate_movable(struct bellows_arena *arena, size_t bytes, size_t alignment, void **start);
/* Frees them, all or in parts. EINVAL: not all of it is allocated. */
int bellows_arena_free(struct bellows_arena *arena, void *start, size_t bytes);
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

enum {
  BELLOWS_EVENT_GOING_ONLINE = 0, /* a question */
  BELLOWS_EVENT_CANCEL_ONLINE = 1,
  BELLOWS_EVENT_ONLINE = 2,
  BELLOWS_EVENT_GOING_OFFLINE = 3, /* a question; nothing is allocated there any more */
  BELLOWS_EVENT_CANCEL_OFFLINE = 4,
  BELLOWS_EVENT_OFFLINE = 5,
  BELLOWS_EVENT_NODE_ADDING_FIRST = 6, /* the first memory of a node: a question */
  BELLOWS_EVENT_NODE_CANCEL_ADDING_FIRST = 7,
  BELLOWS_EVENT_NODE_ADDED_FIRST = 8,
  BELLOWS_EVENT_NODE_REMOVING_LAST = 9, /* its last: a question */
  BELLOWS_EVENT_NODE_CANCEL_REMOVING_LAST = 10,
  BELLOWS_EVENT_NODE_REMOVED_LAST = 11,
};

struct bellows_notice {
  uint32_t event;
  int32_t node;
  void *start; /* behind the descriptors */
  size_t bytes;
  size_t section;
};

/* Answers a question: 0 goes on; 1 goes on without the observers behind; -errno objects, -1 (EPERM) without a reason.
 * What is called off is told to all, also to those who were not asked. In the thread of the transition, with no lock
 * held: it may allocate. */
typedef int bellows_notified(void *context, const struct bellows_notice *notice);
struct bellows_observer;

/* Adds an observer; higher priorities are told first, of equals the older. ENOMEM. */
int bellows_arena_observe(struct bellows_arena *arena, bellows_notified *notified, void *context, int priority,
                          struct bellows_observer **observer);
/* Ends it. A call to it may still be under way in another thread. */
int bellows_arena_unobserve(struct bellows_arena *arena, struct bellows_observer *observer);

/* ---- Balloons, huge pages, sub-blocks, device memory -----------------------------------------------------
 *
 * Who gets the pages of a fresh section before malloc sees them, and how they become memory. All functions may be called
 * from any thread. Those that answer int answer 0 or an errno, and have changed nothing where that is not said
 * otherwise. ENOSYS: the process has no Bellows heap; ENOMEM: the system, or the arena, has no memory. */

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

/* Sub-blocks: the pageblocks of an online section. Unplugging takes exactly these pages from the allocator, returns
 * their memory, and makes an access end in SIGSEGV; plugging gives them back. EBUSY: a page is in use. EEXIST: it is that
 * way already. EINVAL: no sub-block starts there, or it holds descriptors. ENXIO: no online section is there. */
size_t bellows_sub_block_size(struct bellows_arena *arena);
int bellows_sub_block_unplug(struct bellows_arena *arena, void *start);
int bellows_sub_block_plug(struct bellows_arena *arena, void *start);
/* Adds a section with all of its sub-blocks unplugged: *count of them from *first on. Where the arena has memory blocks of
 * several sections it adds a block of them: *count of all, and each further section begins with its descriptors. */
int bellows_sub_block_add_section(struct bellows_arena *arena, void **first, size_t *count);

/* Device memory: a file, or nothing accessible, with descriptors and an owner, in units that are counted. No allocation
 * ever lies in it. */
struct bellows_device;

/* The last reference to a unit has gone. In the thread that dropped it, with no lock held; it may take the unit again. It
 * must not remove the device. */
typedef void bellows_device_freed(void *context, void *unit, size_t bytes);

struct bellows_device_request {
  size_t bytes;  /* a multiple of the unit */
  int file;      /* an open file, not needed afterwards; -1: inaccessible addresses with descriptors */
  uint32_t huge; /* 1: units of 2 MiB, of a file of huge pages; 0: units of a page */
  size_t offset; /* in the file */
  size_t reserve;         /* with memmap_inside: bytes at the start that are the owner's */
  uint32_t memmap_inside; /* 1: the descriptors lie in the region */
  uint32_t hold;          /* 1: the region holds a reference to each unit, of which the owner is not told */
  bellows_device_freed *freed;
  void *context;
};

/* Adds a device: in *device. EINVAL: lengths, or a file that is too short. And what the system says of the file. */
int bellows_device_add(struct bellows_arena *arena, const struct bellows_device_request *request, size_t size,
                       struct bellows_device **device);
/* The first unit, and in *count (unless NULL) how many there are. */
void *bellows_device_units(struct bellows_device *device, size_t *count);
/* Takes the first reference to a unit: EBUSY where somebody has one, ENXIO while the device is being removed. */
int bellows_device_acquire(struct bellows_device *device, void *unit);
/* One reference more or less. EINVAL: the unit is not in use. */
int bellows_device_retain(struct bellows_device *device, void *unit);
int bellows_device_release(struct bellows_device *device, void *unit);
/* Removes it, once no unit is in use: EBUSY after so many milliseconds. The file keeps what was written. */
int bellows_device_remove(struct bellows_device *device, unsigned milliseconds);

#ifdef __cplusplus
}
#endif
#endif
