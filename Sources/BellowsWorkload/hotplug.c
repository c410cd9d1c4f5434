// The scenarios that need what Bellows alone has: sections that go offline and come back. Under other allocators the same
// load runs without it, and the tool says that it was not offered.
#include <errno.h>
#include <string.h>
#include <time.h>

#include "bellows.h"
#include "workload-program.h"

static int (*take_offline)(size_t, unsigned, unsigned, const int *, struct bellows_offline_report *, size_t);
static int (*bring_online)(size_t);
static int (*should_move)(const void *);

void hotplug_prepare(void) {
  *(void **)&take_offline = offered("bellows_offline");
  *(void **)&bring_online = offered("bellows_online");
  *(void **)&should_move = offered("bellows_should_move");
  page->missing = take_offline == NULL || bring_online == NULL || should_move == NULL;
  prepare();
}

// A program that can move its blocks asks for each whether it should, as Redis does: realloc to the same size moves it.
static void move_along(struct lane *lane) {
  for (size_t i = 0; i < lane->count; i++)
    if (should_move(lane->slots[i].block)) reallocate(lane, &lane->slots[i], lane->slots[i].size);
}

static unsigned mebibytes(size_t bytes) { return (unsigned)(bytes >> 20); }

void offline_run(void) {
  crew_do(fill_share);
  event("full");
  wait_until(elapsed() + 0.1 * settings.seconds);
  crew_do(keep_survivors);
  event("freed");
  wait_until(elapsed() + 0.2 * settings.seconds);
  if (page->missing) {
    event("not offered");
    wait_until(settings.seconds);
    return;
  }
  // Everything is asked for; what lives there is in the way, until the program moves it.
  struct bellows_offline_report report;
  memset(&report, 0, sizeof report);
  event("ask");
  take_offline(settings.live, 200, 0, NULL, &report, sizeof report);
  event("%u MiB out, %u left", mebibytes(report.taken), mebibytes(report.left));
  crew_do(move_along);
  event("moved");
  take_offline(0, 500, BELLOWS_OFFLINE_PARTIAL, NULL, &report, sizeof report);
  event("%u MiB out, %u left", mebibytes(report.taken), mebibytes(report.left));
  event("offline");
  wait_until(0.75 * settings.seconds);
  event("online");
  bring_online(settings.live);
  crew_do(fill_share);
  event("full again");
  wait_until(settings.seconds);
}

enum { TURNS = 6 };

static void *turn_over(void *argument) {
  (void)argument;
  // All that lives is to go, while it is in use: what is freed leaves, what is new lies elsewhere. Then it comes back.
  double step = settings.seconds / (TURNS + 1) / 2, next = elapsed() + step;
  for (int turn = 0; turn < TURNS; turn++) {
    wait_until(next);
    struct bellows_offline_report report;
    memset(&report, 0, sizeof report);
    event("out");
    take_offline(settings.live * 2, (unsigned)(step * 900), 0, NULL, &report, sizeof report);
    wait_until(next += step);
    bring_online(settings.live * 3);
    event("in, %u MiB had gone", mebibytes(report.taken));
    next += step;
  }
  return NULL;
}

void cycling_run(void) {
  crew_do(fill_share);
  event("full");
  pthread_t thread;
  if (!page->missing && pthread_create(&thread, NULL, turn_over, NULL) != 0) fail("pthread_create: %s", strerror(errno));
  if (page->missing) event("not offered");
  crew_run_until(churn_on, settings.seconds);
  if (!page->missing) pthread_join(thread, NULL);
}

// More is wanted than the limit allows: malloc refuses, the program frees and tries again.
static int (*set_limit)(size_t, size_t, bellows_limit_crossed *, void *);

void limit_prepare(void) {
  *(void **)&set_limit = offered("bellows_limit");
  page->missing = set_limit == NULL;
  prepare();
}

static void saw(struct lane *lane) {
  while (!crew_stop()) {
    fill_share(lane);
    thin(lane, 30);
  }
}

static void keep_half(struct lane *lane) { thin(lane, 50); }

void limit_run(void) {
  crew_do(fill_share);
  event("full");
  wait_until(0.2 * settings.seconds);
  crew_do(keep_half);
  event("half");
  wait_until(0.3 * settings.seconds);
  if (page->missing) event("not offered");
  else if (set_limit(settings.live / 20 * 13, settings.live / 4 * 3, NULL, NULL) != 0) fail("bellows_limit refused");
  else event("limit");
  crew_run_until(saw, settings.seconds);
}
