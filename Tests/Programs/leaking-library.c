// A malloc that loses every eighth block that is freed: in a service, memory grows for ever.
#include "bad-allocator.h"

static void give_back(struct block *block) {
  static unsigned count;
  if (count++ % 8 == 0) return;
  int bin = bin_of(block->size);
  block->next = lists[bin];
  lists[bin] = block;
}
