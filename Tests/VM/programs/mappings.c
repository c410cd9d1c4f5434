// usage: mappings STEPS
// Large and huge blocks among small ones where the kernel allows few mappings (vm.max_map_count): a refusal is NULL and ENOMEM,
// never a crash, no block changes, and when all is freed the program can have memory again.
#include "support.h"

enum { slot_count = 1500 };

static uint64_t state = 1234567891011u;
static struct block *slots[slot_count];

static size_t random_size(void) {
  uint64_t random = next_random(&state), kind = random % 10;
  random >>= 8;
  if (kind < 5) return sizeof(struct block) + random % (32 * KIB);
  if (kind < 8) return 64 * KIB + random % (4 * MIB);
  return 65 * MIB + random % (16 * MIB);
}

// Only the first pages and the last are written: hundreds of huge blocks must fit.
static void mark(struct block *block, size_t size) {
  block_fill(block, size < 16 * KIB ? size : 16 * KIB, next_random(&state));
  if (size > 16 * KIB) ((unsigned char *)block)[size - 1] = 0xA5;
}

int main(int count, char **arguments) {
  if (count != 2) die("usage: mappings STEPS");
  require_preloaded();
  size_t steps = strtoul(arguments[1], NULL, 10), refused = 0, most = 0;
  for (size_t step = 0; step < steps; step++) {
    struct block **slot = &slots[next_random(&state) % slot_count];
    size_t size = random_size();
    if (*slot) block_check(*slot);
    if (*slot && next_random(&state) % 3) {
      free(*slot);
      *slot = NULL;
    } else {
      // Growing and shrinking an old block, or a new one, at times with an alignment that needs a mapping cut to size.
      errno = 0;
      struct block *block;
      if (*slot) block = realloc(*slot, size);
      else if (next_random(&state) % 4) block = malloc(size);
      else block = aligned_alloc(MIB, (size + MIB - 1) / MIB * MIB);
      if (block) {
        if (*slot) block_check_words(block, block->size < size ? block->size : size);
        mark(block, size);
        *slot = block;
      } else {
        if (errno != ENOMEM) die("NULL with errno %d", errno);
        refused++;
      }
    }
    if (step % 64 == 0) {
      size_t mappings = mapping_count();
      if (mappings > most) most = mappings;
    }
  }
  for (int i = 0; i < slot_count; i++) {
    if (slots[i]) block_check(slots[i]);
    free(slots[i]);
  }
  size_t after = mapping_count();
  for (size_t size = 16; size <= 16 * MIB; size *= 4) {
    void *block = malloc(size);
    if (!block) die("no block of %zu bytes after everything was freed", size);
    memset(block, 1, size);
    free(block);
  }
  printf("%zu steps, %zu refused, %zu mappings at most, %zu at the end\n", steps, refused, most, after);
  return 0;
}
