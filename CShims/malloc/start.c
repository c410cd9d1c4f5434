// What runs when the .so is loaded.
#include <pthread.h>

#include "bellows_process.h"

__attribute__((constructor)) static void start(void) {
  pthread_atfork(bellows_fork_prepare, bellows_fork_parent, bellows_fork_child);
  bellows_started();
}
