// Sections of the process heap go offline and come back under a program that goes on: malloc returns nothing that is
// out of circulation, nothing is lost, and what is freed there leaves.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "bellows.h"
#include "check.h"

static __typeof__(bellows_offline) *offline;
static __typeof__(bellows_offline_section) *offline_section;
static __typeof__(bellows_online) *online;
static __typeof__(bellows_online_section) *online_section;
static __typeof__(bellows_is_caged) *is_caged;
static __typeof__(bellows_should_move) *should_move;
static __typeof__(bellows_listen) *listen_to;
static __typeof__(bellows_unlisten) *unlisten;
static __typeof__(bellows_statistics) *statistics;
static __typeof__(bellows_limit) *limit;

static void find_functions(void) {
#define FIND(variable, name) CHECK((variable = (__typeof__(variable))dlsym(RTLD_DEFAULT, name)) != NULL, name)
  FIND(offline, "bellows_offline");
  FIND(offline_section, "bellows_offline_section");
  FIND(online, "bellows_online");
  FIND(online_section, "bellows_online_section");
  FIND(is_caged, "bellows_is_caged");
  FIND(should_move, "bellows_should_move");
  FIND(listen_to, "bellows_listen");
  FIND(unlisten, "bellows_unlisten");
  FIND(statistics, "bellows_statistics");
  FIND(limit, "bellows_limit");
}

enum { SECTION_SHIFT = 27 };
#define SECTION ((size_t)1 << SECTION_SHIFT)
static uintptr_t section_of(const void *pointer) { return (uintptr_t)pointer >> SECTION_SHIFT; }

static void print_report(int error, const struct bellows_offline_report *report) {
  printf("errno %d: taken %zu KiB, left %zu KiB, returned %zu KiB, %u sections, %u partial, %u pageblocks, %u passes\n",
         error, report->taken / KIB, report->left / KIB, report->returned / KIB, report->sections, report->partial,
         report->pageblocks, report->passes);
  for (uint32_t i = 0; i < report->blocker_count; i++)
    printf("  kind %u, detail %zu: %zu, %zu KiB\n", report->blockers[i].kind, report->blockers[i].detail,
           report->blockers[i].count, report->blockers[i].bytes / KIB);
}

static size_t blockers(const struct bellows_offline_report *report, uint32_t kind) {
  size_t count = 0;
  for (uint32_t i = 0; i < report->blocker_count; i++)
    if (report->blockers[i].kind == kind) count += report->blockers[i].count;
  return count;
}

// ---- One thread ---------------------------------------------------------------------------------------

struct object {
  void *block;
  size_t size;
};
static struct object *objects;
static size_t object_count;

// Objects of 16 to 4096 bytes, about `bytes` bytes of them; the table itself is not the allocator's.
static void make_objects(size_t bytes) {
  uint64_t random = 88172645463325252ull;
  objects = own_memory(bytes / 64 * sizeof *objects);
  for (size_t sum = 0; sum < bytes; object_count++) {
    struct object *object = &objects[object_count];
    object->size = 16 + (size_t)(next_random(&random) % 4081);
    object->block = malloc(object->size);
    CHECK(object->block != NULL);
    pattern_write(object->block, object->size, object_count);
    sum += object->size;
  }
}

static void free_object(size_t i) {
  pattern_check(objects[i].block, objects[i].size, i);
  free(objects[i].block);
  objects[i].block = NULL;
}

// freed MIB KEEP: objects of MIB in all, of which one in KEEP stays. The sections that they lie in go; the memory that
// is left is near what the survivors take; all blocks allocated afterwards lie elsewhere; survivors are intact, and
// when they are freed their sections are empty and go.
static void freed(int argc, char **argv) {
  size_t bytes = (size_t)number_at(argc, argv, 0, 300) * MIB, keep = (size_t)number_at(argc, argv, 1, 1000);
  long base = resident_kib();
  make_objects(bytes);
  long full = resident_kib();
  size_t live = 0;
  for (size_t i = 0; i < object_count; i++)
    if (i % keep != 0) free_object(i);
    else live += objects[i].size;
  struct bellows_offline_report report;
  int error = offline(bytes, 0, 0, NULL, &report, sizeof report);
  long left = resident_kib();
  print_report(error, &report);
  printf("resident %ld, %ld, %ld KiB; live %zu KiB\n", base, full, left, live / KIB);
  CHECK(error == EBUSY && report.sections + report.partial == (bytes + SECTION - 1) / SECTION);
  CHECK(blockers(&report, BELLOWS_BLOCKER_BLOCKS) >= object_count / keep);
  // At most two pages for each survivor, the memmaps, the table of objects, and what was there before.
  long memmaps = (long)(report.sections + report.partial) * 2048;
  CHECK(left - base < (long)(object_count / keep) * 8 + memmaps + 2048 + (long)(object_count * sizeof *objects / KIB));
  size_t moving = 0;
  for (size_t i = 0; i < object_count; i += keep) moving += should_move(objects[i].block) == 1;
  CHECK(moving > 0);
  void **others = own_memory(100000 * sizeof *others);
  for (size_t i = 0; i < 100000; i++) {
    others[i] = malloc(i % 3000);
    CHECK(!should_move(others[i]) && !is_caged(others[i]), "%zu", i);
  }
  for (size_t i = 0; i < object_count; i += keep) free_object(i);
  error = offline(0, 1000, 0, NULL, &report, sizeof report);
  print_report(error, &report);
  CHECK(error == 0 && report.left == 0);
  struct bellows_statistics now;
  statistics(&now, sizeof now);
  for (size_t i = 0; i < 100000; i++) free(others[i]);
  CHECK(online(bytes) == 0);
  CHECK(online(1) == ENOMEM);
  // All of it is in use again.
  object_count = 0;
  make_objects(bytes);
  for (size_t i = 0; i < object_count; i++) free_object(i);
}

// ---- Four threads -------------------------------------------------------------------------------------

enum { WORKERS = 4, SLOTS = 4000, SECTIONS = 64 };
static _Atomic(unsigned) generation;  // odd: being changed
static _Atomic(uintptr_t) away[SECTIONS];
static atomic_bool stop;
static atomic_size_t checks, offlines, wholes;

static bool lies_away(const void *pointer) {
  for (int i = 0; i < SECTIONS; i++)
    if (atomic_load_explicit(&away[i], memory_order_relaxed) == section_of(pointer)) return true;
  return false;
}

// From the moment when an offline has returned until the next one or an online begins, no malloc that began in
// between returns an address there.
static void *checked_malloc(size_t size) {
  unsigned before = atomic_load(&generation);
  void *block = malloc(size);
  CHECK(block != NULL);
  bool is_away = lies_away(block);
  atomic_thread_fence(memory_order_acquire);
  if (before % 2 == 0 && atomic_load(&generation) == before) {
    CHECK(!is_away, "block %p of %zu bytes is out of circulation", block, size);
    atomic_fetch_add_explicit(&checks, 1, memory_order_relaxed);
  }
  return block;
}

struct slot {
  void *block;
  size_t size;
  uint64_t seed;
};
static struct slot shared[500];
static pthread_mutex_t exchange = PTHREAD_MUTEX_INITIALIZER;

static void drop(struct slot *slot) {
  if (slot->block == NULL) return;
  pattern_check(slot->block, slot->size, slot->seed);
  free(slot->block);
  slot->block = NULL;
}

static void *worker(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 7919 + 3;
  struct slot *slots = own_memory(SLOTS * sizeof *slots);
  for (size_t step = 0; !atomic_load_explicit(&stop, memory_order_relaxed); step++) {
    // The number of live blocks swings, so that sections become empty now and then.
    size_t range = step >> 14 & 1 ? SLOTS / 50 : SLOTS;
    if (step % (1 << 14) == 0)
      for (size_t i = range; i < SLOTS; i++) drop(&slots[i]);
    struct slot *slot = &slots[next_random(&random) % range];
    if (slot->block != NULL && next_random(&random) % 4 == 0) {
      size_t size = log_uniform(&random, 17);
      pattern_check(slot->block, slot->size, slot->seed);
      slot->block = realloc(slot->block, size);
      CHECK(slot->block != NULL);
      pattern_check_kept(slot->block, slot->size, size, slot->seed);
      slot->size = size;
    } else {
      drop(slot);
      slot->size = log_uniform(&random, next_random(&random) % 32 == 0 ? 21 : 15);
      slot->block = checked_malloc(slot->size);
    }
    slot->seed = next_random(&random);
    pattern_write(slot->block, slot->size, slot->seed);
    if (step % 16 == 0) {
      pthread_mutex_lock(&exchange);
      struct slot *other = &shared[next_random(&random) % COUNT(shared)], kept = *other;
      *other = *slot, *slot = kept;
      pthread_mutex_unlock(&exchange);
    }
    // Threads sleep, too: some are acknowledged for.
    if (next_random(&random) % 20000 == 0) usleep(2000);
  }
  for (size_t i = 0; i < SLOTS; i++) drop(&slots[i]);
  munmap(slots, SLOTS * sizeof *slots);
  return NULL;
}

static void *short_worker(void *unused) {
  (void)unused;
  void *blocks[200];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = checked_malloc(i * 10);
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  return NULL;
}

static void begin_change(void) { atomic_fetch_add(&generation, 1); }
static void end_change(void) { atomic_fetch_add(&generation, 1); }

static void child(uint64_t *random) {
  // In a child: allocate, free what was inherited, take sections offline there.
  void *blocks[500];
  for (size_t i = 0; i < COUNT(blocks); i++) CHECK((blocks[i] = malloc(i * 7)) != NULL);
  struct bellows_offline_report report;
  int error = offline(SECTION, 20, 0, NULL, &report, sizeof report);
  CHECK(error == 0 || error == EBUSY, "%d", error);
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  for (size_t i = 0; i < COUNT(shared); i++)
    if (next_random(random) % 2) drop(&shared[i]);
  _exit(0);
}

// race SECONDS [SEED]: four threads allocate, free and hand over, short ones come and go, children are forked, while
// sections go offline and come back.
static void race(int argc, char **argv) {
  double end = seconds() + (double)number_at(argc, argv, 0, 5);
  uint64_t random = (uint64_t)number_at(argc, argv, 1, time(NULL)) * 2 + 1;
  printf("seed %llu\n", (unsigned long long)random / 2);
  pthread_t threads[WORKERS];
  for (uintptr_t i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
  struct bellows_offline_report report;
  size_t forks = 0, threads_named = 0;
  // However little of the machine it gets, it is to have seen something.
  while (seconds() < end || checks == 0) {
    unsigned flags = (unsigned)(next_random(&random) % 3);
    struct slot *some = &shared[next_random(&random) % COUNT(shared)];
    pthread_mutex_lock(&exchange);
    const void *place = some->block;
    pthread_mutex_unlock(&exchange);
    begin_change();
    for (int i = 0; i < SECTIONS; i++) atomic_store(&away[i], 0);
    int error;
    if (next_random(&random) % 2 && place != NULL)
      error = offline_section(place, 200, flags, NULL, &report, sizeof report);
    else
      error = offline(SECTION * (1 + next_random(&random) % 2), 200, flags, NULL, &report, sizeof report);
    CHECK(error == 0 || error == EBUSY || error == EINVAL, "%d", error);
    atomic_fetch_add(&offlines, 1);
    if (error == 0) atomic_fetch_add(&wholes, 1);
    threads_named += blockers(&report, BELLOWS_BLOCKER_THREAD);
    // Whose section went, or is on its way with every thread's acknowledgement.
    if (error == 0 && place != NULL && is_caged(place)) atomic_store(&away[0], section_of(place));
    else if (error == EBUSY && flags == 0 && place != NULL && should_move(place) &&
             blockers(&report, BELLOWS_BLOCKER_THREAD) == 0)
      atomic_store(&away[0], section_of(place));
    end_change();
    pthread_t extra;
    CHECK(pthread_create(&extra, NULL, short_worker, NULL) == 0);
    usleep((useconds_t)(next_random(&random) % 20000));
    pthread_join(extra, NULL);
    if (next_random(&random) % 8 == 0) {
      pthread_mutex_lock(&exchange);
      pid_t process = fork();
      if (process == 0) child(&random);
      pthread_mutex_unlock(&exchange);
      int status;
      CHECK(waitpid(process, &status, 0) == process, "%d", errno);
      // A child that failed a check has said which.
      CHECK(status == 0, "a child ended with %s %d",
            WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
      forks++;
    }
    if (next_random(&random) % 3 == 0) {
      begin_change();
      for (int i = 0; i < SECTIONS; i++) atomic_store(&away[i], 0);
      while (online(SECTION) == 0) continue;
      end_change();
    }
  }
  atomic_store(&stop, true);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < COUNT(shared); i++) drop(&shared[i]);
  printf("%zu offlines, %zu of them whole, %zu checks, %zu forks, %zu threads named\n", offlines, wholes, checks, forks,
         threads_named);
  CHECK(offlines > 0);
  // All is freed: what is left of all sections is what the C library keeps.
  struct bellows_statistics now;
  statistics(&now, sizeof now);
  int error = offline(now.sections * SECTION, 2000, 0, NULL, &report, sizeof report);
  CHECK(error == 0 || report.left < 4 * MIB, "%d: %zu bytes left", error, report.left);
  while (online(SECTION) == 0) continue;
}

// ---- Who is named, and who is acknowledged for -----------------------------------------------------------

static atomic_int phase;
static _Atomic(pid_t) spinner_thread;

static void *spinner(void *block) {
  // It has a heap with a shard of its own, and then calls nothing.
  *(void **)block = malloc(900);
  atomic_store(&spinner_thread, gettid());
  while (atomic_load(&phase) == 0) continue;
  free(*(void **)block);
  // From here on it uses its lists alone.
  while (atomic_load(&phase) == 1) free(laundered(malloc(64)));
  return NULL;
}

static int pipe_ends[2];
static void *sleeper(void *block) {
  *(void **)block = malloc(300);
  for (int i = 0; i < 50; i++) free(laundered(malloc(300)));
  char byte;
  CHECK(read(pipe_ends[0], &byte, 1) == 1);
  free(*(void **)block);
  return NULL;
}

static int veto;
static int events[4];
static int listener(void *context, int event, void *start, size_t bytes) {
  CHECK(context == &veto && (uintptr_t)start % (2 * MIB) == 0 && bytes == SECTION - 2 * MIB);
  events[event]++;
  void *block = malloc(1000);
  CHECK(block != NULL && !is_caged(block));
  free(block);
  CHECK(offline(0, 0, 0, NULL, NULL, 0) == EDEADLK && online(SECTION) == EDEADLK);
  return event == BELLOWS_GOING_OFFLINE ? veto : 0;
}

static size_t count_of(const struct bellows_offline_report *report, uint32_t kind, size_t detail) {
  for (uint32_t i = 0; i < report->blocker_count; i++)
    if (report->blockers[i].kind == kind && report->blockers[i].detail == detail) return report->blockers[i].count;
  return 0;
}

// blockers: what holds the section is named; a thread that is blocked is acknowledged for, one that runs is named
// until it comes by, and the first one is there on the next allocation.
static void planted(int argc, char **argv) {
  (void)argc, (void)argv;
  void *small[3], *run = malloc(100000), *spinners_block = NULL, *sleepers_block = NULL;
  for (int i = 0; i < 3; i++) small[i] = malloc(5000);
  CHECK(pipe(pipe_ends) == 0);
  pthread_t threads[2];
  pthread_create(&threads[0], NULL, spinner, &spinners_block);
  pthread_create(&threads[1], NULL, sleeper, &sleepers_block);
  while (atomic_load(&spinner_thread) == 0 || *(void *volatile *)&sleepers_block == NULL) usleep(1000);
  usleep(20000);
  CHECK(section_of(run) == section_of(spinners_block) && section_of(run) == section_of(sleepers_block));
  size_t before = is_caged(run);
  CHECK(before == 0 && should_move(run) == 0 && should_move(NULL) == 0 && should_move(&phase) == 0);
  struct bellows_offline_report report;
  // A listener objects.
  CHECK(listen_to(listener, &veto) == 0);
  veto = EPERM;
  CHECK(offline_section(run, 0, 0, NULL, &report, sizeof report) == EPERM);
  CHECK(count_of(&report, BELLOWS_BLOCKER_VETOED, EPERM) == 1);
  CHECK(count_of(&report, BELLOWS_BLOCKER_BLOCKS, 5120) == 3, "what else is there is named, too");
  CHECK(count_of(&report, BELLOWS_BLOCKER_RUNS, 0) == 1);
  CHECK(events[BELLOWS_GOING_OFFLINE] == 1 && events[BELLOWS_CANCEL_OFFLINE] == 1 && !should_move(run));
  veto = 0;
  int error = offline_section(run, 50, 0, NULL, &report, sizeof report);
  print_report(error, &report);
  CHECK(error == EBUSY && should_move(run) == 1 && is_caged(run) == 1);
  CHECK(count_of(&report, BELLOWS_BLOCKER_BLOCKS, 5120) == 3);
  CHECK(count_of(&report, BELLOWS_BLOCKER_BLOCKS, 320) >= 1, "the sleeper was acknowledged for");
  CHECK(count_of(&report, BELLOWS_BLOCKER_RUNS, 0) == 1);
  // Where every free is checked, no thread is on its own.
  bool is_checking = getenv("BELLOWS_CHECK") != NULL;
  CHECK((count_of(&report, BELLOWS_BLOCKER_THREAD, (size_t)spinner_thread) >= 1) == !is_checking);
  CHECK((count_of(&report, BELLOWS_BLOCKER_BLOCKS, 1024) >= 1) == is_checking);
  // realloc to what it is moves a block; then there is nothing of ours in the section.
  for (int i = 0; i < 3; i++) {
    small[i] = realloc(small[i], 5000);
    CHECK(!should_move(small[i]));
  }
  run = realloc(run, 100000);
  CHECK(!should_move(run));
  atomic_store(&phase, 1);
  CHECK(write(pipe_ends[1], "x", 1) == 1);
  pthread_join(threads[1], NULL);
  error = offline(0, 200, 0, NULL, &report, sizeof report);
  print_report(error, &report);
  CHECK(blockers(&report, BELLOWS_BLOCKER_THREAD) == 0, "a thread on its hit paths comes by");
  CHECK(count_of(&report, BELLOWS_BLOCKER_BLOCKS, 5120) == 0 && count_of(&report, BELLOWS_BLOCKER_RUNS, 0) == 0);
  atomic_store(&phase, 2);
  pthread_join(threads[0], NULL);
  CHECK(online(SECTION) == 0 && unlisten(listener, &veto) == 0 && unlisten(listener, &veto) == EINVAL);
  for (int i = 0; i < 3; i++) free(small[i]);
  free(run);
}

// ---- A block that is on its way out of malloc ------------------------------------------------------------

static atomic_bool is_called;
static int doors[4];
static void *wait_at_door(void *unused) {
  char byte;
  CHECK(read(doors[2], &byte, 1) == 1);
  return unused;
}
static void called(void *context, int which, size_t held) {
  (void)context, (void)which, (void)held;
  if (atomic_exchange(&is_called, true)) return; // crossed again
  char byte;
  CHECK(read(doors[0], &byte, 1) == 1);
}

struct request {
  char function;
  size_t size;
};

static void *requested(const struct request *request) {
  switch (request->function) {
    case 'm': return malloc(request->size);
    case 'c': return calloc(1, request->size);
    case 'a': return aligned_alloc(64, request->size);
    default: return realloc(malloc(16), request->size);
  }
}

static void *caller(void *argument) {
  void **chain = NULL;
  while (!atomic_load(&is_called)) {
    void **block = requested(argument);
    CHECK(block != NULL);
    CHECK(!atomic_load(&is_called) || !is_caged(block), "the block that was in hand when the section went");
    *block = chain, chain = block;
  }
  for (int i = 0; i < 1000; i++) {
    void **block = requested(argument);
    CHECK(block != NULL && !is_caged(block));
    *block = chain, chain = block;
  }
  while (chain != NULL) {
    void **next = *chain;
    free(chain), chain = next;
  }
  return NULL;
}

// What a slow path does beside may block: it calls the program's function here. The thread is acknowledged for then, and the
// block that it has in hand lies in the section.
static void inhand(int argc, char **argv) {
  (void)argc, (void)argv;
  static const struct request requests[] = {{'m', 3000}, {'m', 100000}, {'c', 3000}, {'c', 100000},
                                            {'a', 3008}, {'a', 100032}, {'r', 3000}, {'r', 100000}};
  CHECK(pipe(doors) == 0 && pipe(doors + 2) == 0);
  // The stack of a program's first thread may end at a readable mapping, so that it cannot be told from it.
  pthread_t bystander;
  CHECK(pthread_create(&bystander, NULL, wait_at_door, NULL) == 0);
  void *mark = malloc(5000);
  for (size_t i = 0; i < COUNT(requests); i++) {
    atomic_store(&is_called, false);
    struct bellows_statistics now;
    statistics(&now, sizeof now);
    CHECK(limit(now.held + 3 * MIB, 0, called, NULL) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, caller, (void *)(uintptr_t)&requests[i]) == 0);
    while (!atomic_load(&is_called)) usleep(1000);
    usleep(10000);
    struct bellows_offline_report report;
    CHECK(offline_section(mark, 20, 0, NULL, &report, sizeof report) == EBUSY);
    CHECK(blockers(&report, BELLOWS_BLOCKER_THREAD) == 0, "it was acknowledged for");
    CHECK(write(doors[1], "x", 1) == 1);
    pthread_join(thread, NULL);
    CHECK(online_section(mark) == 0 && limit(0, 0, NULL, NULL) == 0);
  }
  free(mark);
  CHECK(write(doors[3], "x", 1) == 1 && pthread_join(bystander, NULL) == 0);
}

// ---- Seizures -------------------------------------------------------------------------------------------

static void nap(int number) {
  (void)number;
  struct timespec time = {0, 300000};
  nanosleep(&time, NULL);
}

static void *seized_worker(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 6007 + 1;
  enum { MINE = 64 };
  struct slot slots[MINE] = {0};
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    for (size_t i = next_random(&random) % 30; i > 0; i--) {
      struct slot *slot = &slots[next_random(&random) % MINE];
      drop(slot);
      slot->size = log_uniform(&random, 12), slot->seed = next_random(&random);
      slot->block = checked_malloc(slot->size);
      pattern_write(slot->block, slot->size, slot->seed);
    }
    switch (next_random(&random) % 4) {
      case 0:
      case 1:
      case 2: usleep((useconds_t)(next_random(&random) % 4000)); break;
      default: {
        pthread_mutex_lock(&exchange);
        struct slot *mine = &slots[next_random(&random) % MINE], *other = &shared[next_random(&random) % COUNT(shared)];
        struct slot kept = *other;
        *other = *mine, *mine = kept;
        pthread_mutex_unlock(&exchange);
      }
    }
  }
  for (int i = 0; i < MINE; i++) drop(&slots[i]);
  return NULL;
}

// seizures SECONDS [signals]: threads work and block by turns while a section goes and comes as fast as it can, so
// that every few microseconds some thread's heap is taken from it. With signals, a handler blocks where it
// interrupted.
static void seizures(int argc, char **argv) {
  double end = seconds() + (double)number_at(argc, argv, 0, 5);
  if (argc > 1) signal(SIGUSR1, nap);
  pthread_t threads[12];
  for (uintptr_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, seized_worker, (void *)(i + 1));
  uint64_t random = 977;
  size_t rounds = 0;
  while (seconds() < end) {
    void *place = malloc(100);
    begin_change();
    struct bellows_offline_report report;
    int error = offline_section(place, 0, 0, NULL, &report, sizeof report);
    CHECK(error == EBUSY, "%d", error);
    if (blockers(&report, BELLOWS_BLOCKER_THREAD) == 0) atomic_store(&away[0], section_of(place));
    end_change();
    if (argc > 1) pthread_kill(threads[next_random(&random) % COUNT(threads)], SIGUSR1);
    rounds++;
    begin_change();
    atomic_store(&away[0], 0);
    CHECK(online_section(place) == 0);
    end_change();
    free(place);
  }
  atomic_store(&stop, true);
  for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < COUNT(shared); i++) drop(&shared[i]);
  struct bellows_statistics now;
  statistics(&now, sizeof now);
  printf("%zu rounds, %zu seizures, %zu checks\n", rounds, now.seizures, checks);
  CHECK(now.seizures > 0);
}

// More blocks of each size than a thread's list has room for, so that most frees go on to their shards.
static void *overflowing_worker(void *unused) {
  (void)unused;
  enum { MANY = 600, LARGEST = 32768 };
  static _Thread_local void *blocks[MANY];
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    for (size_t size = 16; size <= LARGEST; size += size / 4) {
      size_t count = size <= 2048 ? MANY : MANY / 4;
      for (size_t i = 0; i < count; i++) {
        blocks[i] = checked_malloc(size);
        pattern_write(blocks[i], size, i);
      }
      for (size_t i = 0; i < count; i++) {
        pattern_check(blocks[i], size, i);
        free(blocks[i]);
      }
    }
  }
  return NULL;
}

// taken SECONDS: threads free more than their lists have room for while their heaps are taken from their hit paths as
// fast as it goes: a free that began with its thread's heap ends with it.
static void taken(int argc, char **argv) {
  double end = seconds() + (double)number_at(argc, argv, 0, 5);
  pthread_t threads[3];
  for (size_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, overflowing_worker, NULL);
  size_t rounds = 0;
  for (; seconds() < end || checks == 0; rounds++) {
    void *place = malloc(100);
    begin_change();
    struct bellows_offline_report report;
    int error = offline_section(place, 0, 0, NULL, &report, sizeof report);
    CHECK(error == EBUSY && online_section(place) == 0, "%d", error);
    end_change();
    free(place);
  }
  atomic_store(&stop, true);
  for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
  // Such a free wrote beyond the heap of those that have none, once: into the table of size classes.
  for (size_t size = 1; size <= 32768; size++) {
    void *block = malloc(size);
    size_t room = malloc_usable_size(block);
    CHECK(room >= size && room < size + size / 4 + 16, "%zu bytes have room for %zu", size, room);
    free(block);
  }
  printf("%zu rounds, %zu checks\n", rounds, checks);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"freed", freed},   {"race", race},         {"planted", planted},
                                     {"inhand", inhand}, {"seizures", seizures}, {"taken", taken}};
  setvbuf(stdout, NULL, _IOLBF, 0);
  find_functions();
  return run_command(commands, COUNT(commands), argc, argv);
}
