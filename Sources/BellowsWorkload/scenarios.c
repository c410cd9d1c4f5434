// The scenarios that need nothing but malloc. `settings.seconds` is the whole length; parts are fractions of it.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "workload-program.h"

static size_t share(void) { return settings.live / settings.threads; }

// Books for as many blocks as the live bytes need, and some more for luck.
static void books_for(uint64_t least, uint64_t most) {
  set_sizes(least, most);
  size_t capacity = share() / mean_size() * 5 / 4 + 1024;
  for (uint32_t i = 0; i < settings.threads; i++) lane_prepare(&lanes[i], i, capacity);
}

void prepare(void) { books_for(settings.least, settings.most); }

void fill_share(struct lane *lane) { fill(lane, share()); }
static void free_all(struct lane *lane) { thin(lane, 0); }
void keep_survivors(struct lane *lane) { thin(lane, settings.survivors); }
static void leave_survivors(struct lane *lane) {
  thin(lane, settings.survivors);
  lane->kept = lane->count;
}
void churn_on(struct lane *lane) {
  while (!crew_stop())
    for (int i = 0; i < 64; i++) churn(lane);
}
// A few thousand operations a second: a service with little to do.
void churn_gently(struct lane *lane) {
  while (!crew_stop()) {
    for (int i = 0; i < 20; i++) churn(lane);
    nanosleep(&(struct timespec){0, 5000000}, NULL);
  }
}

// At least half of the time is left for what comes after the frees, however slow the machine is.
static double rest(void) {
  double least = elapsed() + settings.seconds / 2;
  return settings.seconds > least ? settings.seconds : least;
}

static void spike(void) {
  wait_until(0.05 * settings.seconds);
  event("fill");
  crew_do(fill_share);
  event("full");
  wait_until(elapsed() + 0.15 * settings.seconds);
  event("free");
  crew_do(free_all);
  event("freed");
  wait_until(rest());
}

static void sparse(void) {
  event("fill");
  crew_do(fill_share);
  event("full");
  wait_until(elapsed() + 0.1 * settings.seconds);
  event("free");
  crew_do(keep_survivors);
  event("freed");
  double end = rest();
  wait_until((elapsed() + end) / 2);
  event("churn");
  crew_run_until(churn_gently, end);
}

static void phases(void) {
  // A program that changes what it does: each phase has its own sizes, and leaves a few blocks behind.
  static const uint64_t bands[][2] = {{16, 64}, {64, 256}, {256, 1024}, {1024, 4096}, {4096, 32768}, {32768, 262144}};
  enum { BANDS = sizeof bands / sizeof bands[0] };
  for (int i = 0; i < BANDS; i++) {
    set_sizes(bands[i][0], bands[i][1]);
    event("%llu to %llu bytes", (unsigned long long)bands[i][0], (unsigned long long)bands[i][1]);
    crew_do(fill_share);
    crew_run_until(churn_on, settings.seconds * (i + 1) / BANDS);
    if (i + 1 < BANDS) crew_do(leave_survivors);
  }
}

static void phases_prepare(void) { books_for(16, 64); }

// Larson's server: a thread serves for a while, then hands its blocks to a new thread and ends.
struct generation {
  pthread_t thread;
  double until;
};
static struct generation generations[WL_LANES];

static void *serve(void *argument) {
  struct lane *lane = argument;
  struct slot parts[12];
  if (lane->count == 0) fill_share(lane);
  while (elapsed() < generations[lane->index].until) {
    for (int round = 0; round < 64; round++) {
      for (int i = 0; i < 12; i++) allocate(lane, &parts[i], draw_size(lane));
      churn(lane);
      for (int i = 0; i < 12; i++) release(lane, &parts[i]);
    }
  }
  return NULL;
}

static void begin(uint32_t lane, double until, void *(*work)(void *)) {
  generations[lane].until = until;
  if (pthread_create(&generations[lane].thread, NULL, work, &lanes[lane]) != 0) fail("pthread_create: %s", strerror(errno));
}

static void server(void) {
  // Ten generations, staggered so that there is no moment in which all threads are new.
  double step = settings.seconds / 10;
  for (uint32_t i = 0; i < settings.threads; i++)
    begin(i, step * (1 + (double)i / (double)settings.threads), serve);
  for (;;) {
    uint32_t next = 0;
    for (uint32_t i = 1; i < settings.threads; i++)
      if (generations[i].until < generations[next].until) next = i;
    if (generations[next].until > settings.seconds) break;
    wait_until(generations[next].until);
    pthread_join(generations[next].thread, NULL);
    begin(next, generations[next].until + step, serve);
  }
  wait_until(settings.seconds);
  for (uint32_t i = 0; i < settings.threads; i++) generations[i].until = 0;
  for (uint32_t i = 0; i < settings.threads; i++) pthread_join(generations[i].thread, NULL);
}

// Rings: one thread allocates, another frees. Of an odd number of threads the last one does nothing.
struct ring {
  _Alignas(64) uint64_t head;
  _Alignas(64) uint64_t tail;
  uint64_t capacity;
  struct slot *slots;
};
static struct ring rings[WL_LANES / 2];

static void rings_prepare(void) {
  set_sizes(settings.least, settings.most);
  uint64_t count = settings.threads / 2;
  for (uint32_t i = 0; i < count; i++) {
    rings[i].capacity = settings.live / count / mean_size() + 16;
    rings[i].slots = own_memory(rings[i].capacity * sizeof *rings[i].slots);
  }
  for (uint32_t i = 0; i < settings.threads; i++) lane_prepare(&lanes[i], i, 0);
}

static void pass(struct lane *lane) {
  if (lane->index / 2 >= settings.threads / 2) return;
  struct ring *ring = &rings[lane->index / 2];
  if (lane->index % 2 == 0) {
    while (!crew_stop()) {
      if (ring->head - wl_load(&ring->tail) == ring->capacity) {
        sched_yield();
        continue;
      }
      if (!allocate(lane, &ring->slots[ring->head % ring->capacity], draw_size(lane))) continue;
      __atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
    }
  } else {
    // Begins to free when the ring is full and goes on until it is nearly empty, so that live bytes swing.
    bool draining = false;
    while (!crew_stop()) {
      uint64_t length = wl_load(&ring->head) - ring->tail;
      if (length == ring->capacity) draining = true;
      if (length <= ring->capacity / 16) draining = false;
      if (!draining) {
        sched_yield();
        continue;
      }
      release(lane, &ring->slots[ring->tail % ring->capacity]);
      __atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_RELEASE);
    }
  }
}

static void handover(void) { crew_run_until(pass, settings.seconds); }

// A pool whose threads work one at a time: what each had at its peak must not add up.
static void pool_prepare(void) {
  set_sizes(settings.least, settings.most);
  size_t capacity = settings.live / mean_size() * 5 / 4 + 1024;
  // One set of books for all: only one thread has blocks at a time.
  lane_prepare(&lanes[0], 0, capacity);
  for (uint32_t i = 1; i < settings.threads; i++) {
    lane_prepare(&lanes[i], i, 0);
    lanes[i].capacity = capacity;
    lanes[i].slots = lanes[0].slots;
  }
}

static void fill_and_free(struct lane *lane) {
  fill(lane, settings.live);
  thin(lane, 0);
}

static void pool(void) {
  uint64_t turns = settings.threads * 2;
  for (uint64_t turn = 0; turn < turns; turn++) {
    wait_until(settings.seconds * (double)turn / (double)turns);
    crew_only((uint32_t)(turn % settings.threads), fill_and_free);
    if (elapsed() > settings.seconds) break;
  }
  wait_until(settings.seconds);
}

// Threads that live for a hundred blocks; ten of them outlive the thread and are freed by a later one.
enum { BRIEF_BLOCKS = 100, LEFT_BEHIND = 10 };

static void *live_briefly(void *argument) {
  struct lane *lane = argument;
  struct slot blocks[BRIEF_BLOCKS];
  for (int i = 0; i < BRIEF_BLOCKS; i++) allocate(lane, &blocks[i], draw_size(lane));
  for (int i = 0; i < BRIEF_BLOCKS; i++) {
    if (i % (BRIEF_BLOCKS / LEFT_BEHIND) != 0) {
      release(lane, &blocks[i]);
      continue;
    }
    if (lane->count < lane->capacity) {
      lane->slots[lane->count++] = blocks[i];
    } else {
      struct slot *old = &lane->slots[draw(lane) % lane->capacity];
      release(lane, old);
      *old = blocks[i];
    }
  }
  return NULL;
}

static void brief_prepare(void) {
  set_sizes(settings.least, settings.most);
  for (uint32_t i = 0; i < settings.threads; i++) lane_prepare(&lanes[i], i, share() / mean_size() + 16);
}

static void brief(void) {
  for (uint32_t i = 0; i < settings.threads; i++) begin(i, 0, live_briefly);
  double published = 0;
  while (elapsed() < settings.seconds) {
    for (uint32_t i = 0; i < settings.threads; i++) {
      pthread_join(generations[i].thread, NULL);
      begin(i, 0, live_briefly);
      page->children++;
    }
    if (elapsed() - published > 0.02) {
      published = elapsed();
      publish();
    }
  }
  for (uint32_t i = 0; i < settings.threads; i++) pthread_join(generations[i].thread, NULL);
}

// Forks while threads allocate. The child allocates, checks, frees, and ends; one that does not is lost.
static void in_child(void) {
  struct lane *lane = &lanes[WL_LANES - 1];
  struct slot blocks[200];
  alarm(10);
  lane->muted = true;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 200; i++)
      if (!allocate(lane, &blocks[i], i % 50 == 0 ? 1u << 20 : draw_size(lane))) _exit(2);
    for (int i = 0; i < 200; i++) {
      if (blocks[i].size >= 8 && blocks[i].block == NULL) _exit(3);
      release(lane, &blocks[i]);
    }
  }
  _exit(0);
}

static void forks_prepare(void) {
  prepare();
  lane_prepare(&lanes[WL_LANES - 1], WL_LANES - 1, 0);
}

static void *keep_churning(void *argument) {
  struct lane *lane = argument;
  fill_share(lane);
  while (elapsed() < settings.seconds)
    for (int i = 0; i < 64; i++) churn(lane);
  return NULL;
}

static void forks(void) {
  for (uint32_t i = 0; i < settings.threads; i++) begin(i, settings.seconds, keep_churning);
  while (elapsed() < settings.seconds) {
    pid_t child = fork();
    if (child == 0) in_child();
    if (child < 0) fail("fork: %s", strerror(errno));
    int status = 0;
    // The child's own alarm ends the wait.
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    page->children++;
    if (status != 0) {
      page->lost++;
      event("child lost");
    }
    publish();
    nanosleep(&(struct timespec){0, 5000000}, NULL);
  }
  for (uint32_t i = 0; i < settings.threads; i++) pthread_join(generations[i].thread, NULL);
}

const struct scenario scenarios[] = {
    {"spike", prepare, spike},
    {"sparse", prepare, sparse},
    {"phases", phases_prepare, phases},
    {"server", prepare, server},
    {"handover", rings_prepare, handover},
    {"pool", pool_prepare, pool},
    {"threads", brief_prepare, brief},
    {"forks", forks_prepare, forks},
    {"offline", hotplug_prepare, offline_run},
    {"cycling", hotplug_prepare, cycling_run},
    {"balloon", balloon_prepare, balloon_run},
    {"limit", limit_prepare, limit_run},
    {"replay", replay_prepare, replay_run},
    {NULL, NULL, NULL},
};
