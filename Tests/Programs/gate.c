// Resident memory of ten workloads: at start, at most, and after the program freed most and trimmed. The test
// compares with the figures of resident.txt, so that a change that costs memory is noticed when it is made.
// It is run without purges by the clock, so that the figures do not hang on the machine's speed.
//   gate NAME
// Sizes and orders are those of a fixed seed; anonymous memory is looked at where the workload says `look()`.
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

#include "check.h"

static long most;
static void look(void) {
  long now = resident_kib();
  most = now > most ? now : most;
}

static void *taken(size_t size) {
  unsigned char *block = malloc(size);
  CHECK(block != NULL);
  for (size_t at = 0; at < size; at += 64) block[at] = (unsigned char)size;
  if (size > 0) block[size - 1] = (unsigned char)size;
  return block;
}

// A table of blocks in memory of the test's own.
static void **table(size_t count) { return memset(own_memory(count * sizeof(void *)), 0, count * sizeof(void *)); }
static void free_but(void **blocks, size_t count, size_t keep) {
  for (size_t i = 0; i < count; i++)
    if (i % keep != 0) free(blocks[i]), blocks[i] = NULL;
}

// Nodes of one size.
static void nodes(void) {
  enum { count = 800000 };
  void **blocks = table(count);
  for (size_t i = 0; i < count; i++) blocks[i] = taken(48);
  look();
  free_but(blocks, count, 500);
}

// Strings of many sizes that replace each other, half of them new each time.
static void strings(void) {
  enum { count = 150000 };
  void **blocks = table(count);
  uint64_t random = 2;
  for (int round = 0; round < 6; round++) {
    for (size_t i = 0; i < count; i++) {
      if (blocks[i] != NULL && next_random(&random) % 2) continue;
      free(blocks[i]);
      blocks[i] = taken(8 + log_uniform(&random, 9));
    }
    look();
  }
  free_but(blocks, count, 100);
}

// Arrays that grow by half.
static void arrays(void) {
  enum { count = 200 };
  void **blocks = table(count);
  size_t sizes[count];
  uint64_t random = 3;
  for (size_t i = 0; i < count; i++) blocks[i] = taken(sizes[i] = 100);
  for (int step = 0; step < 5000; step++) {
    size_t i = (size_t)(next_random(&random) % count), larger = sizes[i] + sizes[i] / 2;
    if (larger > 2 * MIB) larger = 100;
    unsigned char *block = realloc(blocks[i], larger);
    CHECK(block != NULL);
    for (size_t at = larger > sizes[i] ? sizes[i] : larger; at < larger; at += 1024) block[at] = 1;
    blocks[i] = block, sizes[i] = larger;
    if (step % 500 == 0) look();
  }
  look();
  free_but(blocks, count, 20);
}

// Large buffers, first in, first out.
static void buffers(void) {
  enum { count = 64 };
  void **blocks = table(count);
  uint64_t random = 4;
  for (size_t i = 0; i < 2000; i++) {
    free(blocks[i % count]);
    blocks[i % count] = taken(32 * KIB + log_uniform(&random, 22));
    if (i % 200 == 199) look();
  }
  free_but(blocks, count, 32);
}

// Requests that take a hundred blocks and free them in the other order, and leave one behind now and then.
static void requests(void) {
  enum { sessions = 20000 };
  void **left = table(sessions), *own[100];
  uint64_t random = 5;
  for (size_t i = 0; i < sessions; i++) {
    for (int k = 0; k < 100; k++) own[k] = taken(log_uniform(&random, 13));
    left[i] = taken(100 + next_random(&random) % 400);
    for (int k = 99; k >= 0; k--) free(own[k]);
    if (i % 2000 == 0) look();
  }
  look();
  free_but(left, sessions, 50);
}

// A cache: keys and values, most of them deleted at random.
static void cache(void) {
  enum { count = 100000 };
  void **keys = table(count), **values = table(count);
  uint64_t random = 6;
  for (size_t i = 0; i < count; i++) {
    keys[i] = taken(16 + next_random(&random) % 40);
    values[i] = taken(64 + next_random(&random) % 1437);
  }
  look();
  for (size_t i = 0; i < count; i++)
    if (next_random(&random) % 10 != 0) free(keys[i]), free(values[i]);
}

// Zero-filled matrices.
static void matrices(void) {
  enum { count = 200 };
  void **blocks = table(count);
  uint64_t random = 7;
  for (size_t i = 0; i < 1000; i++) {
    free(blocks[i % count]);
    size_t side = 16 + next_random(&random) % 200;
    unsigned char *cells = calloc(side * side, 8);
    CHECK(cells != NULL);
    for (size_t at = 0; at < side * side * 8; at += 4096) cells[at]++;
    CHECK(cells[0] == 1 && cells[side * side * 8 - 1] <= 1);
    blocks[i % count] = cells;
    if (i % 100 == 99) look();
  }
  free_but(blocks, count, 20);
}

// Blocks at multiples of 64 to 4096 bytes.
static void aligned(void) {
  enum { count = 60000 };
  void **blocks = table(count);
  uint64_t random = 8;
  for (size_t i = 0; i < count; i++) {
    size_t size = 64 + next_random(&random) % 2000;
    CHECK(posix_memalign(&blocks[i], (size_t)64 << next_random(&random) % 7, size) == 0);
    memset(blocks[i], 1, size);
  }
  look();
  free_but(blocks, count, 100);
}

// Blocks that a thread makes and another frees, turn by turn.
static void **passed;
static size_t passed_count;
static void *free_passed(void *argument) {
  for (size_t i = 0; i < passed_count; i++)
    if (i % 200 != 0) free(passed[i]), passed[i] = NULL;
  return argument;
}
static void handoff(void) {
  passed_count = 200000;
  passed = table(passed_count);
  uint64_t random = 9;
  for (int round = 0; round < 4; round++) {
    for (size_t i = 0; i < passed_count; i++)
      if (passed[i] == NULL) passed[i] = taken(log_uniform(&random, 10));
    look();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_passed, NULL) == 0);
    pthread_join(thread, NULL);
    look();
  }
}

// Threads that come and go, each of which leaves blocks behind.
enum { leavers = 400, left_each = 200 };
static void **left_behind;
static void *leave(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 31 + 10;
  void *own[500];
  for (int i = 0; i < 500; i++) own[i] = taken(log_uniform(&random, 12));
  for (int i = 0; i < left_each; i++)
    left_behind[(size_t)(uintptr_t)argument * left_each + (size_t)i] = taken(16 + next_random(&random) % 500);
  for (int i = 0; i < 500; i++) free(own[i]);
  return NULL;
}
static void threads(void) {
  left_behind = table(leavers * left_each);
  for (uintptr_t i = 0; i < leavers; i += 4) {
    pthread_t thread[4];
    for (uintptr_t k = 0; k < 4; k++) CHECK(pthread_create(&thread[k], NULL, leave, (void *)(i + k)) == 0);
    for (uintptr_t k = 0; k < 4; k++) pthread_join(thread[k], NULL);
    if (i % 40 == 0) look();
  }
  look();
  free_but(left_behind, leavers * left_each, 100);
}

int main(int argc, char **argv) {
  const struct {
    const char *name;
    void (*run)(void);
  } workloads[] = {{"nodes", nodes},       {"strings", strings}, {"arrays", arrays},   {"buffers", buffers}, {"requests", requests},
                   {"cache", cache},       {"matrices", matrices}, {"aligned", aligned}, {"handoff", handoff}, {"threads", threads}};
  for (size_t i = 0; i < COUNT(workloads) && argc > 1; i++)
    if (strcmp(argv[1], workloads[i].name) == 0) {
      free(taken(1));
      long start = resident_kib();
      workloads[i].run();
      malloc_trim(0);
      printf("start_kib %ld\npeak_kib %ld\nleft_kib %ld\nok\n", start, most, resident_kib());
      return 0;
    }
  dprintf(STDERR_FILENO, "usage: gate WORKLOAD\n");
  return 2;
}
