// zeroed OPS LOW HIGH: calloc of random sizes into a table of 64 blocks, each read and then written at both
// ends, so that the next owner finds dirt where the allocator did not clear. Fails when a byte is not zero.
#include "bench.h"

enum { TABLE = 64 };
static char *table[TABLE];
static uint32_t sizes[SIZES];

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  Random random = random_seeded(9);
  draw_sizes(sizes, &random, (uint32_t)argument(argc, argv, 2), (uint32_t)argument(argc, argv, 3), true);
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    uint32_t slot = random_below(&random, TABLE), size = sizes[i % SIZES];
    free(table[slot]);
    char *block = must(calloc(1, size));
    if ((block[0] | block[size / 2] | block[size - 1]) != 0) {
      fputs("calloc gave memory that is not zero\n", stderr);
      return 1;
    }
    block[0] = block[size / 2] = block[size - 1] = 1;
    table[slot] = block;
  }
  Stopwatch taken = elapsed(start);
  for (int i = 0; i < TABLE; i++) free(table[i]);
  report(ops, taken);
}
