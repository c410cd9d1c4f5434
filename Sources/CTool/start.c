#include <stddef.h>
#include <sys/auxv.h>

#include "bellows_tool.h"

static int count;
static char **arguments;

// glibc hands main's arguments to constructors, too.
__attribute__((constructor)) static void note(int number, char **texts) {
  count = number;
  arguments = texts;
}

int bellows_argument_count(void) { return count; }

const char *bellows_argument(int i) { return i >= 0 && i < count ? arguments[i] : NULL; }

const char *bellows_executed_path(void) { return (const char *)getauxval(AT_EXECFN); }
