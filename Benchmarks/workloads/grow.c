// grow OPS THREADS LIVE_MIB SPANS CLASSES SLOTS: how the cost of an operation changes with the size of things.
// First LIVE_MIB of small blocks and SPANS untouched blocks of 127 MiB are taken and held. Then THREADS threads
// together replace random blocks OPS times, each in a table of SLOTS blocks of CLASSES different sizes; every
// sixteenth block goes to another thread. The figure is CPU time, which threads beyond the cores do not stretch.
#include <pthread.h>
#include <unistd.h>

#include "bench.h"

enum { MOST_THREADS = 64, MOST_SIZES = 40, EXCHANGE = 1024 };
static uint32_t sizes[MOST_SIZES];
static uint64_t classes, slots, ops_each;
static _Atomic(char *) exchange[EXCHANGE];
static atomic_uint ready, done;
static atomic_bool go;

/// 16 to 128 by sixteens, then four steps in each doubling to 32 KiB.
static void lay_sizes(void) {
  uint32_t count = 0;
  for (uint32_t size = 16; size <= 128; size += 16) sizes[count++] = size;
  for (uint32_t base = 128; base < 32768; base *= 2)
    for (uint32_t step = 1; step <= 4; step++) sizes[count++] = base + base / 4 * step;
}

/// The first class is of middling size, so that one class takes about the room of all; the next few are spread
/// over all sizes too, since 13 has no divisor in common with 40.
static char *take(Random *random) {
  uint32_t class = (26 + 13 * random_below(random, (uint32_t)classes)) % MOST_SIZES;
  char *block = must(malloc(sizes[class]));
  *block = 1;
  return block;
}

static void *work(void *number) {
  Random random = random_seeded((uint64_t)(uintptr_t)number);
  char **table = must(calloc(slots, sizeof *table));
  for (uint64_t i = 0; i < slots; i++) table[i] = take(&random);
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&go)) usleep(500);
  for (uint64_t i = 0; i < ops_each; i++) {
    char **slot = &table[random_below(&random, (uint32_t)slots)];
    if (i % 16 == 0)
      *slot = atomic_exchange(&exchange[random_below(&random, EXCHANGE)], *slot);
    free(*slot);
    *slot = take(&random);
  }
  atomic_fetch_add(&done, 1);
  return NULL;
}

int main(int argc, char **argv) {
  uint64_t threads = argument(argc, argv, 2), live = argument(argc, argv, 3) << 20;
  uint64_t spans = argument(argc, argv, 4);
  classes = argument(argc, argv, 5);
  slots = argument(argc, argv, 6) / threads;
  if (threads < 1 || threads > MOST_THREADS || classes < 1 || classes > MOST_SIZES || slots < 1) return 2;
  ops_each = argument(argc, argv, 1) / threads;
  lay_sizes();
  Random random = random_seeded(1);
  for (uint64_t held = 0; held < live;) {
    uint32_t size = 48 + random_below(&random, 2000);
    *(char *)must(malloc(size)) = 1;
    held += size;
  }
  for (uint64_t i = 0; i < spans; i++) keep(must(malloc((size_t)127 << 20)));

  pthread_t thread;
  for (uint64_t i = 0; i < threads; i++)
    if (pthread_create(&thread, NULL, work, (void *)(uintptr_t)i) != 0) return 1;
  // Waiting by sleep, not by join: what waits on a futex here is the allocator.
  while (atomic_load(&ready) < threads) usleep(500);
  Stopwatch start = stopwatch();
  atomic_store(&go, true);
  while (atomic_load(&done) < threads) usleep(2000);
  report(ops_each * threads, elapsed(start));
  fflush(stdout);
  _exit(0);
}
