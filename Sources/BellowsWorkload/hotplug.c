// The scenarios that need what Bellows alone has: sections that go offline and come back, a balloon, a limit. Under other
// allocators the same load runs without it, and the tool says that it was not offered; for the limit the kernel's own
// stands in.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

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

// A balloon below malloc takes what is free and gives it back, while threads allocate and free. What it may take is what
// they freed: its own counters and the kernel's resident pages tell whether it did.
static int (*make_balloon)(struct bellows_arena *, const struct bellows_balloon_options *, size_t, struct bellows_balloon **);
static void (*destroy_balloon)(struct bellows_balloon *);
static int (*add_section)(struct bellows_balloon *);
static int (*deflate)(struct bellows_balloon *, size_t, size_t *);
static int (*inflate)(struct bellows_balloon *, size_t, size_t *);
static void (*figures_of)(struct bellows_balloon *, struct bellows_balloon_figures *, size_t);

void balloon_prepare(void) {
  *(void **)&make_balloon = offered("bellows_balloon_create");
  *(void **)&destroy_balloon = offered("bellows_balloon_destroy");
  *(void **)&add_section = offered("bellows_balloon_add_section");
  *(void **)&deflate = offered("bellows_balloon_deflate");
  *(void **)&inflate = offered("bellows_balloon_inflate");
  *(void **)&figures_of = offered("bellows_balloon_figures");
  page->missing = !make_balloon || !destroy_balloon || !add_section || !deflate || !inflate || !figures_of;
  prepare();
}

// What came into the balloon and what went out of it must be what it holds, whatever malloc took of it meanwhile.
static void check_balloon(struct bellows_balloon *balloon, size_t added) {
  struct bellows_balloon_figures found;
  figures_of(balloon, &found, sizeof found);
  if (found.held + found.deflated != added + found.inflated || found.relieved > found.deflated)
    fail("the balloon's figures contradict each other: %zu held, %zu deflated, %zu inflated", found.held, found.deflated,
         found.inflated);
}

static void *breathe(void *argument) {
  (void)argument;
  struct bellows_balloon *balloon;
  // Malloc keeps a quarter of the load, so that a balloon with all that is free does not make it grow for every block.
  struct bellows_balloon_options options = {.floor = settings.live / 4};
  int error = make_balloon(NULL, &options, sizeof options, &balloon);
  if (error == 0) error = add_section(balloon);
  if (error != 0) fail("no balloon: %s", strerror(error));
  struct bellows_balloon_figures first;
  figures_of(balloon, &first, sizeof first);
  size_t added = first.held + first.deflated;
  double step = settings.seconds / (TURNS + 1) / 2, next = elapsed() + step;
  for (int turn = 0; turn < TURNS; turn++) {
    wait_until(next);
    size_t taken = 0, given = 0;
    error = inflate(balloon, settings.live / 2, &taken);
    if (error != 0 && error != EBUSY && error != ENOSPC) fail("bellows_balloon_inflate: %s", strerror(error));
    event("inflate, %u MiB", mebibytes(taken));
    check_balloon(balloon, added);
    wait_until(next += step);
    error = deflate(balloon, taken, &given);
    if (error != 0 && error != ENOSPC) fail("bellows_balloon_deflate: %s", strerror(error));
    event("deflate, %u MiB", mebibytes(given));
    check_balloon(balloon, added);
    next += step;
  }
  wait_until(settings.seconds);
  destroy_balloon(balloon);
  return NULL;
}

// The load swings, so that there is something free to take.
static void swing(struct lane *lane) {
  while (!crew_stop()) {
    thin(lane, 40);
    for (int i = 0; i < 20 && !crew_stop(); i++) {
      for (int each = 0; each < 20; each++) churn(lane);
      nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    fill_share(lane);
  }
}

void balloon_run(void) {
  crew_do(fill_share);
  event("full");
  pthread_t thread;
  if (!page->missing && pthread_create(&thread, NULL, breathe, NULL) != 0) fail("pthread_create: %s", strerror(errno));
  if (page->missing) event("not offered");
  crew_run_until(swing, settings.seconds);
  if (!page->missing) pthread_join(thread, NULL);
}

// More is wanted than the limit allows: malloc refuses, the program frees and tries again. Where the allocator has no
// limit, RLIMIT_DATA stands in: the same number of bytes above what the program had before, which the kernel refuses.
static int (*set_limit)(size_t, size_t, bellows_limit_crossed *, void *);

void limit_prepare(void) {
  *(void **)&set_limit = offered("bellows_limit");
  prepare();
}

// VmData of this process: what RLIMIT_DATA is compared with. Read without stdio, which allocates.
static size_t private_bytes(void) {
  char text[4096] = "";
  int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  ssize_t count = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  const char *line = count > 0 ? strstr(text, "\nVmData:") : NULL;
  return line == NULL ? 0 : strtoull(line + 8, NULL, 10) << 10;
}

static void limit_to(size_t soft, size_t hard, size_t own) {
  if (set_limit != NULL) {
    if (set_limit(soft, hard, NULL, NULL) != 0) fail("bellows_limit refused");
    event("limit");
    return;
  }
  struct rlimit limit;
  if (own == 0 || getrlimit(RLIMIT_DATA, &limit) != 0) fail("no limit: VmData is not to be read");
  limit.rlim_cur = own + hard;
  if (setrlimit(RLIMIT_DATA, &limit) != 0) fail("RLIMIT_DATA: %s", strerror(errno));
  page->missing = WL_REPLACED;
  event("RLIMIT_DATA");
}

static void saw(struct lane *lane) {
  while (!crew_stop()) {
    fill_share(lane);
    thin(lane, 30);
  }
}

static void keep_half(struct lane *lane) { thin(lane, 50); }

void limit_run(void) {
  size_t own = set_limit == NULL ? private_bytes() : 0;
  crew_do(fill_share);
  event("full");
  wait_until(0.2 * settings.seconds);
  crew_do(keep_half);
  event("half");
  wait_until(0.3 * settings.seconds);
  limit_to(settings.live / 20 * 13, settings.live / 4 * 3, own);
  crew_run_until(saw, settings.seconds);
}
