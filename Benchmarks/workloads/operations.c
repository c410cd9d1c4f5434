// operations COUNT KIND [SIZE]: COUNT times one operation and nothing else, for counting instructions: twice the
// count less once the count leaves out start-up and exit. `none` is the loop alone.
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"

enum { TRAY = 1000, MOST = 1 << 20 };
static char *blocks[MOST];
static sem_t filled, emptied;
static uint64_t trays;

static void *take(void *block, uint64_t mark) {
  *(char *)must(block) = (char)mark;
  keep(block);
  return block;
}

static void *aligned(size_t alignment, size_t size) {
  void *block = NULL;
  return posix_memalign(&block, alignment, size) == 0 ? block : NULL;
}

static void *drain(void *unused) {
  for (uint64_t t = 0; t < trays; t++) {
    sem_wait(&filled);
    for (int i = 0; i < TRAY; i++) free(blocks[i]);
    sem_post(&emptied);
  }
  return unused;
}

static void *visit(void *size) {
  free(take(malloc((size_t)(uintptr_t)size), 1));
  return NULL;
}

/// Blocks that another thread frees, a thousand at a time.
static void hand_over(uint64_t count, size_t size) {
  pthread_t thread;
  trays = count / TRAY;
  sem_init(&filled, 0, 0);
  sem_init(&emptied, 0, 0);
  if (pthread_create(&thread, NULL, drain, NULL) != 0) exit(1);
  for (uint64_t t = 0; t < trays; t++) {
    for (int i = 0; i < TRAY; i++) blocks[i] = take(malloc(size), t);
    sem_post(&filled);
    sem_wait(&emptied);
  }
  pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
  uint64_t count = argument(argc, argv, 1);
  size_t size = argc > 3 ? argument(argc, argv, 3) : 0;
  if (argument_is(argc, argv, 2, "none")) {
    for (uint64_t i = 0; i < count; i++) take(blocks, i);
  } else if (argument_is(argc, argv, 2, "pair")) {
    for (uint64_t i = 0; i < count; i++) free(take(malloc(size), i));
  } else if (argument_is(argc, argv, 2, "calloc")) {
    for (uint64_t i = 0; i < count; i++) free(take(calloc(1, size), i));
  } else if (argument_is(argc, argv, 2, "aligned")) {
    for (uint64_t i = 0; i < count; i++) free(take(aligned(64, size), i));
  } else if (argument_is(argc, argv, 2, "realloc-stays")) {
    void *block = malloc(size);
    for (uint64_t i = 0; i < count; i++) block = take(realloc(block, size - (i & 1)), i);
    free(block);
  } else if (argument_is(argc, argv, 2, "realloc-moves")) {
    for (uint64_t i = 0; i < count; i++) free(take(realloc(take(malloc(size), i), size * 3), i));
  } else if (argument_is(argc, argv, 2, "fill")) {
    for (uint64_t i = 0; i < count && i < MOST; i++) blocks[i] = take(malloc(size), i);
  } else if (argument_is(argc, argv, 2, "fill-and-free")) {
    for (uint64_t i = 0; i < count && i < MOST; i++) blocks[i] = take(malloc(size), i);
    for (uint64_t i = 0; i < count && i < MOST; i++) free(blocks[i]);
  } else if (argument_is(argc, argv, 2, "remote")) {
    hand_over(count, size);
  } else if (argument_is(argc, argv, 2, "thread")) {
    for (uint64_t i = 0; i < count; i++) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, visit, (void *)(uintptr_t)size) != 0) return 1;
      pthread_join(thread, NULL);
    }
  } else {
    fprintf(stderr, "unknown kind %s\n", argv[2]);
    return 2;
  }
  return 0;
}
