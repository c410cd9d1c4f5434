// usage: locked LIMIT-KIB
// A program that locks all its memory, present and future: whatever the allocator commits then becomes resident at once, so it must
// commit in steps. 16 MiB of blocks are held; fails if more than the limit is resident, or if a block changes.
#include <pthread.h>
#include <sys/mman.h>

#include "support.h"

enum { thread_count = 4 };

static void *hold(void *number) {
  uint64_t state = 7 + (uintptr_t)number;
  struct block *blocks = NULL;
  for (size_t held = 0; held < 16 * MIB / (thread_count + 1);) {
    size_t size = sizeof(struct block) + next_random(&state) % (next_random(&state) % 20 ? 2 * KIB : 200 * KIB);
    struct block *block = malloc(size);
    if (!block) die("malloc(%zu) returned NULL", size);
    block_fill(block, size, next_random(&state));
    block->next = blocks;
    blocks = block;
    held += size;
  }
  return blocks;
}

int main(int count, char **arguments) {
  if (count != 2) die("usage: locked LIMIT-KIB");
  require_preloaded();
  size_t limit = strtoul(arguments[1], NULL, 10);
  struct block *lists[thread_count + 1];
  // Small stacks: eight megabytes for each thread would be locked too.
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * KIB);
  free(malloc(1000));
  if (mlockall(MCL_CURRENT | MCL_FUTURE)) die("mlockall: errno %d", errno);
  size_t locked = anonymous_kib();
  pthread_t threads[thread_count];
  for (uintptr_t i = 0; i < thread_count; i++)
    if (pthread_create(&threads[i], &attributes, hold, (void *)i)) die("cannot create a thread");
  lists[thread_count] = hold((void *)99);
  for (int i = 0; i < thread_count; i++) pthread_join(threads[i], (void **)&lists[i]);
  size_t resident = anonymous_kib();
  for (int i = 0; i <= thread_count; i++)
    for (struct block *block = lists[i], *next; block; block = next) {
      next = block->next;
      block_check(block);
      free(block);
    }
  printf("%zu KiB after mlockall, %zu KiB with 16 MiB in use, %zu KiB after free, limit %zu KiB\n", locked, resident,
         anonymous_kib(), limit);
  fflush(stdout);
  if (resident > limit) die("%zu KiB are more than %zu KiB", resident, limit);
  return 0;
}
