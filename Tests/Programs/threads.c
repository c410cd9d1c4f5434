// Memory and threads: who frees what, and what stays resident when threads come and go. The
// bounds are ratios of resident to live memory, so they hold on any machine.
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "check.h"

static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
  int result = pthread_create(thread, NULL, body, argument);
  CHECK(result == 0, "pthread_create: %s", strerror(result));
}

// --- producers and consumers: a bounded ring in memory of its own ------------------------------

struct item {
  void *block;
  size_t size;
  uint64_t seed;
};
enum { batch = 64 };
static struct {
  struct item *items;
  size_t capacity, head, count;
  pthread_mutex_t lock;
  pthread_cond_t room, work;
  bool done;
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER, .room = PTHREAD_COND_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};
static size_t fixed_size;
static atomic_int stop;

static void *produce(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 77 + 1;
  while (!stop) {
    struct item made[batch];
    for (int i = 0; i < batch; i++) {
      size_t size = fixed_size ? fixed_size : log_uniform(&random, 14);
      made[i] = (struct item){malloc(size), size, next_random(&random)};
      CHECK(made[i].block != NULL);
      pattern_write(made[i].block, size, made[i].seed);
    }
    pthread_mutex_lock(&ring.lock);
    while (ring.count + batch > ring.capacity) pthread_cond_wait(&ring.room, &ring.lock);
    for (int i = 0; i < batch; i++) ring.items[(ring.head + ring.count++) % ring.capacity] = made[i];
    pthread_cond_signal(&ring.work);
    pthread_mutex_unlock(&ring.lock);
  }
  return NULL;
}

// Frees only: such a thread never has a heap of its own.
static void *consume(void *argument) {
  (void)argument;
  for (;;) {
    struct item taken[batch];
    pthread_mutex_lock(&ring.lock);
    while (ring.count < batch && !ring.done) pthread_cond_wait(&ring.work, &ring.lock);
    size_t count = ring.count < batch ? ring.count : batch;
    for (size_t i = 0; i < count; i++) taken[i] = ring.items[(ring.head + i) % ring.capacity];
    ring.head = (ring.head + count) % ring.capacity, ring.count -= count;
    pthread_cond_broadcast(&ring.room);
    pthread_mutex_unlock(&ring.lock);
    if (count == 0) return NULL;
    for (size_t i = 0; i < count; i++) {
      pattern_check(taken[i].block, taken[i].size, taken[i].seed);
      free(taken[i].block);
    }
  }
}

static void run_ring(long producers, long consumers, size_t capacity, double duration, long bound_kib) {
  pthread_t threads[64];
  ring.capacity = capacity;
  ring.items = own_memory(capacity * sizeof *ring.items);
  memset(ring.items, 1, capacity * sizeof *ring.items);
  long base = resident_kib(), worst = 0;
  for (long i = 0; i < producers; i++) start(&threads[i], produce, (void *)(i + 1));
  for (long i = 0; i < consumers; i++) start(&threads[producers + i], consume, NULL);
  for (double begin = seconds(); seconds() - begin < duration; usleep(100000)) {
    long now = resident_kib() - base;
    if (now > worst) worst = now;
  }
  stop = 1;
  for (long i = 0; i < producers; i++) pthread_join(threads[i], NULL);
  pthread_mutex_lock(&ring.lock);
  ring.done = true;
  pthread_cond_broadcast(&ring.work);
  pthread_mutex_unlock(&ring.lock);
  for (long i = 0; i < consumers; i++) pthread_join(threads[producers + i], NULL);
  if (bound_kib != 0) bounded("peak_kib", worst, bound_kib);
}

// consumers PRODUCERS CONSUMERS SECONDS
static void consumers(int argc, char **argv) {
  run_ring(number_at(argc, argv, 0, 4), number_at(argc, argv, 1, 4), 4096, (double)number_at(argc, argv, 2, 3), 0);
}
// free-only SECONDS MIB: 16 producers of 592 bytes, one thread that only frees. Bound: 1.25 of what is
// alive, and 16 KiB of fresh shards, stack and batch for each thread.
static void free_only(int argc, char **argv) {
  long duration = number_at(argc, argv, 0, 4), live = number_at(argc, argv, 1, 64);
  fixed_size = 592;
  size_t capacity = (size_t)live * MIB / fixed_size / batch * batch;
  run_ring(16, 1, capacity, (double)duration, live * 1024 * 5 / 4 + 17 * 64);
}

// --- churn: many short threads, each leaving blocks for others to free ---------------------------

enum { survivors = 10, alive = 8, kept_blocks = 40000 };
static struct item *kept;
static _Atomic size_t kept_cursor;
static sem_t running;

static void *short_life(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 0x9e3779b97f4a7c15ull | 1;
  for (int i = 0; i < 50; i++) {
    void *block = malloc(log_uniform(&random, 12));
    CHECK(block != NULL);
    *(volatile char *)block = 1;
    free(block);
  }
  for (int i = 0; i < survivors; i++) {
    // The cursor gives each thread slots of its own; a slot comes round long after its maker is gone.
    struct item *item = &kept[kept_cursor++ % kept_blocks];
    if (item->block != NULL) {
      pattern_check(item->block, item->size, item->seed);
      free(item->block);
    }
    size_t size = 16 + next_random(&random) % 1009;
    *item = (struct item){malloc(size), size, random};
    CHECK(item->block != NULL);
    pattern_write(item->block, size, random);
  }
  sem_post(&running);
  return NULL;
}

// churn THREADS
static void churn(int argc, char **argv) {
  long threads = number_at(argc, argv, 0, 100000), low = 0, high = 0;
  kept = own_memory(kept_blocks * sizeof *kept);
  memset(kept, 0, kept_blocks * sizeof *kept);
  sem_init(&running, 0, alive);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&detached, 64 * KIB);
  for (long i = 0; i < threads; i++) {
    sem_wait(&running);
    pthread_t thread;
    CHECK(pthread_create(&thread, &detached, short_life, (void *)(i + 1)) == 0);
    if (i >= threads / 4 && i % (threads / 40) == 0) {
      long now = resident_kib();
      if (low == 0 || now < low) low = now;
      if (now > high) high = now;
    }
  }
  for (int i = 0; i < alive; i++) sem_wait(&running);
  printf("resident %ld ... %ld KiB\n", low, high);
  // +-5 %: the highest at most 1.05/0.95 of the lowest; thread stacks come and go meanwhile.
  CHECK((high - alive * 16) * 95 <= low * 105, "resident %ld ... %ld KiB", low, high);
  for (size_t i = 0; i < kept_blocks; i++) free(kept[i].block);
}

// --- threads one after another or in turn: the peak is that of one -------------------------------

// Fills `bytes` with blocks of 64 ... 2048 bytes, chained through their first word.
static void *fill(size_t bytes, uint64_t random) {
  void *chain = NULL;
  for (size_t total = 0; total < bytes;) {
    size_t size = 64 + next_random(&random) % 1985;
    void *block = malloc(size);
    CHECK(block != NULL);
    memset(block, 0x77, size);
    *(void **)block = chain;
    chain = block;
    total += size;
  }
  return chain;
}
static void drain(void *chain) {
  while (chain != NULL) {
    void *next = *(void **)chain;
    free(chain);
    chain = next;
  }
}

static void *fill_and_drain(void *argument) {
  drain(fill((size_t)(uintptr_t)argument, 5));
  return NULL;
}
static void *only_fill(void *argument) { return fill((size_t)(uintptr_t)argument, 5); }

static sem_t turn[32], back;
static void *pooled(void *argument) {
  for (sem_t *mine = argument; sem_wait(mine) == 0 && !stop; sem_post(&back)) drain(fill(64 * MIB, 3));
  return NULL;
}
// pool ROUNDS: 32 workers that live on; one at a time allocates 64 MiB and frees it.
static void pool(int argc, char **argv) {
  long rounds = number_at(argc, argv, 0, 2), base = resident_kib();
  pthread_t threads[32];
  sem_init(&back, 0, 0);
  for (int i = 0; i < 32; i++) sem_init(&turn[i], 0, 0), start(&threads[i], pooled, &turn[i]);
  for (long i = 0; i < rounds * 32; i++) sem_post(&turn[i % 32]), sem_wait(&back);
  long peak = peak_kib() - base, now = resident_kib() - base;
  stop = 1;
  for (int i = 0; i < 32; i++) sem_post(&turn[i]), pthread_join(threads[i], NULL);
  bounded("peak_kib", peak, 64 * 1024 * 13 / 10 + 4096);  // 4 MiB of code and stacks
  bounded("left_kib", now, 64 * 1024 * 13 / 10);
}

// abandoned: what a thread leaves behind serves the next, whether it freed it or another did.
static void abandoned(int argc, char **argv) {
  (void)argc, (void)argv;
  const size_t size = 48 * MIB;
  long base = resident_kib();
  pthread_t thread;
  for (int i = 0; i < 10; i++) start(&thread, fill_and_drain, (void *)size), pthread_join(thread, NULL);
  long own = peak_kib() - base;
  for (int i = 0; i < 10; i++) {
    void *chain;
    start(&thread, only_fill, (void *)size), pthread_join(thread, &chain);
    drain(chain);  // by this thread, after the maker has gone
  }
  long foreign = peak_kib() - base;
  printf("peak %ld KiB freed by the maker, %ld KiB by another\n", own, foreign);
  CHECK(own - 4096 <= (long)(size / 1024) * 13 / 10, "peak %ld KiB", own);
  CHECK(foreign - 4096 <= (long)(size / 1024) * 13 / 10, "peak %ld KiB", foreign);
}

// --- destructors of thread-specific data, in every order ----------------------------------------

static pthread_key_t keys[8];
static void key_destructor(void *value) {
  // Runs after others have run, perhaps after the heap's own; comes back until the limit of rounds.
  // `seed` is the key in the upper bits and the round in the lower two.
  struct item *item = value;
  pattern_check(item->block, item->size, item->seed);
  item->block = realloc(item->block, item->size * 2);
  CHECK(item->block != NULL);
  pattern_check_kept(item->block, item->size, item->size, item->seed);
  void *temporary = malloc(100000 + item->size), *zeroed = calloc(7, item->size);
  CHECK(temporary != NULL && zeroed != NULL);
  free(temporary), free(zeroed);
  if ((item->seed & 3) == 3) {
    free(item->block), free(item);
  } else {
    item->size *= 2, item->seed++;
    pattern_write(item->block, item->size, item->seed);
    pthread_setspecific(keys[item->seed / 4], item);
  }
}
static void *with_keys(void *argument) {
  for (size_t i = 0; i < COUNT(keys); i++) {
    struct item *item = malloc(sizeof *item);
    CHECK(item != NULL);
    *item = (struct item){malloc(40 + i), 40 + i, i * 4};
    CHECK(item->block != NULL);
    pattern_write(item->block, item->size, item->seed);
    pthread_setspecific(keys[i], item);
  }
  return argument;
}
static void key_destructors(int argc, char **argv) {
  (void)argc, (void)argv;
  for (size_t i = 0; i < COUNT(keys); i++) CHECK(pthread_key_create(&keys[i], key_destructor) == 0);
  long after_some = 0;
  for (int round = 0; round < 3000; round++) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) start(&threads[i], with_keys, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    if (round == 500) after_some = resident_kib();
  }
  // 10,000 more threads: a heap or a shard lost by each of them would be tens of megabytes.
  long grown = resident_kib() - after_some;
  printf("grown by %ld KiB\n", grown);
  CHECK(grown < 2 * 1024, "grown by %ld KiB", grown);
}

// slots: threads that allocate and free large blocks of few sizes, so that they contend for the places where freed
// ones are kept.
static void *slot_worker(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument + 1;
  for (int i = 0; i < 200000; i++) {
    size_t size = 300000 + next_random(&random) % 3 * MIB;
    char *one = malloc(size), *other = malloc(300000);
    CHECK(one != NULL && other != NULL && one != other);
    one[0] = other[0] = (char)i;
    free(one), free(other);
  }
  return NULL;
}
static void slots(int argc, char **argv) {
  (void)argc, (void)argv;
  pthread_t threads[6];
  for (uintptr_t i = 0; i < 6; i++) start(&threads[i], slot_worker, (void *)i);
  for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
}

// limited: 100 threads alive at once, 8 MiB stacks, under `ulimit -v 1000000` (set by the caller).
static pthread_barrier_t barrier;
static void *small_worker(void *argument) {
  void *blocks[64];
  for (size_t i = 0; i < 64; i++) {
    CHECK((blocks[i] = malloc(16 * (i + 1))) != NULL);
    memset(blocks[i], 1, 16 * (i + 1));
  }
  pthread_barrier_wait(&barrier);
  for (size_t i = 0; i < 64; i++) free(blocks[i]);
  return argument;
}
static void limited(int argc, char **argv) {
  (void)argc, (void)argv;
  pthread_t threads[100];
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 8 * MIB);
  pthread_barrier_init(&barrier, NULL, 100);
  for (int i = 0; i < 100; i++) {
    int result = pthread_create(&threads[i], &attributes, small_worker, NULL);
    CHECK(result == 0, "thread %d: %s, VmSize %ld KiB", i, strerror(result), virtual_kib());
  }
  for (int i = 0; i < 100; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"consumers", consumers}, {"free-only", free_only}, {"churn", churn},
                                     {"pool", pool},           {"abandoned", abandoned}, {"limited", limited},
                                     {"key-destructors", key_destructors}, {"slots", slots}};
  return run_command(commands, COUNT(commands), argc, argv);
}
