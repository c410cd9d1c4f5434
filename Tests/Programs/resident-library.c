// Preloaded into any program: says on standard error, as it ends, how much anonymous memory it has, in KiB.
#include "check.h"

__attribute__((destructor)) static void report(void) { dprintf(STDERR_FILENO, "resident %ld\n", resident_kib()); }
