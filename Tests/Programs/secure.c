// Linked to the library. Says whether it runs with somebody else's rights (then no environment
// variable may have a say) and whose malloc it has.
#include <dlfcn.h>
#include <sys/auxv.h>

#include "check.h"

int main(void) {
  Dl_info malloc_info;
  CHECK(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &malloc_info) != 0);
  for (size_t size = 1; size < 100 * MIB; size *= 2) {
    char *block = malloc(size);
    CHECK(block != NULL);
    pattern_write(block, size, 1), pattern_check(block, size, 1);
    free(block);
  }
  printf("secure %lu\nmalloc of %s\nok\n", getauxval(AT_SECURE), malloc_info.dli_fname);
}
