// Sizes that the machine has no memory for: a row each, to be compared with libc's malloc. In overcommit mode 0 the kernel refuses a
// request for more than all its memory, and what it refuses is NULL and ENOMEM, not a promise that ends in the OOM killer.
#include <malloc.h>
#include <sys/sysinfo.h>

#include "check.h"

// Only the ends are touched.
static void mark(char *block, size_t size, char value) { block[0] = block[size - 1] = value; }

static void is_marked(char *block, size_t size, char value) { CHECK(block[0] == value && block[size - 1] == value); }

static void refused(const char *what, void *block) {
  printf("%s %s, errno %d\n", what, block ? "a block" : "NULL", errno);
  free(block);
  errno = 0;
}

int main(void) {
  struct sysinfo machine;
  CHECK(sysinfo(&machine) == 0);
  size_t memory = (machine.totalram + machine.totalswap) * machine.mem_unit;
  size_t absurd = memory * 4;
  void *block = NULL;
  errno = 0;
  refused("malloc", malloc(absurd));
  refused("malloc of a little more than there is", malloc(memory + memory / 16));
  refused("calloc", calloc(1, absurd));
  refused("calloc of many", calloc(absurd / 4096, 4096));
  refused("realloc of nothing", realloc(NULL, absurd));
  refused("reallocarray of nothing", reallocarray(NULL, absurd / 64, 64));
  refused("aligned_alloc to 64", aligned_alloc(64, absurd));
  refused("memalign to 2 MiB", memalign(2 * MIB, absurd));
  refused("memalign to 1 GiB", memalign(GIB, absurd));
  refused("valloc", valloc(absurd));
  refused("pvalloc", pvalloc(absurd));
  errno = posix_memalign(&block, 4096, absurd);
  refused("posix_memalign", block);

  // Blocks that stay as they were: small, large, huge, and huge with slack behind it.
  const size_t sizes[] = {100, 20000, 300 * KIB, 20 * MIB, 60 * MIB, 100 * MIB, 1000 * MIB};
  for (size_t i = 0; i < COUNT(sizes); i++)
    for (int grown = 0; grown < 2; grown++) {
      size_t size = sizes[i];
      char *held = malloc(size);
      CHECK(held != NULL);
      mark(held, size, 'h');
      if (grown) {
        CHECK((held = realloc(held, size + size / 8)) != NULL && held[0] == 'h' && held[size - 1] == 'h');
        mark(held, size += size / 8, 'h');
      }
      errno = 0;
      char *larger = realloc(held, absurd);
      printf("realloc of %zu bytes: %s, errno %d\n", size, larger ? "a block" : "NULL", errno);
      if (larger != NULL) held = larger;
      is_marked(held, size, 'h');
      CHECK((held = realloc(held, size + MIB)) != NULL && held[0] == 'h' && held[size - 1] == 'h');
      free(held);
    }

  // What the machine could have: more than a half of it, and growth by less than all of it, past what there is.
  char *half = calloc(1, memory / 12 * 5);
  printf("calloc of 5/12: %s\n", half ? "a block" : "NULL");
  CHECK(half != NULL);
  mark(half, memory / 12 * 5, 'g');
  size_t size = memory / 12 * 5;
  const size_t twelfths[] = {6, 7, 9, 11, 13, 16, 20, 9, 20};
  for (size_t i = 0; i < COUNT(twelfths); i++) {
    size_t wanted = memory / 12 * twelfths[i];
    char *grown = realloc(half, wanted);
    printf("realloc to %zu/12: %s\n", twelfths[i], grown ? "a block" : "NULL");
    if (grown == NULL) continue;
    half = grown;
    if (wanted > size) is_marked(half, size, 'g');
    size = wanted;
    mark(half, size, 'g');
  }
  free(half);
  puts("ok");
}
