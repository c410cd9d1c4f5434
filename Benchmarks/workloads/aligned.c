// aligned OPS: aligned blocks of 64 to 4096 bytes at 32, 64, 256 and 4096, in a table of 1000.
#include "bench.h"

enum { TABLE = 1000 };
static char *table[TABLE];
static uint32_t sizes[SIZES];
static const size_t alignments[8] = {64, 32, 64, 256, 64, 32, 64, 4096};

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  Random random = random_seeded(6);
  draw_sizes(sizes, &random, 64, 4096, true);
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    uint32_t slot = random_below(&random, TABLE);
    size_t alignment = alignments[i % 8];
    void *block = NULL;
    free(table[slot]);
    if (posix_memalign(&block, alignment, sizes[i % SIZES]) != 0 || (uintptr_t)block % alignment != 0) {
      fputs("posix_memalign failed or did not align\n", stderr);
      return 1;
    }
    table[slot] = block;
    *table[slot] = (char)i;
  }
  Stopwatch taken = elapsed(start);
  for (int i = 0; i < TABLE; i++) free(table[i]);
  report(ops, taken);
}
