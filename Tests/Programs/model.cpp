// Random operations checked against a model: a table of what must be alive, with the pattern that
// each block must hold, and an ordered map of address ranges in which no two may overlap.
// All threads share the table, so most blocks are freed by another thread than the one that made them.
//   model THREADS OPERATIONS [SEED]
#include <malloc.h>
#include <pthread.h>

#include <atomic>
#include <map>
#include <mutex>
#include <new>

#include "check.h"

namespace {
// The model's own nodes come from mmap, not from the allocator under test.
template <class T> struct OwnAllocator {
  using value_type = T;
  OwnAllocator() = default;
  template <class U> OwnAllocator(const OwnAllocator<U> &) {}
  struct Link { Link *next; };
  static inline Link *spare = nullptr;
  T *allocate(size_t) {
    if (spare == nullptr) {
      char *chunk = static_cast<char *>(own_memory(MIB));
      for (size_t i = 0; i + sizeof(T) <= MIB; i += sizeof(T))
        spare = new (chunk + i) Link{spare};
    }
    Link *taken = spare;
    spare = taken->next;
    return reinterpret_cast<T *>(taken);
  }
  void deallocate(T *node, size_t) { spare = new (static_cast<void *>(node)) Link{spare}; }
};
template <class T, class U> bool operator==(const OwnAllocator<T> &, const OwnAllocator<U> &) { return true; }

using Ranges = std::map<uintptr_t, size_t, std::less<uintptr_t>,
                        OwnAllocator<std::pair<const uintptr_t, size_t>>>;
std::mutex rangesLock;
Ranges ranges;

// Called after a block came to life and before it may die.
void enter(void *block, size_t size) {
  uintptr_t start = reinterpret_cast<uintptr_t>(block);
  std::lock_guard<std::mutex> guard(rangesLock);
  auto [place, isNew] = ranges.emplace(start, size == 0 ? 1 : size);
  CHECK(isNew, "%p handed out twice", block);
  auto after = std::next(place);
  CHECK(after == ranges.end() || start + place->second <= after->first, "%p + %zu overlaps %#zx", block, size,
        static_cast<size_t>(after->first));
  if (place != ranges.begin()) {
    auto before = std::prev(place);
    CHECK(before->first + before->second <= start, "%p lies in %#zx + %zu", block,
          static_cast<size_t>(before->first), before->second);
  }
}
void leave(void *block) {
  std::lock_guard<std::mutex> guard(rangesLock);
  CHECK(ranges.erase(reinterpret_cast<uintptr_t>(block)) == 1);
}

struct Slot {
  std::atomic_flag taken = ATOMIC_FLAG_INIT;
  void *block;
  size_t size;
  uint64_t seed;
};
constexpr size_t slotCount = 6000;
Slot slots[slotCount];
long operations;
uint64_t baseSeed;

void make(Slot &slot, uint64_t &random) {
  size_t size = next_random(&random) % 200 == 0 ? 0 : log_uniform(&random, 23);
  void *block = nullptr;
  switch (next_random(&random) % 4) {
  case 0: {  // clearing megabytes would be most of the running time
    if (size > 128 * KIB && next_random(&random) % 32 != 0) size %= 128 * KIB;
    block = calloc(1, size);
    CHECK(block != nullptr);
    const unsigned char *bytes = static_cast<unsigned char *>(block);
    for (size_t i = 0; i < size; i += i < 256 || i + 256 >= size || size < 8192 ? 1 : 127)
      CHECK(bytes[i] == 0, "calloc of %zu, byte %zu", size, i);
    break;
  }
  case 1: {
    size_t alignment = size_t{8} << next_random(&random) % 12;
    if (next_random(&random) % 64 == 0) alignment <<= 9;
    CHECK(posix_memalign(&block, alignment, size) == 0);
    CHECK(reinterpret_cast<uintptr_t>(laundered(block)) % alignment == 0);
    break;
  }
  default: block = malloc(size);
  }
  CHECK(block != nullptr && malloc_usable_size(block) >= size);
  slot.block = block, slot.size = size, slot.seed = next_random(&random);
  enter(block, size);
  pattern_write(block, size, slot.seed);
}

void resize(Slot &slot, uint64_t &random) {
  size_t size = log_uniform(&random, 23);
  if ((size > 256 * KIB || slot.size > 256 * KIB) && next_random(&random) % 16 != 0) return;
  leave(slot.block);
  void *block = realloc(slot.block, size);
  CHECK(block != nullptr);
  enter(block, size);
  pattern_check_kept(block, slot.size, size, slot.seed);
  slot.block = block, slot.size = size, slot.seed = next_random(&random);
  pattern_write(block, size, slot.seed);
}

void drop(Slot &slot) {
  leave(slot.block);
  free(slot.block);
  slot.block = nullptr;
}

void *work(void *argument) {
  uint64_t random = baseSeed + reinterpret_cast<uintptr_t>(argument) * 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < 8; i++) next_random(&random);
  for (long i = 0; i < operations; i++) {
    Slot &slot = slots[next_random(&random) % slotCount];
    while (slot.taken.test_and_set(std::memory_order_acquire)) sched_yield();
    if (slot.block == nullptr) {
      make(slot, random);
    } else {
      pattern_check(slot.block, slot.size, slot.seed);
      next_random(&random) % 4 == 0 ? resize(slot, random) : drop(slot);
    }
    slot.taken.clear(std::memory_order_release);
  }
  return nullptr;
}
}  // namespace

int main(int argc, char **argv) {
  long threads = number_at(argc, argv, 1, 1);
  operations = number_at(argc, argv, 2, 100000) / threads;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  baseSeed = static_cast<uint64_t>(number_at(argc, argv, 3, now.tv_nsec | 1));
  printf("seed %llu\n", static_cast<unsigned long long>(baseSeed));
  fflush(stdout);
  pthread_t others[64];
  CHECK(threads <= 64);
  for (long i = 1; i < threads; i++)
    CHECK(pthread_create(&others[i], nullptr, work, reinterpret_cast<void *>(i)) == 0);
  work(nullptr);
  for (long i = 1; i < threads; i++) pthread_join(others[i], nullptr);
  for (Slot &slot : slots)
    if (slot.block != nullptr) {
      pattern_check(slot.block, slot.size, slot.seed);
      drop(slot);
    }
  CHECK(ranges.empty());
  printf("ok\n");
}
