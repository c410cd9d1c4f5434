/* observer.h: who is told of what happens to the sections of an arena, and may object. */
#ifndef BELLOWS_OBSERVER_H
#define BELLOWS_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
