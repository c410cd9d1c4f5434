// Does every function of the malloc ABI keep its contract? One sub-command per topic; sizes are
// 0, 1 and 2^k - 1, 2^k, 2^k + 1 up to 1 GiB, and what no machine can give.
#include <dlfcn.h>
#include <malloc.h>
#include <stdalign.h>

#include "check.h"

// Not in every libc's headers, some not in glibc at all: looked up, and wanted.
static void *wanted(const char *name) {
  void *function = dlsym(RTLD_DEFAULT, name);
  CHECK(function != NULL, "%s is not defined", name);
  return function;
}

static const size_t impossible[] = {
    SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4095, SIZE_MAX - 4096, SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 2,
    PTRDIFF_MAX, PTRDIFF_MAX - 15, PTRDIFF_MAX - 4096, PTRDIFF_MAX - 2 * MIB, PTRDIFF_MAX - 256 * MIB,
    PTRDIFF_MAX / 2, (size_t)1 << 48, ((size_t)1 << 48) - 4096};

static void each_size(void (*visit)(size_t)) {
  visit(0);
  for (int k = 0; k <= 30; k++)
    for (int d = -1; d <= 1; d++) visit(((size_t)1 << k) + (size_t)d);
}

// A block must be aligned, and all that it says is usable must be writable.
static void *checked(void *block, size_t size, size_t alignment) {
  block = laundered(block);
  CHECK(block != NULL, "%zu bytes", size);
  if (alignment < alignof(max_align_t)) alignment = alignof(max_align_t);
  CHECK((uintptr_t)block % alignment == 0, "%p is not aligned to %zu (size %zu)", block, alignment, size);
  size_t usable = malloc_usable_size(block);
  CHECK(usable >= size, "usable %zu of %zu", usable, size);
  CHECK(usable <= size + size / 4 + 4096 + alignment, "usable %zu of %zu", usable, size);
  pattern_write(block, usable, size);
  pattern_check(block, usable, size);
  return block;
}

static bool is_zero(const unsigned char *block, size_t size) {
  size_t stride = size > 16 * MIB ? 4096 : 1;
  for (size_t i = 0; i < size; i += stride)
    if (block[i] != 0) return false;
  return size == 0 || block[size - 1] == 0;
}

// Each function with one size, all blocks alive together, so that an overlap would be seen.
static void one_size(size_t size) {
  void *(*reallocarray_)(void *, size_t, size_t) = wanted("reallocarray");
  void *blocks[9];
  size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
  blocks[count++] = checked(malloc(size), size, 1);
  void *zeroed = calloc(1, size);
  CHECK(zeroed != NULL && is_zero(zeroed, size), "calloc of %zu", size);
  blocks[count++] = checked(zeroed, size, 1);
  blocks[count++] = checked(realloc(NULL, size), size, 1);
  blocks[count++] = checked(reallocarray_(NULL, 1, size), size, 1);
  void *aligned = NULL;
  CHECK(posix_memalign(&aligned, 64, size) == 0);
  blocks[count++] = checked(aligned, size, 64);
  blocks[count++] = checked(aligned_alloc(16, size), size, 16);
  blocks[count++] = checked(memalign(32, size), size, 32);
  blocks[count++] = checked(valloc(size), size, page);
  blocks[count++] = checked(pvalloc(size), (size + page - 1) / page * page, page);
  for (size_t i = 0; i < count; i++)
    for (size_t j = i + 1; j < count; j++) CHECK(blocks[i] != blocks[j], "one address twice, size %zu", size);
  for (size_t i = 0; i < count; i++) {
    size_t written = i == count - 1 ? (size + page - 1) / page * page : size;
    pattern_check(blocks[i], malloc_usable_size(blocks[i]), written);
    free(blocks[i]);
  }
}
static void sizes(int argc, char **argv) {
  (void)argc, (void)argv;
  each_size(one_size);
}

static void one_alignment(size_t alignment) {
  const size_t sizes[] = {0, 1, alignment - 1, alignment, alignment + 1, alignment / 2 * 3, 100, 5000, 300000};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    size_t size = sizes[i];
    void *a = NULL, *b = aligned_alloc(alignment, size), *c = memalign(alignment, size);
    CHECK(posix_memalign(&a, alignment, size) == 0, "alignment %zu size %zu", alignment, size);
    checked(a, size, alignment), checked(b, size, alignment), checked(c, size, alignment);
    CHECK(a != b && b != c && a != c);
    size_t usable = malloc_usable_size(a);
    a = realloc(a, size + 1000);  // the contents stay, the alignment need not
    CHECK(a != NULL);
    pattern_check_kept(a, usable, size, size);
    free(b), free(a), free(c);
  }
}
static void alignments(int argc, char **argv) {
  (void)argc, (void)argv;
  for (int k = 3; k <= 31; k++) one_alignment((size_t)1 << k);
}

static void alignment_errors(int argc, char **argv) {
  (void)argc, (void)argv;
  const size_t bad[] = {0, 1, 2, 4, 7, 9, 12, 24, 40, 100, 4095, 4097, SIZE_MAX, SIZE_MAX / 2};
  void *const untouched = (void *)0x5a5a;
  for (size_t i = 0; i < COUNT(bad); i++) {
    void *block = untouched;
    errno = 12345;
    CHECK(posix_memalign(&block, bad[i], 100) == EINVAL, "alignment %zu", bad[i]);
    CHECK(block == untouched && errno == 12345, "posix_memalign writes only on success");
    if ((bad[i] & (bad[i] - 1)) == 0 && bad[i] != 0) continue;  // 1, 2 and 4 are valid in aligned_alloc
    errno = 0;
    CHECK(laundered(aligned_alloc(bad[i], 128)) == NULL && errno == EINVAL, "alignment %zu", bad[i]);
    // memalign of glibc rounds a strange alignment up; refusing it is as good.
    errno = 0;
    void *rounded = bad[i] < GIB ? laundered(memalign(bad[i], 100)) : NULL;
    if (rounded != NULL)
      CHECK((uintptr_t)rounded % 16 == 0 && (bad[i] < 3 || (uintptr_t)rounded % (bad[i] & -bad[i]) == 0));
    else
      CHECK(bad[i] >= GIB || errno == EINVAL);
    free(rounded);
  }
  for (int k = 0; k < 3; k++) free(checked(aligned_alloc((size_t)1 << k, 100), 100, 1));
  // A power of two that no address space can hold.
  volatile size_t vast = (size_t)1 << 63;
  errno = 0;
  CHECK(laundered(aligned_alloc(vast, 1)) == NULL && (errno == ENOMEM || errno == EINVAL));
  void *block = untouched;
  int result = posix_memalign(&block, vast, 1);
  CHECK((result == ENOMEM || result == EINVAL) && block == untouched);
}

static void exhaustion(int argc, char **argv) {
  (void)argc, (void)argv;
  void *(*reallocarray_)(void *, size_t, size_t) = wanted("reallocarray");
  char *kept = malloc(1000), *large = malloc(3 * MIB);
  CHECK(kept != NULL && large != NULL);
  pattern_write(kept, 1000, 7), pattern_write(large, 3 * MIB, 8);
#define REFUSED(call)                                                         \
  do {                                                                        \
    errno = 0;                                                                \
    CHECK(laundered(call) == NULL && errno == ENOMEM, "size %#zx", size);     \
  } while (0)
  for (size_t i = 0; i < COUNT(impossible); i++) {
    size_t size = impossible[i];
    REFUSED(malloc(size));
    REFUSED(calloc(1, size));
    REFUSED(calloc(size, 1));
    REFUSED(realloc(NULL, size));
    REFUSED(realloc(kept, size));
    REFUSED(realloc(large, size));
    REFUSED(reallocarray_(large, size, 1));
    REFUSED(aligned_alloc(16, size));
    REFUSED(aligned_alloc(4096, size));
    REFUSED(aligned_alloc(GIB, size));
    REFUSED(memalign(256, size));
    REFUSED(valloc(size));
    REFUSED(pvalloc(size));
    void *block = kept;
    CHECK(posix_memalign(&block, 64, size) == ENOMEM && block == kept, "size %#zx", size);
    CHECK(posix_memalign(&block, MIB, size) == ENOMEM && block == kept, "size %#zx", size);
  }
  const size_t factors[][2] = {{SIZE_MAX, 2}, {2, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX / 4 + 1, 4},
                               {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 8, 9},
                               {((size_t)1 << 32) + 1, (size_t)1 << 32}, {PTRDIFF_MAX, 3}};
  for (size_t i = 0; i < COUNT(factors); i++) {
    size_t size = factors[i][0];
    REFUSED(calloc(factors[i][0], factors[i][1]));
    REFUSED(reallocarray_(kept, factors[i][0], factors[i][1]));
    REFUSED(reallocarray_(NULL, factors[i][0], factors[i][1]));
  }
  pattern_check(kept, 1000, 7), pattern_check(large, 3 * MIB, 8);
  free(kept), free(large);
}

static void free_one(size_t size) {
  void *block = malloc(size);
  CHECK(block != NULL);
  pattern_write(block, size < 64 * KIB ? size : 64 * KIB, 1);
  errno = 12345;
  free(block);
  CHECK(errno == 12345, "free changed errno, size %zu", size);
}
static void errno_kept(int argc, char **argv) {
  (void)argc, (void)argv;
  each_size(free_one);
  errno = 12345;
  free(NULL);
  CHECK(errno == 12345);
}

static void zero_sizes(int argc, char **argv) {
  (void)argc, (void)argv;
  void *seen[64];
  for (size_t i = 0; i < COUNT(seen); i++) {
    seen[i] = i % 3 == 0 ? malloc(0) : i % 3 == 1 ? calloc(0, i) : calloc(i, 0);
    CHECK(seen[i] != NULL);
    for (size_t j = 0; j < i; j++) CHECK(seen[i] != seen[j], "two empty blocks at one address");
  }
  for (size_t i = 0; i < COUNT(seen); i++) free(seen[i]);
  CHECK(malloc_usable_size(NULL) == 0);
  // As glibc does: realloc(p, 0) frees p and answers NULL. errno stays, because it is no error.
  const size_t sizes[] = {0, 1, 64, 5000, 40000, 3 * MIB, 100 * MIB};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    void *block = malloc(sizes[i]);
    CHECK(block != NULL);
    errno = 12345;
    CHECK(realloc(block, 0) == NULL && errno == 12345, "size %zu", sizes[i]);
  }
  long before = resident_kib();
  for (int i = 0; i < 200; i++) {
    char *block = malloc(MIB);
    CHECK(block != NULL);
    memset(block, 1, MIB);
    CHECK(realloc(block, 0) == NULL);
  }
  CHECK(resident_kib() - before < 50 * 1024, "realloc(p, 0) does not free");
  free(realloc(NULL, 0));
  void *(*reallocarray_)(void *, size_t, size_t) = wanted("reallocarray");
  CHECK(reallocarray_(malloc(10), 0, 10) == NULL && reallocarray_(malloc(10), 10, 0) == NULL);
}

static void resize(size_t alignment, size_t from, size_t to) {
  void *block = alignment == 0 ? malloc(from) : aligned_alloc(alignment, from);
  CHECK(block != NULL);
  pattern_write(block, from, from ^ to);
  block = realloc(block, to);
  CHECK(block != NULL && malloc_usable_size(block) >= to, "%zu to %zu", from, to);
  CHECK((uintptr_t)block % alignof(max_align_t) == 0);
  pattern_check_kept(block, from, to, from ^ to);
  pattern_write(block, to, to);
  pattern_check(block, to, to);
  free(block);
}
static void reallocation(int argc, char **argv) {
  (void)argc, (void)argv;
  const size_t sizes[] = {1, 8, 16, 17, 100, 1000, 1024, 1025, 4096, 8193, 20000, 32768, 32769, 100000,
                          MIB, 2 * MIB, 2 * MIB + 1, 5 * MIB};
  const size_t huge[] = {5 * MIB, 40 * MIB, 64 * MIB, 64 * MIB + 1, 70 * MIB, 128 * MIB, 200 * MIB};
  const size_t alignments[] = {0, 64, 4096, 2 * MIB};
  for (size_t a = 0; a < COUNT(alignments); a++)
    for (size_t i = 0; i < COUNT(sizes); i++)
      for (size_t j = 0; j < COUNT(sizes); j++) resize(alignments[a], sizes[i], sizes[j]);
  for (size_t i = 0; i < COUNT(huge); i++) {
    for (size_t j = 0; j < COUNT(huge); j++) resize(0, huge[i], huge[j]);
    resize(0, 10, huge[i]), resize(0, huge[i], 10), resize(0, 100000, huge[i]), resize(0, huge[i], 100000);
    resize(256 * MIB, huge[i], 20 * MIB), resize(256 * MIB, huge[i], 300 * MIB);
  }
}

// calloc must clear what somebody else has left: fill memory of one size with rubbish, free it, ask again.
static void dirty_one(size_t size) {
  enum { most = 512 };
  size_t count = size == 0 ? 1 : 4 * MIB / size;
  count = count < 3 ? 3 : count > most ? most : count;
  unsigned char *blocks[most];
  for (size_t i = 0; i < count; i++) {
    CHECK((blocks[i] = malloc(size)) != NULL);
    memset(blocks[i], 0xee, malloc_usable_size(blocks[i]));
  }
  for (size_t i = 0; i < count; i++) free(blocks[i]);
  for (size_t i = 0; i < count; i++) {
    CHECK((blocks[i] = calloc(i % 2 ? 1 : size, i % 2 ? size : 1)) != NULL);
    for (size_t k = 0; k < size; k++) CHECK(blocks[i][k] == 0, "calloc of %zu, byte %zu", size, k);
  }
  for (size_t i = 0; i < count; i++) free(blocks[i]);
}
static void dirty_calloc(int argc, char **argv) {
  (void)argc, (void)argv;
  for (size_t size = 0; size <= KIB; size += 8) dirty_one(size);
  for (size_t size = KIB; size <= 64 * KIB; size += size / 16) dirty_one(size);
  for (size_t size = 64 * KIB; size <= 8 * MIB; size += size / 3) dirty_one(size);
  dirty_one(63 * MIB), dirty_one(64 * MIB), dirty_one(64 * MIB + 1), dirty_one(100 * MIB);
}

// The names that old and odd programs bind to, all mixed with the common ones.
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), *__libc_valloc(size_t), *__libc_pvalloc(size_t);
extern void __libc_free(void *);
static void libc_names(int argc, char **argv) {
  (void)argc, (void)argv;
  int (*posix_memalign_)(void **, size_t, size_t) = dlsym(RTLD_DEFAULT, "__posix_memalign");
  void (*cfree_)(void *) = dlsym(RTLD_DEFAULT, "cfree");
  const size_t sizes[] = {0, 1, 24, 1000, 40000, 3 * MIB, 90 * MIB};
  for (size_t i = 0; i < COUNT(sizes); i++)
    for (int round = 0; round < 2; round++) {
      size_t size = sizes[i];
      void *blocks[] = {checked(__libc_malloc(size), size, 1),        checked(__libc_calloc(1, size), size, 1),
                        checked(__libc_realloc(NULL, size), size, 1), checked(__libc_memalign(64, size), size, 64),
                        checked(__libc_valloc(size), size, 4096),     checked(__libc_pvalloc(size), size, 4096)};
      for (size_t k = 0; k < COUNT(blocks); k++) {
        void *block = realloc(blocks[k], size + 100);
        CHECK(block != NULL && (block = __libc_realloc(block, size + 200)) != NULL);
        round == 0 ? free(block) : cfree_ != NULL && k % 2 ? cfree_(block) : __libc_free(block);
      }
      __libc_free(malloc(size));
      void *block = NULL;
      if (posix_memalign_ != NULL) CHECK(posix_memalign_(&block, 4096, size) == 0);
      __libc_free(block);
    }
  __libc_free(NULL);
}

// C23. glibc 2.36 has no such names: under Bellows they exist all the same.
static void sized(int argc, char **argv) {
  (void)argc, (void)argv;
  void (*free_sized_)(void *, size_t) = wanted("free_sized");
  void (*free_aligned_sized_)(void *, size_t, size_t) = wanted("free_aligned_sized");
  free_sized_(NULL, 0), free_sized_(NULL, 10), free_aligned_sized_(NULL, 64, 64);
  for (int k = 0; k <= 30; k++)
    for (int d = -1; d <= 1; d++) {
      size_t size = ((size_t)1 << k) + (size_t)d;
      errno = 12345;
      free_sized_(malloc(size), size);
      free_sized_(calloc(1, size), size);
      free_sized_(realloc(malloc(100), size + 1), size + 1);
      free_aligned_sized_(aligned_alloc(64, size), 64, size);
      free_aligned_sized_(aligned_alloc(4096, size), 4096, size);
      free_aligned_sized_(aligned_alloc(4 * MIB, size), 4 * MIB, size);
      CHECK(errno == 12345);
    }
}

int main(int argc, char **argv) {
  const struct command commands[] = {
      {"sizes", sizes},           {"alignments", alignments},     {"alignment-errors", alignment_errors},
      {"exhaustion", exhaustion}, {"errno", errno_kept},          {"zero-sizes", zero_sizes},
      {"realloc", reallocation},  {"dirty-calloc", dirty_calloc}, {"libc-names", libc_names},
      {"sized", sized}};
  return run_command(commands, COUNT(commands), argc, argv);
}
