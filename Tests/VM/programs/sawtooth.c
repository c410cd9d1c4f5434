// usage: sawtooth BASE-MIB PEAK-MIB ROUNDS
// Four threads that together hold BASE-MIB, go up to PEAK-MIB and back again, round after round, and exchange a part of what they
// hold in each: what a service in a container does. What it may cost is the limit of the control group around it.
#include <pthread.h>

#include "support.h"

enum { thread_count = 4 };

static size_t base, peak, rounds;

struct holder {
  pthread_t thread;
  uint64_t state;
  struct block *blocks;
  size_t held;
};

static void take(struct holder *self, size_t target) {
  while (self->held < target) {
    size_t size = sizeof(struct block) + next_random(&self->state) % (next_random(&self->state) % 50 ? 3000 : 300000);
    struct block *block = malloc(size);
    if (!block) die("malloc(%zu) returned NULL", size);
    block_fill(block, size, next_random(&self->state));
    block->next = self->blocks;
    self->blocks = block;
    self->held += size;
  }
}

// Frees at random places of the list, so that pages empty slowly.
static void give(struct holder *self, size_t target) {
  while (self->held > target)
    for (struct block **link = &self->blocks; *link && self->held > target;) {
      struct block *block = *link;
      if (next_random(&self->state) % 3) {
        link = &block->next;
        continue;
      }
      block_check(block);
      *link = block->next;
      self->held -= block->size;
      free(block);
    }
}

static void *run(void *argument) {
  struct holder *self = argument;
  for (size_t round = 0; round < rounds; round++) {
    take(self, peak / thread_count);
    give(self, base / thread_count);
  }
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 4) die("usage: sawtooth BASE-MIB PEAK-MIB ROUNDS");
  require_preloaded();
  base = strtoul(arguments[1], NULL, 10) * MIB;
  peak = strtoul(arguments[2], NULL, 10) * MIB;
  rounds = strtoul(arguments[3], NULL, 10);
  struct holder holders[thread_count];
  for (int i = 0; i < thread_count; i++) {
    holders[i] = (struct holder){.state = 4711 + (uint64_t)i};
    if (pthread_create(&holders[i].thread, NULL, run, &holders[i])) die("cannot create a thread");
  }
  for (int i = 0; i < thread_count; i++) pthread_join(holders[i].thread, NULL);
  printf("%zu KiB anonymous with %zu MiB in use\n", anonymous_kib(), base / MIB);
  return 0;
}
