/* offline.h: sections of the process heap go offline and come back.
 *
 * The process heap's memory comes in sections of 128 MiB. A section that is to go offline is first taken out of
 * circulation: malloc returns no address there any more, and what is freed there goes back to the system at once.
 * When nothing is left in it, it is offline: its pages are gone, its addresses inaccessible, and malloc does not use
 * it again until it is brought back. What is allocated cannot be moved by malloc; the report says what it is, and the
 * program can move it itself (bellows_should_move).
 */
#ifndef BELLOWS_OFFLINE_H
#define BELLOWS_OFFLINE_H

#include <stddef.h>

#include "offline_report.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  /* All or nothing: where a section cannot go, all come back as they were, and nothing was returned. */
  BELLOWS_OFFLINE_WHOLE = 1,
  /* Where a section cannot go as a whole, its wholly free pageblocks (2 MiB) stay out of circulation, and the rest
   * comes back. Without either flag it stays on its way: what is freed goes, until the next call goes on with it or
   * bellows_online brings it back. */
  BELLOWS_OFFLINE_PARTIAL = 2,
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

/* Brings `bytes` bytes of sections back, rounded up to sections: those on their way or partly out first, all of them where
 * less than `bytes` is out of each. 0; ENOMEM: there were fewer, and what there was is back; EBUSY, EDEADLK, ENOSYS as
 * above. */
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

#ifdef __cplusplus
}
#endif
#endif
