// Memory goes back without being asked: what is left resident after a program freed it and then did nothing, and
// that it goes back in few, large steps. Each scenario prints its figures as `name value`, in KiB where the name
// says so; options are `name=value` or bare names.
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "check.h"

static pthread_barrier_t ready, done;
static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
  CHECK(pthread_create(thread, NULL, body, argument) == 0);
}

// Waits for the helper, and answers what is resident then. The bounds are of a machine that lets the helper run: where
// others keep every core busy it gets its share later.
static long left_after(long wait, long base, long most) {
  rest(wait);
  for (int more = 0; more < 5 && resident_kib() - base > most && is_busy(); more++) rest(wait);
  return resident_kib() - base;
}

// As most threads do, it uses malloc at least once.
static void *sleep_on(void *argument) {
  free(laundered(malloc(100)));
  pthread_barrier_wait(&done);
  return argument;
}

// --- Objects of 0.5, 1 and 2 KiB that are freed, all or most of them -------------------------------------------

enum { OBJECTS = 300000 };
static void *objects[OBJECTS];
// The table itself does not count.
static long resident_before(void) { return memset(objects, 1, sizeof objects), resident_kib(); }
static size_t object_size(size_t i) { return 512u << i % 3; }

static void make_objects(void) {
  for (size_t i = 0; i < OBJECTS; i++) {
    objects[i] = malloc(object_size(i));
    CHECK(objects[i] != NULL);
    memset(objects[i], (int)i, object_size(i));
  }
}
// Frees all but one in `keep` (0: all); answers the bytes that stay.
static size_t free_objects(size_t keep) {
  size_t live = 0;
  for (size_t i = 0; i < OBJECTS; i++)
    if (keep == 0 || i % keep != 0)
      free(objects[i]), objects[i] = NULL;
    else
      live += object_size(i);
  return live;
}
static void check_object(size_t i) {
  unsigned char *bytes = objects[i];
  for (size_t k = 0; k < object_size(i); k++) CHECK(bytes[k] == (unsigned char)i, "object %zu", i);
}

// idle [keep=N] [percent=P] [wait=MS] [trim] [thread]: all objects but one in N are freed, and MS milliseconds later
// (trim: after malloc_trim) at most P percent of what they took is there. With thread, another one sleeps meanwhile.
static void idle(int argc, char **argv) {
  size_t keep = (size_t)option(argc, argv, "keep", 0);
  pthread_t other;
  if (option(argc, argv, "thread", 0)) {
    pthread_barrier_init(&done, NULL, 2);
    start(&other, sleep_on, NULL);
  }
  long base = resident_before();
  make_objects();
  long peak = resident_kib() - base;
  free_objects(keep);
  long most = peak * option(argc, argv, "percent", 5) / 100, wait = option(argc, argv, "wait", 1500);
  printf("peak_kib %ld\n", peak);
  if (option(argc, argv, "trim", 0)) malloc_trim(0), wait = 0;
  bounded("left_kib", wait != 0 ? left_after(wait, base, most) : resident_kib() - base, most);
  for (size_t i = 0; i < OBJECTS; i++)
    if (objects[i] != NULL) check_object(i), free(objects[i]);
  if (option(argc, argv, "thread", 0)) pthread_barrier_wait(&done), pthread_join(other, NULL);
}

// settle [seconds=S] [percent=P]: one object in twenty stays, and for S seconds they are replaced by others of their
// sizes, in random order. P percent of the live bytes may be resident at the end.
static void settle(int argc, char **argv) {
  double duration = (double)option(argc, argv, "seconds", 60);
  long base = resident_before();
  make_objects();
  size_t live = free_objects(20) / KIB;
  uint64_t random = 20;
  long rounds = 0;
  for (double begin = seconds(); seconds() - begin < duration; rounds++) {
    for (int k = 0; k < 1000; k++) {
      size_t i = (size_t)(next_random(&random) % (OBJECTS / 20)) * 20;
      check_object(i);
      free(objects[i]);
      CHECK((objects[i] = malloc(object_size(i))) != NULL);
      memset(objects[i], (int)i, object_size(i));
    }
    rest(10);
  }
  printf("live_kib %zu\nreplaced %ld\n", live, rounds * 1000);
  bounded("left_kib", resident_kib() - base, (long)live * option(argc, argv, "percent", 130) / 100);
}

// lazy [trim] [wait=MS]: 200 MiB of blocks of many sizes are freed. After malloc_trim, or MS milliseconds, they are
// gone from the resident set, and none of it is memory that the kernel may take when it likes (MADV_FREE).
static void lazy(int argc, char **argv) {
  pthread_t other;
  pthread_barrier_init(&done, NULL, 2);
  start(&other, sleep_on, NULL);
  uint64_t random = 5;
  long base = resident_kib();
  void *chain = NULL;
  for (size_t total = 0, size; total < 200 * MIB; total += size) {
    size = 16 + log_uniform(&random, 22);
    void **block = malloc(size);
    CHECK(block != NULL);
    memset(block, 1, size);
    *block = chain, chain = block;
  }
  long peak = resident_kib() - base;
  for (void *next; chain != NULL; chain = next) next = *(void **)chain, free(chain);
  long wait = option(argc, argv, "wait", 750);
  if (option(argc, argv, "trim", 0)) malloc_trim(0), wait = 0;
  printf("peak_kib %ld\n", peak);
  long left = wait != 0 ? left_after(wait, base, peak / 20) : resident_kib() - base;
  bounded("lazy_kib", figure("/proc/self/smaps_rollup", "LazyFree:"), 0);
  bounded("left_kib", left, peak / 20);
  pthread_barrier_wait(&done), pthread_join(other, NULL);
}

// --- A spike over two threads -----------------------------------------------------------------------------------

static void *spike_worker(void *argument) {
  size_t count = (size_t)(uintptr_t)argument / 1000;
  void **mine = malloc(count * sizeof *mine);
  CHECK(mine != NULL);
  for (size_t i = 0; i < count; i++) {
    mine[i] = malloc(700 + i % 600);
    CHECK(mine[i] != NULL);
    memset(mine[i], 1, 700 + i % 600);
  }
  pthread_barrier_wait(&ready);
  for (size_t i = 0; i < count; i++) free(mine[i]);
  free(mine);
  pthread_barrier_wait(&ready);
  pthread_barrier_wait(&done);
  return NULL;
}

// spike [mib=M] [wait=MS] [left=MIB]: two threads take that much, free it and sleep.
static void spike(int argc, char **argv) {
  size_t bytes = (size_t)option(argc, argv, "mib", 2048) * MIB;
  pthread_t threads[2];
  pthread_barrier_init(&ready, NULL, 3), pthread_barrier_init(&done, NULL, 3);
  long base = resident_kib();
  for (int i = 0; i < 2; i++) start(&threads[i], spike_worker, (void *)(uintptr_t)(bytes / 2));
  pthread_barrier_wait(&ready);
  printf("peak_kib %ld\n", resident_kib() - base);
  pthread_barrier_wait(&ready);
  long most = option(argc, argv, "left", 20) * 1024;
  bounded("left_kib", left_after(option(argc, argv, "wait", 1000), base, most), most);
  pthread_barrier_wait(&done);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

// --- Many threads that hold little ------------------------------------------------------------------------------

static void *hold(void *argument) {
  unsigned char *blocks[64];
  unsigned char mark = (unsigned char)(uintptr_t)argument;
  for (int i = 0; i < 64; i++) {
    CHECK((blocks[i] = malloc((size_t)(i + 1) * 16)) != NULL);
    memset(blocks[i], mark + i, (size_t)(i + 1) * 16);
  }
  pthread_barrier_wait(&ready);
  pthread_barrier_wait(&done);
  for (int i = 0; i < 64; i++) {
    for (int at = 0; at < (i + 1) * 16; at++) CHECK(blocks[i][at] == (unsigned char)(mark + i));
    free(blocks[i]);
  }
  return NULL;
}

// crowd [threads=N] [kib=K]: N threads, each with one block of 64 sizes from 16 to 1024 bytes. Stacks included.
static void crowd(int argc, char **argv) {
  long count = option(argc, argv, "threads", 100);
  pthread_t *threads = own_memory((size_t)count * sizeof *threads);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * KIB);
  pthread_barrier_init(&ready, NULL, (unsigned)count + 1), pthread_barrier_init(&done, NULL, (unsigned)count + 1);
  for (long i = 0; i < count; i++) CHECK(pthread_create(&threads[i], &attributes, hold, (void *)i) == 0);
  pthread_barrier_wait(&ready);
  long resident = resident_kib();
  pthread_barrier_wait(&done);
  for (long i = 0; i < count; i++) pthread_join(threads[i], NULL);
  bounded("resident_kib", resident, option(argc, argv, "kib", 12 * 1024));
}

// --- What giving back costs while the program works ---------------------------------------------------------------

static long scans;
static void *scan_worker(void *argument) {
  for (long i = 0; i < scans; i++) {
    unsigned char *buffer = malloc(20 * MIB);
    CHECK(buffer != NULL);
    for (size_t at = 0; at < 20 * MIB; at += 4096) buffer[at] = (unsigned char)i;
    free(buffer);
    usleep(5000);
  }
  return argument;
}

// scan [seconds=S] [faults=N]: two threads with a buffer of 20 MiB each every 5 ms. The bound is page faults per second,
// after a first second.
static void scan(int argc, char **argv) {
  long duration = option(argc, argv, "seconds", 5);
  pthread_t threads[2];
  struct rusage before, after;
  double begin = 0;
  for (int warm = 1; warm >= 0; warm--) {
    scans = (warm ? 1 : duration) * 200;
    getrusage(RUSAGE_SELF, &before), begin = seconds();
    for (int i = 0; i < 2; i++) start(&threads[i], scan_worker, NULL);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  }
  getrusage(RUSAGE_SELF, &after);
  double passed = seconds() - begin;
  printf("pages_per_second %.0f\n", (double)duration * 2 * 200 * 5120 / passed);
  bounded("faults_per_second", (long)((double)(after.ru_minflt - before.ru_minflt) / passed),
          option(argc, argv, "faults", 20000));
}

// --- Heaps taken from sleeping threads --------------------------------------------------------------------------

// seized SECONDS [signals]: threads work and sleep by turns, so that their heaps are taken again and again (run
// it with a short purge delay); contents tell whether a block was handed out twice. With signals, their handler
// sleeps too, so that a thread blocks where it was interrupted.
enum { SLOTS = 2000, WORKERS = 6 };
struct slot {
  unsigned char *block;
  size_t size;
  uint64_t seed;
};
static struct slot shared[500];
static pthread_mutex_t exchange = PTHREAD_MUTEX_INITIALIZER;
static time_t end;

static void nap(int number) {
  (void)number;
  struct timespec time = {0, 2000000};
  nanosleep(&time, NULL);
}

static void verify(struct slot *slot) {
  for (size_t i = 0; i < slot->size; i += 1 + i / 64)
    CHECK(slot->block[i] == (unsigned char)(slot->seed + i), "block %p", (void *)slot->block);
}

static void fill(struct slot *slot, uint64_t *random) {
  slot->size = log_uniform(random, 17), slot->seed = next_random(random);
  slot->block = malloc(slot->size);
  CHECK(slot->block != NULL);
  for (size_t i = 0; i < slot->size; i += 1 + i / 64) slot->block[i] = (unsigned char)(slot->seed + i);
}

static void *seized_worker(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 977 + 5;
  struct slot *slots = calloc(SLOTS, sizeof *slots);
  CHECK(slots != NULL);
  while (time(NULL) < end) {
    for (int i = 0; i < 400; i++) {
      struct slot *slot = &slots[next_random(&random) % SLOTS];
      if (slot->block) verify(slot), free(slot->block);
      fill(slot, &random);
      if (i % 8 == 0) {
        pthread_mutex_lock(&exchange);
        struct slot *other = &shared[next_random(&random) % COUNT(shared)], kept = *other;
        *other = *slot, *slot = kept;
        pthread_mutex_unlock(&exchange);
      }
    }
    usleep((useconds_t)(next_random(&random) % 6000));
  }
  for (int i = 0; i < SLOTS; i++)
    if (slots[i].block) verify(&slots[i]), free(slots[i].block);
  free(slots);
  return NULL;
}

static void seized(int argc, char **argv) {
  end = time(NULL) + number_at(argc, argv, 0, 5);
  if (argc > 1) {
    signal(SIGALRM, nap);
    struct itimerval every = {{0, 4000}, {0, 4000}};
    setitimer(ITIMER_REAL, &every, NULL);
  }
  pthread_t threads[WORKERS];
  for (uintptr_t i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, seized_worker, (void *)(i + 1));
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"idle", idle},   {"settle", settle}, {"lazy", lazy}, {"spike", spike},
                                     {"crowd", crowd}, {"scan", scan},     {"seized", seized}};
  return run_command(commands, COUNT(commands), argc, argv);
}
