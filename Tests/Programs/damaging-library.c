// A malloc that writes where it must not: now and then into the block that lies behind one that is freed.
#include "bad-allocator.h"

static void give_back(struct block *block) {
  static unsigned count;
  static struct block *last;
  if (++count % 5000 == 0 && last) *(char *)(last + 1) ^= 0x55;
  last = (struct block *)((char *)(block + 1) + block->size);
  if ((char *)(last + 1) > fresh) last = NULL;
  int bin = bin_of(block->size);
  block->next = lists[bin];
  lists[bin] = block;
}
