// usage: inflate MIB SECONDS
// Takes so much in blocks of 1000 bytes and in larger ones, frees nine tenths and purges. Then it waits while the kernel
// looks for places for huge pages: the resident memory may grow by 5 %. It waits for ten full scans, or SECONDS.
#include <malloc.h>

#include <sys/mman.h>

#include "support.h"

// One page in a place for a huge one, which may become huge: the kernel's thread looks at a process only where it has
// such memory, and this one shows that it did.
static void plant_witness(void) {
  size_t size = 2 * MIB;
  char *memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("mmap");
  memory += (size - (uintptr_t)memory % size) % size;
  madvise(memory, size, MADV_NOHUGEPAGE);
  *memory = 1;
  if (madvise(memory, size, MADV_HUGEPAGE)) die("no huge pages");
}

static size_t scans(void) { return kernel_figure("/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans", ""); }

int main(int count, char **arguments) {
  if (count != 3) die("usage: inflate MIB SECONDS");
  require_preloaded();
  size_t bytes = strtoul(arguments[1], NULL, 10) * MIB, total = 0;
  struct block *kept = NULL, *gone = NULL;
  uint64_t random = 6;
  for (size_t i = 0; total < bytes; i++) {
    size_t size = i % 100 == 0 ? 40000 + next_random(&random) % 400000 : 1000;
    struct block *block = malloc(size);
    if (!block) die("malloc(%zu) returned NULL", size);
    block_fill(block, size, i + 1);
    // In stretches, so that pages become free beside others that stay: one tenth of each MiB or so.
    struct block **list = i / 400 % 10 == 0 ? &kept : &gone;
    block->next = *list, *list = block;
    total += size;
  }
  for (struct block *next; gone; gone = next) next = gone->next, free(gone);
  malloc_trim(0);
  size_t before = anonymous_kib() + 2048, first = scans(), now = before;  // the witness counted in
  plant_witness();
  for (size_t tenths = strtoul(arguments[2], NULL, 10) * 10; tenths > 0 && scans() - first < 10; tenths--) {
    usleep(100000);
    now = anonymous_kib();
    if (now > before + before / 20) break;
  }
  printf("%zu MiB, %zu KiB after purge, %zu KiB after %zu scans\n", total / MIB, before, now, scans() - first);
  fflush(stdout);
  size_t huge = kernel_figure("/proc/self/smaps_rollup", "\nAnonHugePages:");
  if (huge != 2048) die("%zu KiB of huge pages: only the witness was to become one", huge);
  if (now > before + before / 20) die("%zu KiB became %zu KiB", before, now);
  for (struct block *block = kept; block; block = block->next) block_check(block);
  return 0;
}
