// A plug-in that programs open with RTLD_DEEPBIND: its malloc and free are then libc's own, and
// what it hands out is foreign to a preloaded allocator.
#include "check.h"

void *plugin_make(size_t size) {
  char *block = malloc(size);
  if (block != NULL) memset(block, 'p', size);
  return block;
}
void *plugin_make_aligned(size_t alignment, size_t size) {
  char *block = aligned_alloc(alignment, size);
  if (block != NULL) memset(block, 'p', size);
  return block;
}
void plugin_free(void *block) { free(block); }
void *plugin_malloc_address(void) { return (void *)(uintptr_t)malloc; }
