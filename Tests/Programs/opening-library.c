// A library with a run path of its own, which opens its neighbour as plug-ins are opened: libc's dlopen looks at who calls it. With
// OPEN_EARLY in the environment it does so in its constructor, which runs before that of a library that is preloaded before it.
#include <dlfcn.h>

#include "check.h"

// No tail call, which would make its caller the one.
void *open_neighbour(const char *name, int mode) { return laundered(dlopen(name, mode)); }

static void *early;
void *opened_early(void) { return early; }
__attribute__((constructor)) static void start(void) {
  if (getenv("OPEN_EARLY") != NULL) early = dlopen("neighbour.so", RTLD_NOW | RTLD_DEEPBIND);
}
