// batch OPS fifo|lifo SIZE: many blocks are taken, then all are freed, oldest or newest first.
#include "bench.h"

enum { BATCH = 20000 };
static char *blocks[BATCH];

int main(int argc, char **argv) {
  uint64_t rounds = argument(argc, argv, 1) / BATCH + 1;
  bool oldest_first = argument_is(argc, argv, 2, "fifo");
  size_t size = argument(argc, argv, 3);
  Stopwatch start = stopwatch();
  for (uint64_t round = 0; round < rounds; round++) {
    for (int i = 0; i < BATCH; i++) {
      blocks[i] = must(malloc(size));
      *blocks[i] = (char)i;
    }
    if (oldest_first)
      for (int i = 0; i < BATCH; i++) free(blocks[i]);
    else
      for (int i = BATCH; i-- > 0;) free(blocks[i]);
  }
  report(rounds * BATCH, elapsed(start));
}
