// What every workload shares: a clock, a small random generator and the one line of output.
// The first argument of each program is how many operations to make, so that a run can be scaled.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
  uint64_t state;
} Random;

/// xorshift64*: about one nanosecond a number, so that it does not drown what is measured.
static inline uint64_t random_next(Random *random) {
  uint64_t x = random->state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  random->state = x;
  return x * 0x2545F4914F6CDD1DULL;
}

static inline uint32_t random_below(Random *random, uint32_t limit) {
  return (uint32_t)(((random_next(random) >> 32) * limit) >> 32);
}

static inline Random random_seeded(uint64_t seed) {
  return (Random){(seed + 1) * 0x9E3779B97F4A7C15ULL};
}

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/// Tells the compiler that the block is used, so that neither it nor its contents are optimised away.
static inline void keep(void *block) { __asm__ volatile("" : : "r"(block) : "memory"); }

static inline void *must(void *block) {
  if (block == NULL) {
    fputs("out of memory\n", stderr);
    exit(1);
  }
  return block;
}

static inline uint64_t argument(int argc, char **argv, int index) {
  if (index >= argc) {
    fprintf(stderr, "%s: argument %d is missing\n", argv[0], index);
    exit(2);
  }
  return strtoull(argv[index], NULL, 10);
}

static inline bool argument_is(int argc, char **argv, int index, const char *word) {
  argument(argc, argv, index);
  return strcmp(argv[index], word) == 0;
}

/// Time on the wall and of all threads on the cores. On a busy machine only the second is the program's own.
typedef struct {
  uint64_t wall, cpu;
} Stopwatch;

static inline Stopwatch stopwatch(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (Stopwatch){now_ns(), (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec};
}

static inline Stopwatch elapsed(Stopwatch start) {
  Stopwatch now = stopwatch();
  return (Stopwatch){now.wall - start.wall, now.cpu - start.cpu};
}

static inline void report(uint64_t ops, Stopwatch taken) {
  double each = (double)ops;
  printf(
      "ops %llu ns_per_op %.2f cpu_ns_per_op %.2f\n", (unsigned long long)ops, (double)taken.wall / each,
      (double)taken.cpu / each);
}

/// Sizes drawn beforehand; a power of two of them. With `octaves` every doubling is equally likely
/// (what programs ask for is spread like that), else every size is.
enum { SIZES = 8192 };
static inline void draw_sizes(uint32_t *sizes, Random *random, uint32_t low, uint32_t high, bool octaves) {
  for (int i = 0; i < SIZES; i++) {
    uint32_t bottom = low, top = high;
    if (octaves) {
      uint32_t doublings = 0;
      while ((uint64_t)low << (doublings + 1) <= high) doublings++;
      bottom = low << random_below(random, doublings + 1);
      top = bottom * 2 < high ? bottom * 2 : high;
    }
    sizes[i] = bottom + random_below(random, top - bottom + 1);
  }
}
