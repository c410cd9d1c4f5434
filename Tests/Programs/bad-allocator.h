// A small malloc that can be preloaded, for those that have one fault: a header before each block, memory from mmap in
// pieces of 4 MiB, one lock. The file that includes this says what free does.
#ifndef BAD_ALLOCATOR_H
#define BAD_ALLOCATOR_H
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

struct block {
  size_t size; // room behind the header, a power of two
  struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *lists[64];
static char *fresh, *fresh_end;

static void give_back(struct block *block);

static int bin_of(size_t size) { return size <= 16 ? 4 : 64 - __builtin_clzll(size - 1); }

static void *take(size_t size, size_t alignment) {
  if (size > (size_t)1 << 40) return errno = ENOMEM, NULL;
  int bin = bin_of(size + (alignment > 16 ? alignment : 0));
  pthread_mutex_lock(&lock);
  struct block *block = lists[bin];
  if (block && alignment <= 16) {
    lists[bin] = block->next;
  } else {
    size_t whole = sizeof *block + ((size_t)1 << bin);
    if (fresh + whole > fresh_end) {
      size_t piece = whole > 4 << 20 ? (whole + 4095) & ~(size_t)4095 : 4 << 20;
      fresh = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      fresh_end = fresh + piece;
    }
    block = (struct block *)fresh;
    fresh += whole;
    block->size = (size_t)1 << bin;
  }
  pthread_mutex_unlock(&lock);
  if (alignment <= 16) return block + 1;
  // The header is copied to right before the aligned place; such blocks are never used again.
  uintptr_t place = ((uintptr_t)(block + 2) + alignment - 1) & ~(alignment - 1);
  ((struct block *)place)[-1].size = 0;
  return (void *)place;
}

#define EXPORT __attribute__((visibility("default")))
EXPORT void *malloc(size_t size) { return take(size, 16); }
EXPORT void *memalign(size_t alignment, size_t size) { return take(size, alignment); }
EXPORT void *aligned_alloc(size_t alignment, size_t size) { return take(size, alignment); }
EXPORT int posix_memalign(void **to, size_t alignment, size_t size) { return (*to = take(size, alignment)) ? 0 : ENOMEM; }
EXPORT void free(void *place) {
  if (place == NULL || ((struct block *)place)[-1].size == 0) return;
  pthread_mutex_lock(&lock);
  give_back((struct block *)place - 1);
  pthread_mutex_unlock(&lock);
}
EXPORT void *calloc(size_t count, size_t size) {
  void *place = take(count * size, 16);
  return place ? memset(place, 0, count * size) : NULL;
}
EXPORT void *realloc(void *place, size_t size) {
  void *copy = take(size, 16);
  size_t old = place ? ((struct block *)place)[-1].size : 0;
  if (copy && place) memcpy(copy, place, old < size ? old : size), free(place);
  return copy;
}
#endif
