// What runs when the .so is loaded: before every other constructor, libc's own included (the linker's flag initfirst), unless
// a library that was loaded later asks for the same.
#include "bellows_process.h"
#include "bellows_shims.h"

__attribute__((constructor)) static void start(void) {
  // Of a process with several threads the kernel takes about 15 ms to register, and its end waits for that.
  if (bellows_is_single_threaded() && !bellows_is_filtered()) bellows_barrier_start();
  bellows_started();
}
