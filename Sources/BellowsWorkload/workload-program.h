// The workload program: does what a scenario says with malloc and free, and measures nothing from inside that can be
// measured from outside. It must not distort what it shows, so:
//
// - its own memory is mapped and touched before the start, and the tool takes that as the base;
// - it writes to every page of every block, or live bytes would not be resident;
// - counting is two stores to the thread's own cache lines; one operation in eight reads the clock;
// - every block carries a mark at both ends that is checked when it is freed (--verify: in all its words).
#ifndef WORKLOAD_PROGRAM_H
#define WORKLOAD_PROGRAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workload.h"

struct settings {
  const char *scenario;
  uint64_t seed, threads, live, least, most, survivors, verify, limit;
  double seconds;
  const char *trace;
};
extern struct settings settings;
extern struct wl_page *page;

// A block in the program's own books.
struct slot {
  char *block;
  size_t size;
};

// A thread's place: random numbers, books, counters.
struct lane {
  uint64_t random;
  uint32_t index;
  bool muted; // in a forked child: the counters are the parent's
  size_t count, capacity;
  size_t kept; // the first ones, which churn leaves alone
  struct slot *slots;
  struct wl_lane *figures;
  uint64_t *latency;
  void *private;
} __attribute__((aligned(64)));
extern struct lane lanes[WL_LANES];

// lane.c: operations
uint64_t draw(struct lane *lane);
size_t draw_size(struct lane *lane);
void set_sizes(uint64_t least, uint64_t most);
uint64_t mean_size(void);
bool allocate(struct lane *lane, struct slot *slot, size_t size);
bool allocate_aligned(struct lane *lane, struct slot *slot, size_t size, size_t alignment);
void release(struct lane *lane, struct slot *slot);
bool reallocate(struct lane *lane, struct slot *slot, size_t size);
void fill(struct lane *lane, size_t bytes);          // allocates until the lane has so many live bytes
void thin(struct lane *lane, uint64_t percent_kept); // frees at random until so many of a hundred are left
void churn(struct lane *lane);                       // frees one at random and allocates another
size_t lane_bytes(const struct lane *lane);          // of its slots

// stage.c: time, threads, memory
uint64_t now(void);
double elapsed(void); // seconds since the start
void event(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *own_memory(size_t bytes); // mapped and touched
void lane_prepare(struct lane *lane, uint32_t index, size_t capacity);
void wait_until(double seconds); // of the scenario; publishes Bellows' counters meanwhile
void publish(void);              // Bellows' counters, where there are any
void *offered(const char *name); // a function of the allocator, or NULL

// A crew: threads that all do one job at a time, as long as it has not been told otherwise.
typedef void job(struct lane *lane);
void crew_start(void);
bool crew_stop(void);                           // for jobs that go on: whether to end
void crew_do(job *work);                        // all do it once
void crew_only(uint32_t lane, job *work);       // one does it once
void crew_run_until(job *work, double seconds); // all do it until they are told to stop

// scenarios.c and others
struct scenario {
  const char *name;
  void (*prepare)(void); // before the base is taken
  void (*run)(void);
};
extern const struct scenario scenarios[];
void prepare(void);
job fill_share, keep_survivors, churn_on, churn_gently;
void hotplug_prepare(void);
void offline_run(void);
void cycling_run(void);
void balloon_prepare(void);
void balloon_run(void);
void limit_prepare(void);
void limit_run(void);
void replay_prepare(void);
void replay_run(void);

#endif
