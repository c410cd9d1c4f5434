// large OPS SIZE|random untouched|touched: pairs of one large size, or a table of sixteen blocks of 32 KiB to
// 20 MiB. Touched means one byte written in each page.
#include "bench.h"

enum { PAGE = 4096, TABLE = 16 };
static char *table[TABLE];
static uint32_t sizes[SIZES];

static char *take(size_t size, bool touched) {
  char *block = must(malloc(size));
  if (touched)
    for (size_t i = 0; i < size; i += PAGE) block[i] = 1;
  keep(block);
  return block;
}

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  bool mixed = argument_is(argc, argv, 2, "random");
  bool touched = argument_is(argc, argv, 3, "touched");
  Random random = random_seeded(20);
  if (mixed) draw_sizes(sizes, &random, 32 << 10, 20 << 20, true);
  size_t size = argument(argc, argv, 2);

  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    if (mixed) {
      uint32_t slot = random_below(&random, TABLE);
      free(table[slot]);
      table[slot] = take(sizes[i % SIZES], touched);
    } else {
      free(take(size, touched));
    }
  }
  Stopwatch taken = elapsed(start);
  for (int i = 0; i < TABLE; i++) free(table[i]);
  report(ops, taken);
}
