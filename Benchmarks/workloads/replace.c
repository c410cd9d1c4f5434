// replace OPS LIVE LOW HIGH uniform|octaves: a table of LIVE blocks; each operation frees a random one
// and puts a new one of random size there, so that lifetimes are random too.
#include "bench.h"

static uint32_t sizes[SIZES];

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  uint32_t live = (uint32_t)argument(argc, argv, 2);
  Random random = random_seeded(live);
  draw_sizes(
      sizes, &random, (uint32_t)argument(argc, argv, 3), (uint32_t)argument(argc, argv, 4),
      argument_is(argc, argv, 5, "octaves"));

  char **table = must(calloc(live, sizeof *table));
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    uint32_t slot = random_below(&random, live);
    uint32_t size = sizes[i % SIZES];
    free(table[slot]);
    char *block = must(malloc(size));
    block[0] = block[size - 1] = (char)i;
    table[slot] = block;
  }
  Stopwatch taken = elapsed(start);
  for (uint32_t i = 0; i < live; i++) free(table[i]);
  free(table);
  report(ops, taken);
}
