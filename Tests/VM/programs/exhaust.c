// usage: exhaust SIZES ROOM-MIB [DATA-MIB]
// Takes memory until there is none: the law is NULL and ENOMEM, contents kept, and a program that goes on after it has freed some.
// SIZES: small, large or mixed. ROOM-MIB: what the system has room for; at least half of it must really be had. DATA-MIB: before it
// starts, the program limits its own data (RLIMIT_DATA) to that much above what it has.
#include <sys/resource.h>

#include "support.h"

static uint64_t state = 88172645463325252u;
static struct block *blocks;
static size_t held;

static size_t random_size(const char *sizes) {
  uint64_t random = next_random(&state), kind = random % 100;
  random >>= 8;
  if (!strcmp(sizes, "small")) return sizeof(struct block) + random % 2000;
  if (!strcmp(sizes, "large")) return 40 * KIB + random % (4 * MIB);
  if (kind < 90) return sizeof(struct block) + random % (8 * KIB);
  if (kind < 99) return 32 * KIB + random % MIB;
  return 4 * MIB + random % (12 * MIB);
}

static int take(size_t size) {
  errno = 0;
  struct block *block = malloc(size);
  if (!block) {
    if (errno != ENOMEM) die("malloc(%zu) returned NULL with errno %d", size, errno);
    return 0;
  }
  block_fill(block, size, next_random(&state));
  block->next = blocks;
  blocks = block;
  held += size;
  return 1;
}

// Each refusal halves what is asked for from then on, so that at the end even the smallest block is refused, after few refusals:
// each of those costs system calls, which are slow in an emulated machine.
static void take_all(const char *sizes) {
  for (size_t most = SIZE_MAX;;) {
    size_t size = random_size(sizes);
    if (size > most) size = most;
    if (take(size)) continue;
    if (size == sizeof(struct block)) return;
    most = size / 2 > sizeof(struct block) ? size / 2 : sizeof(struct block);
  }
}

// Every entry point that can fail says so in its own way and leaves its block as it was.
static void refuse_the_rest(void) {
  errno = 0;
  if (realloc(blocks, 200 * MIB) || errno != ENOMEM) die("realloc to 200 MiB: no NULL with ENOMEM (errno %d)", errno);
  block_check(blocks);
  errno = 0;
  if (calloc(100, 2 * MIB) || errno != ENOMEM) die("calloc of 200 MiB: no NULL with ENOMEM (errno %d)", errno);
  void *unchanged = &state, *pointer = unchanged;
  int error = posix_memalign(&pointer, 2 * MIB, 200 * MIB);
  if (error != ENOMEM || pointer != unchanged) die("posix_memalign of 200 MiB: %d instead of ENOMEM", error);
}

static void check_all(void) {
  for (struct block *block = blocks; block; block = block->next) block_check(block);
}

// Frees every n-th block.
static size_t release(size_t n) {
  size_t freed = 0, number = 0;
  for (struct block **link = &blocks; *link;) {
    struct block *block = *link;
    if (++number % n) {
      link = &block->next;
      continue;
    }
    *link = block->next;
    freed += block->size;
    free(block);
  }
  held -= freed;
  return freed;
}

int main(int count, char **arguments) {
  if (count < 3) die("usage: exhaust SIZES ROOM-MIB [DATA-MIB]");
  require_preloaded();
  const char *sizes = arguments[1];
  size_t room = strtoul(arguments[2], NULL, 10) * MIB;
  free(malloc(100));
  if (count > 3) {
    rlim_t data = kernel_figure("/proc/self/status", "\nVmData:") * KIB + strtoul(arguments[3], NULL, 10) * MIB;
    if (setrlimit(RLIMIT_DATA, &(struct rlimit){data, data})) die("setrlimit: errno %d", errno);
  }
  take_all(sizes);
  size_t most = held;
  refuse_the_rest();
  check_all();
  size_t freed = release(2);
  check_all();
  size_t before = held;
  take_all(sizes);
  size_t again = held - before;
  check_all();
  release(1);
  // With everything free a quarter of it must come in one block: what is free is not lost to one size.
  struct block *whole = malloc(most / 4);
  if (!whole) die("no block of %zu KiB after everything was freed", most / 4 / KIB);
  block_fill(whole, most / 4, 1);
  block_check(whole);
  free(whole);
  printf("%zu of %zu MiB had, %zu freed, %zu had again\n", most / MIB, room / MIB, freed / MIB, again / MIB);
  fflush(stdout);
  if (most < room / 2) die("only %zu of %zu MiB were to be had", most / MIB, room / MIB);
  if (again < freed / 2) die("of %zu MiB freed only %zu were to be had again", freed / MIB, again / MIB);
  return 0;
}
