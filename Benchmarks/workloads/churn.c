// churn OPS: short threads, four at a time. Each takes a few hundred blocks, frees most of them and what an
// earlier thread left on its shelf, and leaves every tenth block for a later one.
#include <pthread.h>

#include "bench.h"

enum { ALIVE = 4, BLOCKS = 400, SURVIVORS = BLOCKS / 10, SHELVES = 16 };
typedef struct {
  char *blocks[SURVIVORS];
} Shelf;
static Shelf shelves[SHELVES];
static pthread_mutex_t locks[SHELVES];

static void *live(void *argument) {
  uint64_t number = (uint64_t)(uintptr_t)argument;
  Random random = random_seeded(number);
  char *blocks[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) {
    blocks[i] = must(malloc(16 + random_below(&random, 600)));
    *blocks[i] = (char)i;
  }
  for (int i = 0; i < BLOCKS; i++)
    if (i % 10 != 0) free(blocks[i]);
  uint64_t shelf = number % SHELVES;
  pthread_mutex_lock(&locks[shelf]);
  for (int i = 0; i < SURVIVORS; i++) {
    free(shelves[shelf].blocks[i]);
    shelves[shelf].blocks[i] = blocks[i * 10];
  }
  pthread_mutex_unlock(&locks[shelf]);
  return NULL;
}

int main(int argc, char **argv) {
  uint64_t threads = argument(argc, argv, 1) / BLOCKS + ALIVE;
  for (int i = 0; i < SHELVES; i++) pthread_mutex_init(&locks[i], NULL);
  pthread_t alive[ALIVE];
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < threads; i++) {
    if (i >= ALIVE) pthread_join(alive[i % ALIVE], NULL);
    if (pthread_create(&alive[i % ALIVE], NULL, live, (void *)(uintptr_t)i) != 0) return 1;
  }
  for (int i = 0; i < ALIVE; i++) pthread_join(alive[i], NULL);
  report(threads * BLOCKS, elapsed(start));
}
