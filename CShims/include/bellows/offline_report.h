/* offline_report.h: what became of memory that was to go offline, and what holds the rest of it. */
#ifndef BELLOWS_OFFLINE_REPORT_H
#define BELLOWS_OFFLINE_REPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
