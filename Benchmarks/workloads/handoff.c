// handoff OPS: one thread allocates messages, another frees them. They meet at trays of 256 messages and
// sleep when there is no tray, because a spinning thread would count as work of the allocator.
#include <pthread.h>
#include <semaphore.h>

#include "bench.h"

enum { TRAY = 256, TRAYS = 32 };
static char *ring[TRAYS][TRAY];
static sem_t empty, full;
static uint64_t trays;

static void *consume(void *unused) {
  (void)unused;
  uint64_t sum = 0;
  for (uint64_t t = 0; t < trays; t++) {
    while (sem_wait(&full) != 0) {
    }
    char **tray = ring[t % TRAYS];
    for (int i = 0; i < TRAY; i++) {
      sum += (uint64_t)tray[i][0];
      free(tray[i]);
    }
    sem_post(&empty);
  }
  keep(&sum);
  return NULL;
}

int main(int argc, char **argv) {
  trays = argument(argc, argv, 1) / TRAY + 1;
  sem_init(&empty, 0, TRAYS);
  sem_init(&full, 0, 0);
  static uint32_t sizes[SIZES];
  Random random = random_seeded(4);
  draw_sizes(sizes, &random, 16, 1024, true);

  Stopwatch start = stopwatch();
  pthread_t consumer;
  if (pthread_create(&consumer, NULL, consume, NULL) != 0) return 1;
  for (uint64_t t = 0; t < trays; t++) {
    while (sem_wait(&empty) != 0) {
    }
    char **tray = ring[t % TRAYS];
    for (int i = 0; i < TRAY; i++) {
      tray[i] = must(malloc(sizes[(t * TRAY + (uint64_t)i) % SIZES]));
      tray[i][0] = (char)i;
    }
    sem_post(&full);
  }
  pthread_join(consumer, NULL);
  report(trays * TRAY, elapsed(start));
}
