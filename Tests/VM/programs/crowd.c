// usage: crowd LIMIT-KIB
// Many threads that each hold a few small blocks of many sizes: 100 x 64 sizes of 16 to 1024 bytes, 3.3 MB in all. Fails if the
// process has more anonymous memory than the limit while all are alive. Stacks are too small to be given a huge page, so that a
// huge page in the figure is the allocator's.
#include <pthread.h>

#include "support.h"

enum { thread_count = 100, size_count = 64 };

static pthread_barrier_t filled, measured;

static void *hold(void *number) {
  unsigned char *blocks[size_count];
  unsigned char mark = (unsigned char)(uintptr_t)number;
  for (int i = 0; i < size_count; i++) {
    blocks[i] = malloc((i + 1) * 16);
    if (!blocks[i]) die("malloc returned NULL");
    memset(blocks[i], mark + i, (i + 1) * 16);
  }
  pthread_barrier_wait(&filled);
  pthread_barrier_wait(&measured);
  for (int i = 0; i < size_count; i++) {
    for (int at = 0; at < (i + 1) * 16; at++)
      if (blocks[i][at] != (unsigned char)(mark + i)) die("a block of %d bytes has changed", (i + 1) * 16);
    free(blocks[i]);
  }
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 2) die("usage: crowd LIMIT-KIB");
  require_preloaded();
  size_t limit = strtoul(arguments[1], NULL, 10);
  pthread_t threads[thread_count];
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * KIB);
  pthread_barrier_init(&filled, NULL, thread_count + 1);
  pthread_barrier_init(&measured, NULL, thread_count + 1);
  for (uintptr_t i = 0; i < thread_count; i++)
    if (pthread_create(&threads[i], &attributes, hold, (void *)i)) die("cannot create thread %zu", (size_t)i);
  pthread_barrier_wait(&filled);
  size_t resident = anonymous_kib();
  size_t huge = kernel_figure("/proc/self/smaps_rollup", "\nAnonHugePages:");
  pthread_barrier_wait(&measured);
  for (int i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);
  printf("%zu KiB anonymous, %zu KiB of it huge pages, limit %zu KiB\n", resident, huge, limit);
  fflush(stdout);
  if (resident > limit) die("%zu KiB are more than %zu KiB", resident, limit);
  return 0;
}
