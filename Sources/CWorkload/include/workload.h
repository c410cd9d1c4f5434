// What the tool and the workload program share: one mapping of a file in memory. The program writes, the tool reads;
// only `state` is written by both. A word has one writer and is stored and loaded whole; nothing else is promised, so
// a sum over lanes may be a moment out of step.
#ifndef BELLOWS_WORKLOAD_H
#define BELLOWS_WORKLOAD_H

#include <stdint.h>

enum {
  WL_VERSION = 1,
  WL_LANES = 64,   // threads that do operations, at most
  WL_EVENTS = 256, // what is marked in charts
  // Latencies in nanoseconds: exact below 256, then 128 buckets for each doubling, up to 18 minutes.
  WL_EXACT = 256,
  WL_STEPS = 128,
  WL_DOUBLINGS = 32,
  WL_BUCKETS = WL_EXACT + WL_DOUBLINGS * WL_STEPS,
  WL_LABEL = 48,
  WL_FIGURES = 9,
};

enum wl_progress {
  WL_STARTING = 0,
  WL_READY = 1,    // own memory is touched, nothing allocated: the tool takes its base
  WL_GO = 2,       // set by the tool
  WL_FINISHED = 3, // the scenario is over, what lives still lives
  WL_RELEASED = 4, // set by the tool: end
  WL_FAILED = 5,   // `message` says why
};

// Whether the allocator has what the scenario needs.
enum wl_missing_kind {
  WL_OFFERED = 0,
  WL_MISSING = 1,  // no: the load ran without it
  WL_REPLACED = 2, // no: something of the system's stood in, as the scenario says
};

// What one thread did. On cache lines of its own: it is written with every operation.
struct wl_lane {
  uint64_t operations;
  uint64_t allocated; // bytes asked for, a running sum
  uint64_t freed;     // bytes of these given back, by whichever thread
  uint64_t refused;   // times that malloc returned NULL
  uint64_t damaged;   // blocks whose contents had changed
  uint64_t longest;   // nanoseconds, of those measured
  uint64_t unused[10];
};

struct wl_event {
  uint64_t time; // nanoseconds since `start`
  char label[WL_LABEL];
};

struct wl_page {
  uint32_t version;
  uint32_t state;
  uint64_t size;       // of this structure
  uint64_t start;      // CLOCK_MONOTONIC at the start of the scenario, nanoseconds
  uint64_t own;        // bytes of memory that the program itself uses and has touched
  uint64_t clock_cost; // nanoseconds that one reading of the clock takes; in every latency
  uint64_t children;   // forked
  uint64_t lost;       // children that hung or died
  uint32_t events;
  uint32_t missing;    // enum wl_missing_kind
  char message[160];
  // Bellows' own counters in the order of struct bellows_statistics; `figures_count` is odd while they are written.
  uint64_t figures_count;
  uint64_t figures[WL_FIGURES];
  struct wl_event event[WL_EVENTS];
  struct wl_lane lane[WL_LANES] __attribute__((aligned(64)));
  uint64_t latency[WL_LANES][WL_BUCKETS] __attribute__((aligned(64)));
};

static inline uint64_t wl_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint32_t wl_load32(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void wl_store32(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

// What the tool reads. Swift takes no structure of this size apart, so each part has a function.
static inline uint64_t wl_size(void) { return sizeof(struct wl_page); }
static inline uint32_t wl_state(const struct wl_page *page) { return wl_load32(&page->state); }
static inline void wl_set_state(struct wl_page *page, uint32_t state) { wl_store32(&page->state, state); }
static inline uint64_t wl_start(const struct wl_page *page) { return wl_load(&page->start); }
static inline uint64_t wl_own(const struct wl_page *page) { return wl_load(&page->own); }
static inline uint64_t wl_clock_cost(const struct wl_page *page) { return wl_load(&page->clock_cost); }
static inline uint64_t wl_children(const struct wl_page *page) { return wl_load(&page->children); }
static inline uint64_t wl_lost(const struct wl_page *page) { return wl_load(&page->lost); }
// The sums of all lanes; of `longest` the longest. What is freed is read first: what is allocated meanwhile makes live
// bytes a little too many, and never less than none.
static inline struct wl_lane wl_sum(const struct wl_page *page) {
  struct wl_lane sum = {0};
  for (int i = 0; i < WL_LANES; i++) sum.freed += wl_load(&page->lane[i].freed);
  for (int i = 0; i < WL_LANES; i++) {
    const struct wl_lane *lane = &page->lane[i];
    sum.allocated += wl_load(&lane->allocated);
    sum.operations += wl_load(&lane->operations);
    sum.refused += wl_load(&lane->refused);
    sum.damaged += wl_load(&lane->damaged);
    uint64_t longest = wl_load(&lane->longest);
    if (longest > sum.longest) sum.longest = longest;
  }
  return sum;
}
static inline int wl_lane_used(const struct wl_page *page, int lane) {
  return wl_load(&page->lane[lane].operations) != 0;
}
static inline uint64_t wl_latency_at(const struct wl_page *page, int lane, int bucket) {
  return wl_load(&page->latency[lane][bucket]);
}
static inline uint32_t wl_missing(const struct wl_page *page) { return wl_load32(&page->missing); }
static inline uint32_t wl_events(const struct wl_page *page) { return wl_load32(&page->events); }
static inline uint64_t wl_event_time(const struct wl_page *page, int event) { return page->event[event].time; }
static inline const char *wl_event_label(const struct wl_page *page, int event) { return page->event[event].label; }
static inline const char *wl_message(const struct wl_page *page) { return page->message; }

// Copies Bellows' own counters; 0 where there are none, or where they were being written.
static inline int wl_figures(const struct wl_page *page, uint64_t *to) {
  uint64_t before = wl_load(&page->figures_count);
  if (before == 0 || before % 2 != 0) return 0;
  for (int i = 0; i < WL_FIGURES; i++) to[i] = wl_load(&page->figures[i]);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return wl_load(&page->figures_count) == before;
}

static inline int wl_bucket(uint64_t nanoseconds) {
  if (nanoseconds < WL_EXACT) return (int)nanoseconds;
  int power = 63 - __builtin_clzll(nanoseconds);
  int bucket = WL_EXACT + (power - 8) * WL_STEPS + (int)(nanoseconds >> (power - 7) & (WL_STEPS - 1));
  return bucket < WL_BUCKETS ? bucket : WL_BUCKETS - 1;
}

// The least latency that falls into a bucket.
static inline uint64_t wl_bucket_start(int bucket) {
  if (bucket < WL_EXACT) return (uint64_t)bucket;
  int power = (bucket - WL_EXACT) / WL_STEPS + 8;
  return (uint64_t)(WL_STEPS + (bucket - WL_EXACT) % WL_STEPS) << (power - 7);
}

// One operation of a replay, 24 bytes. The file has a header, then for each lane its operations in order.
enum wl_operation { WL_ALLOCATE = 0, WL_FREE = 1, WL_REALLOCATE = 2, WL_ALLOCATE_ALIGNED = 3 };
enum { WL_ALIGNMENT_SHIFT = 56 }; // in size_kind
enum { WL_REPLAY_MAGIC = 0x52574c42 }; // "BLWR"

struct wl_replay_header {
  uint32_t magic;
  uint32_t lanes;
  uint64_t slots;           // blocks that live at one time, at most
  uint64_t duration;        // nanoseconds of the recording
  uint64_t first[WL_LANES]; // number of operations before this lane's
  uint64_t count[WL_LANES];
};

struct wl_replay_step {
  uint64_t time;             // nanoseconds since the start of the recording
  uint64_t size_kind;        // size * 4 + operation; in the highest byte the alignment as a power of two, or 0
  uint32_t slot;
  uint32_t turn;             // of the slot: the step waits until the slot has had so many steps
};

#endif
