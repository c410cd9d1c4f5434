// Preloaded beside the library under test: its constructor runs before every other one
// (-z initfirst), and allocates there. Its destructor frees what is left.
#include "check.h"

static void *blocks[32];

__attribute__((constructor)) static void constructor(void) {
  for (size_t i = 0; i < COUNT(blocks); i++) {
    blocks[i] = calloc(1, (size_t)16 << (i % 20));
    CHECK(blocks[i] != NULL);
    memset(blocks[i], (int)i, (size_t)16 << (i % 20));
  }
  for (size_t i = 0; i < COUNT(blocks); i += 2) free(blocks[i]), blocks[i] = NULL;
}

__attribute__((destructor)) static void destructor(void) {
  for (size_t i = 0; i < COUNT(blocks); i++) {
    CHECK(blocks[i] == NULL || *(unsigned char *)blocks[i] == i);
    free(blocks[i]);
  }
}
