// pairs OPS SIZE: take a block, write its first byte, give it back. The shortest path there is.
#include "bench.h"

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  size_t size = argument(argc, argv, 2);
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    char *block = must(malloc(size));
    *block = (char)i;
    keep(block);
    free(block);
  }
  report(ops, elapsed(start));
}
