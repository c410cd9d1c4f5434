// How much memory: of a trivial program, of one growing buffer, after malloc_trim, and whether the
// statistics tell the truth about it.
#include <malloc.h>

#include "check.h"

// idle: a program that does next to nothing prints what it holds.
static void idle(int argc, char **argv) {
  (void)argc, (void)argv;
  void *volatile block = malloc(100);
  CHECK(block != NULL);
  printf("VmSize %ld KiB\nresident %ld KiB\n", virtual_kib(), resident_kib());
}

// growth linear|geometric: one buffer from 1 to 256 MiB, every byte touched and kept.
static void growth(int argc, char **argv) {
  const size_t most = 256 * MIB;
  bool linear = argc > 0 && strcmp(argv[0], "linear") == 0;
  size_t size = MIB;
  long base = resident_kib(), peak_base = peak_kib(), sampled = 0;
  uint64_t *words = malloc(size);
  CHECK(words != NULL);
  for (size_t i = 0; i < size / 8; i++) words[i] = i * 2654435761u;
  while (size < most) {
    size_t next = linear ? size + MIB : (size + size / 2) / 8 * 8;
    next = next < most ? next : most;
    CHECK((words = realloc(words, next)) != NULL);
    for (size_t i = 0; i < size / 8; i += 509) CHECK(words[i] == i * 2654435761u);
    for (size_t i = size / 8; i < next / 8; i++) words[i] = i * 2654435761u;
    size = next;
    long now = resident_kib() - base;
    sampled = now > sampled ? now : sampled;
  }
  for (size_t i = 0; i < most / 8; i++) CHECK(words[i] == i * 2654435761u);
  long peak = peak_kib() - peak_base;
  printf("peak %ld KiB, sampled %ld KiB\n", peak, sampled);
  CHECK(peak <= (long)(most / 1024) * 115 / 100, "peak %ld KiB", peak);
  CHECK(sampled <= (long)(most / 1024) * 115 / 100, "sampled %ld KiB", sampled);
  free(words);
  CHECK(resident_kib() - base < 16 * 1024, "256 MiB freed, %ld KiB resident", resident_kib() - base);
}

// Fills with blocks of lo ... hi bytes, every byte written, chained; frees a chain.
static void *fill(size_t bytes, size_t lo, size_t hi) {
  void *chain = NULL;
  uint64_t random = 3;
  for (size_t total = 0, size; total < bytes; total += size) {
    size = lo + next_random(&random) % (hi - lo + 1);
    void *block = malloc(size);
    CHECK(block != NULL);
    memset(block, 0x33, size);
    *(void **)block = chain;
    chain = block;
  }
  return chain;
}
static void drain(void *chain) {
  for (void *next; chain != NULL; chain = next) next = *(void **)chain, free(chain);
}

static void trim(int argc, char **argv) {
  (void)argc, (void)argv;
  long base = resident_kib();
  void *small = fill(100 * MIB, 16, 2000), *large = fill(100 * MIB, 40000, 4 * MIB);
  long full = resident_kib() - base;
  drain(small), drain(large);
  int result = malloc_trim(0);
  long left = resident_kib() - base;
  printf("%ld KiB full, %ld KiB after malloc_trim (which said %d)\n", full, left, result);
  CHECK(left * 10 < full, "%ld of %ld KiB left", left, full);
  CHECK(result == 0 || result == 1);
  small = fill(50 * MIB, 16, 2000);  // and it goes on
  drain(small);
}

static size_t used(void) {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}
static void within(size_t got, size_t wanted, const char *what) {
  CHECK(got >= wanted && got <= wanted + wanted / 4 + MIB, "%s: %zu for %zu", what, got, wanted);
}
static void statistics(int argc, char **argv) {
  (void)argc, (void)argv;
  size_t before = used();
  void *small = fill(64 * MIB, 500, 1500);
  size_t with_small = used();
  within(with_small - before, 64 * MIB, "64 MiB of small blocks");
  void *large = fill(64 * MIB, 50000, 2 * MIB);
  within(used() - with_small, 64 * MIB, "64 MiB of large blocks");
  size_t with_large = used();
  void *huge = malloc(100 * MIB);
  within(used() - with_large, 100 * MIB, "a block of 100 MiB");
  struct mallinfo2 info = mallinfo2();
  CHECK(info.arena + info.hblkhd >= 228 * MIB, "arena %zu, hblkhd %zu", info.arena, info.hblkhd);
  struct mallinfo old = mallinfo();
  CHECK((size_t)(unsigned)old.uordblks + (size_t)(unsigned)old.hblkhd >= 228 * MIB);
  free(huge), drain(large), drain(small);
  size_t after = used();
  // What threads keep ready is not in use; 1 % of what was is allowed.
  CHECK(after <= before + 228 * MIB / 100, "%zu before, %zu after", before, after);
  // What is not in use any more may be kept, but then it is counted as free.
  malloc_trim(0);
  CHECK(mallinfo2().fordblks < 400 * MIB);
  CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) >= 0 && mallopt(M_ARENA_MAX, 2) >= 0);
  int unknown = mallopt(9999, 1);
  CHECK(unknown == 0 || unknown == 1);
}

// info: the XML of malloc_info on standard output, with 32 MiB in use.
static void info(int argc, char **argv) {
  (void)argc, (void)argv;
  void *chain = fill(32 * MIB, 100, 3000);
  errno = 0;
  CHECK(malloc_info(1, stdout) != 0, "there are no options: a value other than 0 is refused");
  CHECK(malloc_info(0, stdout) == 0);
  fflush(stdout);
  drain(chain);
  exit(0);
}
static void stats(int argc, char **argv) {
  (void)argc, (void)argv;
  free(malloc(1000));
  malloc_stats();
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"idle", idle},       {"growth", growth}, {"trim", trim},
                                     {"info", info},       {"stats", stats},   {"statistics", statistics}};
  return run_command(commands, COUNT(commands), argc, argv);
}
