// server OPS THREADS: each thread answers requests. A request takes a buffer and some small parts that live
// until its end, replaces an entry in the thread's own cache, and now and then one in the sessions that all
// threads share, so that part of the blocks is freed by another thread than the one that took them.
#include <pthread.h>

#include "bench.h"

enum { PARTS = 12, CACHE = 2000, SESSIONS = 4096, MOST_THREADS = 64 };
static _Atomic(char *) sessions[SESSIONS];
static uint32_t sizes[SIZES];
static uint64_t requests;

static char *take(size_t size, uint64_t mark) {
  char *block = must(malloc(size));
  block[0] = block[size - 1] = (char)mark;
  return block;
}

static void *serve(void *argument) {
  Random random = random_seeded((uint64_t)(uintptr_t)argument);
  char **cache = must(calloc(CACHE, sizeof *cache));
  for (uint64_t i = 0; i < requests; i++) {
    char *parts[PARTS];
    uint64_t draw = random_next(&random);
    char *buffer = take(512 + (draw & 0xFFF), i);
    for (int p = 0; p < PARTS; p++) parts[p] = take(sizes[(draw + (uint64_t)p) % SIZES], i);
    uint32_t slot = random_below(&random, CACHE);
    free(cache[slot]);
    cache[slot] = take(sizes[(draw >> 20) % SIZES], i);
    if (i % 4 == 0)
      free(atomic_exchange(&sessions[(draw >> 40) % SESSIONS], take(sizes[(draw >> 30) % SIZES], i)));
    for (int p = 0; p < PARTS; p++) free(parts[p]);
    free(buffer);
  }
  for (int i = 0; i < CACHE; i++) free(cache[i]);
  free(cache);
  return NULL;
}

int main(int argc, char **argv) {
  uint64_t threads = argument(argc, argv, 2);
  if (threads < 1 || threads > MOST_THREADS) return 2;
  uint64_t per_request = PARTS + 2;
  requests = argument(argc, argv, 1) / (per_request * threads) + 1;
  Random random = random_seeded(7);
  draw_sizes(sizes, &random, 16, 2048, true);

  Stopwatch start = stopwatch();
  pthread_t workers[MOST_THREADS];
  for (uint64_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i], NULL, serve, (void *)(uintptr_t)i) != 0) return 1;
  for (uint64_t i = 0; i < threads; i++) pthread_join(workers[i], NULL);
  report(requests * threads * per_request, elapsed(start));
}
