// What runs when the .so is loaded.
#include <pthread.h>

#include "bellows_process.h"

__attribute__((constructor)) static void start(void) {
  pthread_atfork(bellows_fork_prepare, bellows_fork_parent, bellows_fork_child);
  // Of a process with several threads the kernel takes about 15 ms to register, and its end waits for that.
  if (bellows_is_single_threaded() && !bellows_is_filtered()) bellows_barrier_start();
  bellows_started();
}
