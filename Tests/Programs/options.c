// mallopt with every parameter, and the aligned allocators with sizes and alignments that cannot be: a row each, to be compared
// with libc's malloc.
#include <malloc.h>

#include "check.h"

static void options(int argc, char **argv) {
  (void)argc, (void)argv;
  const int values[] = {INT32_MIN, -1000000, -2, -1, 0, 1, 2, 7, 64, 80, 128, 159, 160, 161, 1000, 65536, 131072, 1 << 20,
                        (32 << 20) - 1, 32 << 20, (32 << 20) + 1, 1 << 30, INT32_MAX};
  for (int parameter = -20; parameter <= 20; parameter++)
    for (size_t i = 0; i < COUNT(values); i++)
      printf("mallopt(%d, %d) %d\n", parameter, values[i], mallopt(parameter, values[i]));
}

// Answers NULL or a block, and errno after it; the block must be aligned and is freed.
static void row(const char *function, size_t alignment, size_t size, void *block) {
  int error = errno;
  printf("%s(%#zx, %#zx) %s, errno %d\n", function, alignment, size, block ? "a block" : "NULL", error);
  size_t power = 1;
  while (power < alignment && power < GIB) power *= 2;
  CHECK((uintptr_t)block % power == 0);
  free(block);
}

static void absurd(int argc, char **argv) {
  (void)argc, (void)argv;
  const size_t top = SIZE_MAX / 2;
  const size_t alignments[] = {0, 1, 2, 3, 8, 12, 16, 24, 64, 4096, 5000, 1 << 21, top / 2, top / 2 + 1, top / 2 + 2,
                               top - 1, top, top + 1, top + 2, SIZE_MAX - 4096, SIZE_MAX - 1, SIZE_MAX};
  const size_t sizes[] = {0, 1, 100, 1 << 20, top / 2, top - 8192, top - 4096, top - 16, top - 1, top, top + 1, top + 2,
                          SIZE_MAX - 8192, SIZE_MAX - 4096, SIZE_MAX - 100, SIZE_MAX - 16, SIZE_MAX - 1, SIZE_MAX};
  for (size_t s = 0; s < COUNT(sizes); s++) {
    size_t size = sizes[s];
    errno = 0, row("malloc", 16, size, malloc(size));
    errno = 0, row("calloc", 16, size, calloc(1, size));
    errno = 0, row("valloc", 4096, size, valloc(size));
    errno = 0, row("pvalloc", 4096, size, pvalloc(size));
    errno = 0, row("realloc", 0, size | 1, realloc(NULL, size | 1));
    for (size_t a = 0; a < COUNT(alignments); a++) {
      size_t alignment = alignments[a];
      errno = 0, row("memalign", alignment, size, memalign(alignment, size));
      // What is no power of two is for aligned_alloc as it is for memalign in glibc before 2.38, and EINVAL since and here.
      if (alignment != 0 && (alignment & (alignment - 1)) == 0)
        errno = 0, row("aligned_alloc", alignment, size, aligned_alloc(alignment, size));
      void *block = NULL;
      errno = 0;
      int result = posix_memalign(&block, alignment, size);
      CHECK(errno == 0 || errno == ENOMEM, "posix_memalign(%#zx, %#zx)", alignment, size);
      errno = result, row("posix_memalign", alignment, size, block);
    }
  }
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"options", options}, {"absurd", absurd}};
  return run_command(commands, COUNT(commands), argc, argv);
}
