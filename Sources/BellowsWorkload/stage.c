// Time, threads and memory of the workload program. Nothing here allocates but pthread_create, as in every program.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bellows.h"
#include "workload-program.h"

struct settings settings;
struct wl_page *page;

uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

double elapsed(void) { return (double)(now() - page->start) / 1e9; }

void event(const char *format, ...) {
  uint32_t number = page->events;
  if (number == WL_EVENTS) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(page->event[number].label, WL_LABEL, format, arguments);
  va_end(arguments);
  page->event[number].time = now() - page->start;
  wl_store32(&page->events, number + 1);
}

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(page->message, sizeof page->message, format, arguments);
  va_end(arguments);
  wl_store32(&page->state, WL_FAILED);
  fprintf(stderr, "bellows-workload: %s\n", page->message);
  _exit(3);
}

void *own_memory(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("%zu bytes for the program itself: %s", bytes, strerror(errno));
  // Small pages, whatever the system prefers: the base must be what is used.
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  memset(memory, 0, bytes);
  for (size_t offset = 0; offset < bytes; offset += 4096) ((volatile char *)memory)[offset] = 0;
  page->own += bytes;
  return memory;
}

void lane_prepare(struct lane *lane, uint32_t index, size_t capacity) {
  lane->index = index;
  lane->random = settings.seed * 0xD1342543DE82EF95 + index * 0x2545F4914F6CDD1D + 1;
  lane->capacity = capacity;
  lane->slots = capacity == 0 ? NULL : own_memory(capacity * sizeof *lane->slots);
  lane->figures = &page->lane[index];
  lane->latency = page->latency[index];
  memset(lane->latency, 0, sizeof page->latency[index]);
}

void *offered(const char *name) { return dlsym(RTLD_DEFAULT, name); }

void publish(void) {
  static void (*statistics)(struct bellows_statistics *, size_t);
  static bool looked;
  if (!looked) {
    looked = true;
    *(void **)&statistics = offered("bellows_statistics");
  }
  if (statistics == NULL) return;
  struct bellows_statistics found;
  memset(&found, 0, sizeof found);
  statistics(&found, sizeof found);
  uint64_t values[WL_FIGURES] = {found.reserved,      found.committed, found.memmap,   found.allocated, found.free_resident,
                                 found.huge, found.returned,  found.sections, found.heaps};
  uint64_t number = page->figures_count;
  __atomic_store_n(&page->figures_count, number + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  for (int i = 0; i < WL_FIGURES; i++) __atomic_store_n(&page->figures[i], values[i], __ATOMIC_RELAXED);
  __atomic_store_n(&page->figures_count, number + 2, __ATOMIC_RELEASE);
}

void wait_until(double seconds) {
  for (;;) {
    publish();
    double left = seconds - elapsed();
    if (left <= 0) return;
    struct timespec pause = {0, left > 0.02 ? 20000000 : (long)(left * 1e9)};
    nanosleep(&pause, NULL);
  }
}

// The crew: a job has a number; each thread does it once.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t threads[WL_LANES];
static job *current;
static uint64_t job_number;
static uint32_t at_work, chosen = WL_LANES;
static uint32_t stop;

static void *follow(void *argument) {
  struct lane *lane = argument;
  uint64_t done = 0;
  for (;;) {
    pthread_mutex_lock(&lock);
    while (job_number == done) pthread_cond_wait(&changed, &lock);
    done = job_number;
    job *work = current;
    bool mine = chosen == WL_LANES || chosen == lane->index;
    pthread_mutex_unlock(&lock);
    if (mine) work(lane);
    pthread_mutex_lock(&lock);
    if (--at_work == 0) pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

void crew_start(void) {
  for (uint64_t i = 0; i < settings.threads; i++) {
    // With one thread the main thread does the work: a program without threads is what is asked for.
    if (settings.threads == 1) return;
    if (pthread_create(&threads[i], NULL, follow, &lanes[i]) != 0) fail("pthread_create: %s", strerror(errno));
  }
}

static void give(job *work, uint32_t to) {
  pthread_mutex_lock(&lock);
  current = work;
  chosen = to;
  at_work = (uint32_t)settings.threads;
  job_number++;
  wl_store32(&stop, 0);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void crew_begin(job *work) {
  if (settings.threads > 1) return give(work, WL_LANES);
  wl_store32(&stop, 0);
  current = work;
}

static void crew_wait(void) {
  if (settings.threads == 1) return current(&lanes[0]);
  pthread_mutex_lock(&lock);
  while (at_work > 0) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&changed, &lock, &until);
    pthread_mutex_unlock(&lock);
    publish();
    pthread_mutex_lock(&lock);
  }
  pthread_mutex_unlock(&lock);
}

// Where the main thread does the work it looks at the clock itself.
static double stop_at;

bool crew_stop(void) {
  if (settings.threads > 1) return wl_load32(&stop) != 0;
  static double published;
  double time = elapsed();
  if (time - published > 0.02) {
    published = time;
    publish();
  }
  return time >= stop_at;
}

static void crew_halt(void) {
  wl_store32(&stop, 1);
  crew_wait();
}

void crew_run_until(job *work, double seconds) {
  stop_at = seconds;
  crew_begin(work);
  if (settings.threads > 1) wait_until(seconds);
  crew_halt();
}

void crew_do(job *work) {
  crew_begin(work);
  crew_wait();
}

void crew_only(uint32_t lane, job *work) {
  if (settings.threads == 1) return work(&lanes[0]);
  give(work, lane);
  crew_wait();
}
