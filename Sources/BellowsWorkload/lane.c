// Operations on blocks, as a thread does them: each is counted, some are timed, all are checked.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "workload-program.h"

enum { SIZES = 4096, TIMED_MASK = 7 };
static uint32_t sizes[SIZES];
static uint64_t mean;
struct lane lanes[WL_LANES];

// splitmix64
uint64_t draw(struct lane *lane) {
  uint64_t z = lane->random += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

// As many blocks between 16 and 32 bytes as between 512 and 1024: what programs ask for is nearer to this than to any
// even spread.
void set_sizes(uint64_t least, uint64_t most) {
  double low = log((double)least), high = log((double)most + 1);
  uint64_t sum = 0;
  for (int i = 0; i < SIZES; i++) {
    double size = exp(low + (high - low) * (i + 0.5) / SIZES);
    sizes[i] = (uint32_t)size < least ? (uint32_t)least : (uint32_t)size;
    sum += sizes[i];
  }
  mean = sum / SIZES;
}

uint64_t mean_size(void) { return mean; }
size_t draw_size(struct lane *lane) { return sizes[draw(lane) % SIZES]; }

// What stands in a block: known from its address and size alone.
static inline uint64_t mark_of(const char *block, size_t size, size_t offset) {
  return ((uint64_t)(uintptr_t)block ^ size * 0x9E3779B97F4A7C15 ^ settings.seed) + offset * 0xD6E8FEB86659FD93;
}

static inline void put(char *block, size_t size, size_t offset) {
  uint64_t mark = mark_of(block, size, offset);
  memcpy(block + offset, &mark, 8);
}

static inline bool holds(const char *block, size_t size, size_t offset) {
  uint64_t mark = mark_of(block, size, offset), found;
  memcpy(&found, block + offset, 8);
  return found == mark;
}

static void write_marks(char *block, size_t size) {
  if (size < 8) {
    memset(block, (int)(mark_of(block, size, 0) & 0xff), size);
    return;
  }
  size_t step = settings.verify ? 8 : 4096;
  for (size_t offset = 0; offset + 8 <= size; offset += step) put(block, size, offset);
  put(block, size, size - 8);
}

static bool has_marks(const char *block, size_t size) {
  if (size < 8) {
    char mark = (char)(mark_of(block, size, 0) & 0xff);
    for (size_t i = 0; i < size; i++)
      if (block[i] != mark) return false;
    return true;
  }
  size_t step = settings.verify ? 8 : 4096;
  // The mark at the end may lie over a part of the last one before it.
  for (size_t offset = 0; offset + 16 <= size; offset += step)
    if (!holds(block, size, offset)) return false;
  return holds(block, size, size - 8);
}

static inline void count(struct lane *lane, uint64_t *word, uint64_t amount) {
  if (!lane->muted) __atomic_store_n(word, *word + amount, __ATOMIC_RELEASE);
}

static inline void took(struct lane *lane, uint64_t begin) {
  uint64_t time = now() - begin;
  if (lane->muted) return;
  uint64_t *bucket = &lane->latency[wl_bucket(time)];
  __atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELEASE);
  if (time > lane->figures->longest) __atomic_store_n(&lane->figures->longest, time, __ATOMIC_RELEASE);
}

// `alignment` is 0 where any will do.
static inline bool obtain(struct lane *lane, struct slot *slot, size_t size, size_t alignment) {
  bool timed = (draw(lane) >> 40 & TIMED_MASK) == 0;
  uint64_t begin = timed ? now() : 0;
  void *block = NULL;
  if (alignment == 0) block = malloc(size);
  else if (posix_memalign(&block, alignment, size) != 0) block = NULL;
  if (timed) took(lane, begin);
  count(lane, &lane->figures->operations, 1);
  slot->block = block;
  slot->size = size;
  if (block == NULL) {
    count(lane, &lane->figures->refused, 1);
    return false;
  }
  // A block that does not lie where it was asked to is as bad as one whose contents changed.
  if (alignment != 0 && (uintptr_t)block % alignment != 0) count(lane, &lane->figures->damaged, 1);
  write_marks(block, size);
  count(lane, &lane->figures->allocated, size);
  return true;
}

bool allocate(struct lane *lane, struct slot *slot, size_t size) { return obtain(lane, slot, size, 0); }

bool allocate_aligned(struct lane *lane, struct slot *slot, size_t size, size_t alignment) {
  return obtain(lane, slot, size, alignment < sizeof(void *) ? sizeof(void *) : alignment);
}

void release(struct lane *lane, struct slot *slot) {
  if (slot->block == NULL) return;
  if (!has_marks(slot->block, slot->size)) count(lane, &lane->figures->damaged, 1);
  bool timed = (draw(lane) >> 40 & TIMED_MASK) == 0;
  uint64_t begin = timed ? now() : 0;
  free(slot->block);
  if (timed) took(lane, begin);
  count(lane, &lane->figures->operations, 1);
  count(lane, &lane->figures->freed, slot->size);
  slot->block = NULL;
}

bool reallocate(struct lane *lane, struct slot *slot, size_t size) {
  if (slot->block == NULL) return allocate(lane, slot, size);
  // The marks depend on the address, so the part that must be kept is checked as a copy of a few words.
  char kept[64];
  size_t common = slot->size < size ? slot->size : size;
  size_t head = common < sizeof kept ? common : sizeof kept;
  memcpy(kept, slot->block, head);
  if (!has_marks(slot->block, slot->size)) count(lane, &lane->figures->damaged, 1);
  bool timed = (draw(lane) >> 40 & TIMED_MASK) == 0;
  uint64_t begin = timed ? now() : 0;
  char *block = realloc(slot->block, size);
  if (timed) took(lane, begin);
  count(lane, &lane->figures->operations, 1);
  if (block == NULL) {
    count(lane, &lane->figures->refused, 1);
    return false;
  }
  if (memcmp(kept, block, head) != 0) count(lane, &lane->figures->damaged, 1);
  count(lane, &lane->figures->freed, slot->size);
  count(lane, &lane->figures->allocated, size);
  slot->block = block;
  slot->size = size;
  write_marks(block, size);
  return true;
}

size_t lane_bytes(const struct lane *lane) {
  size_t sum = 0;
  for (size_t i = 0; i < lane->count; i++) sum += lane->slots[i].size;
  return sum;
}

void fill(struct lane *lane, size_t bytes) {
  size_t live = lane_bytes(lane);
  while (live < bytes && lane->count < lane->capacity) {
    if (!allocate(lane, &lane->slots[lane->count], draw_size(lane))) return;
    live += lane->slots[lane->count++].size;
  }
}

void thin(struct lane *lane, uint64_t percent_kept) {
  // In random order: frees of one page come far apart, as they do when objects die of different causes.
  size_t kept = lane->count * percent_kept / 100;
  for (size_t i = 0; i < kept; i++) {
    size_t other = i + draw(lane) % (lane->count - i);
    struct slot swap = lane->slots[i];
    lane->slots[i] = lane->slots[other];
    lane->slots[other] = swap;
  }
  while (lane->count > kept) {
    size_t victim = kept + draw(lane) % (lane->count - kept);
    release(lane, &lane->slots[victim]);
    lane->slots[victim] = lane->slots[--lane->count];
  }
}

void churn(struct lane *lane) {
  if (lane->count <= lane->kept) return;
  struct slot *slot = &lane->slots[lane->kept + draw(lane) % (lane->count - lane->kept)];
  if ((draw(lane) >> 50 & 31) == 0) {
    reallocate(lane, slot, draw_size(lane));
    return;
  }
  release(lane, slot);
  if (!allocate(lane, slot, draw_size(lane))) *slot = lane->slots[--lane->count];
}
