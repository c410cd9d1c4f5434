// Memory goes back without being asked: what is left resident after a program freed it and then did nothing, and
// that nothing is lost or doubled while the heaps of idle threads are taken from them.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "check.h"

static long anonymous_kib(void) {
  char text[4096];
  int file = open("/proc/self/smaps_rollup", O_RDONLY);
  ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  text[got < 0 ? 0 : got] = 0;
  char *line = strstr(text, "Anonymous:");
  CHECK(line != NULL);
  return strtol(line + 10, NULL, 10);
}

// Until `kib` are left or `milliseconds` have passed; sleeping is all the program does.
static long settle(long kib, int milliseconds) {
  for (int waited = 0; waited < milliseconds && anonymous_kib() > kib; waited += 50) usleep(50000);
  return anonymous_kib();
}

enum { OBJECTS = 300000 };
static void *objects[OBJECTS];

// idle KEEP PERCENT: 300,000 objects of 0.5, 1 and 2 KiB; all but one in KEEP are freed (0: all), and at most
// PERCENT of the peak stays. With an argument more, malloc_trim is called instead of waiting.
static void idle(int argc, char **argv) {
  long keep = number_at(argc, argv, 0, 0), percent = number_at(argc, argv, 1, 5), base = anonymous_kib();
  for (size_t i = 0; i < OBJECTS; i++) {
    objects[i] = malloc(512u << i % 3);
    CHECK(objects[i] != NULL);
    memset(objects[i], (int)i, 512u << i % 3);
  }
  long peak = anonymous_kib() - base;
  for (size_t i = 0; i < OBJECTS; i++)
    if (keep == 0 || i % (size_t)keep != 0) free(objects[i]);
  long bound = base + peak * percent / 100;
  if (argc > 2) malloc_trim(0);
  long left = settle(bound, argc > 2 ? 0 : 5000) - base;
  printf("%ld of %ld KiB left\n", left, peak);
  CHECK(left <= bound - base, "%ld KiB left of %ld", left, peak);
  for (size_t i = 0; keep != 0 && i < OBJECTS; i += (size_t)keep) {
    unsigned char *bytes = objects[i];
    for (size_t k = 0; k < 512u << i % 3; k++) CHECK(bytes[k] == (unsigned char)i, "object %zu", i);
    free(bytes);
  }
}

static pthread_barrier_t freed, judged;
static void *spike_worker(void *argument) {
  size_t count = (size_t)(uintptr_t)argument / 1000;
  void **mine = malloc(count * sizeof *mine);
  for (size_t i = 0; i < count; i++) {
    mine[i] = malloc(700 + i % 600);
    CHECK(mine[i] != NULL);
    memset(mine[i], 1, 700);
  }
  for (size_t i = 0; i < count; i++) free(mine[i]);
  free(mine);
  pthread_barrier_wait(&freed);
  pthread_barrier_wait(&judged);
  return NULL;
}

// spike MIB: two threads take that much, free it and sleep: 20 MiB may stay.
static void spike(int argc, char **argv) {
  size_t bytes = (size_t)number_at(argc, argv, 0, 512) * MIB;
  pthread_t threads[2];
  pthread_barrier_init(&freed, NULL, 3), pthread_barrier_init(&judged, NULL, 3);
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, spike_worker, (void *)(uintptr_t)(bytes / 2));
  pthread_barrier_wait(&freed);
  long left = settle(20 * 1024, 5000);
  printf("%ld KiB left\n", left);
  CHECK(left <= 20 * 1024, "%ld KiB left", left);
  pthread_barrier_wait(&judged);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

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
  const struct command commands[] = {{"idle", idle}, {"spike", spike}, {"seized", seized}};
  return run_command(commands, COUNT(commands), argc, argv);
}
