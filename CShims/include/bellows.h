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
  BELLOWS_BLOCKER_LOCKED = 6,   /* free pages that the system does not take back: mlock'd, as a rule */
  BELLOWS_BLOCKER_CROSSING = 7, /* an allocation that reaches into a section that stays */
  BELLOWS_BLOCKER_VETOED = 8,   /* a listener objected; detail: its errno, count: its number, from 1 */
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

/* ---- Balloons, huge pages, sub-blocks, device memory -----------------------------------------------------
 *
 * Who gets the pages of a fresh section before malloc sees them, and how they become memory. All functions may be called
 * from any thread. Those that answer int answer 0 or an errno, and have changed nothing where that is not said
 * otherwise. ENOSYS: the process has no Bellows heap; ENOMEM: the system, or the arena, has no memory. */

/* An arena; where one is asked for, NULL means the arena of the process heap, that is of malloc. */
struct bellows_arena;

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
/* Adds a section of 128 MiB with all of its pages in the balloon; of its memory the descriptors (2 MiB) are resident. */
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
/* Adds a section with all of its sub-blocks unplugged: *count of them from *first on. */
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
