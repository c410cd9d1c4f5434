// Registers fork handlers in its constructor that allocate, and that take a mutex under which threads allocate: a library of the
// program's, which knows nothing of malloc's own handlers (jemalloc#1805, jemalloc#315).
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void use(void) {
  for (size_t size = 1; size < 9u << 20; size = size * 3 + 7) {
    char *block = malloc(size);
    if (!block) abort();
    block[0] = block[size - 1] = 1;
    block = realloc(block, size * 2);
    if (!block) abort();
    free(block);
  }
  for (int i = 0; i < 3000; i++) {
    void *volatile block = malloc(200);
    free(block);
  }
}

void atfork_use_locked(void) {
  pthread_mutex_lock(&mutex);
  use();
  pthread_mutex_unlock(&mutex);
}

static void prepare(void) {
  use();
  pthread_mutex_lock(&mutex);
  use();
}
static void after(void) {
  use();
  pthread_mutex_unlock(&mutex);
  use();
}

__attribute__((constructor)) static void start(void) { pthread_atfork(prepare, after, after); }
