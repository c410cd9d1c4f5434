// What runs when the .so is loaded: before every other constructor, libc's own included (the linker's flag initfirst), unless
// a library that was loaded later asks for the same.
#include "bellows_process.h"

__attribute__((constructor)) static void start(void) {
  bellows_threads_start();
  bellows_filters_start();
  bellows_started();
}
