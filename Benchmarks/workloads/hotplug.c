// hotplug sizes ROUNDS SECTION_MIB | number CYCLES SECTIONS | reserve CYCLES GIB: what adding memory and taking it
// away costs, by bellows.h, and beside it the same by bare system calls. A line for each sample: what it is,
// nanoseconds of CPU. `sizes` takes a section of SECTION_MIB through its life, in turns with the bare calls, the first
// round uncounted; it ends with how many bytes were resident when it went offline. `number` cycles one section beside
// SECTIONS that are online, `reserve` the last of an arena of GIB GiB.
#include <sys/mman.h>

#include "bellows.h"
#include "bench.h"

#pragma weak bellows_arena_reserve
#pragma weak bellows_arena_release
#pragma weak bellows_arena_add
#pragma weak bellows_arena_online
#pragma weak bellows_arena_offline
#pragma weak bellows_arena_remove
#pragma weak bellows_arena_allocate
#pragma weak bellows_arena_free
#pragma weak bellows_arena_section

enum { PAGE = 4096, DESCRIPTORS = 64, MOST_PIECES = 1 << 18 };
#define CHECK(condition) check(condition, #condition, __LINE__)

static void check(bool holds, const char *words, int line) {
  if (holds) return;
  fprintf(stderr, "hotplug.c:%d: %s\n", line, words);
  exit(1);
}

// CPU time of this thread: what others do meanwhile is not in it.
static uint64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static bool counted;

static void sample(const char *name, const char *state, uint64_t ns) {
  if (counted) printf("%s%s%s %llu\n", name, *state ? "/" : "", state, (unsigned long long)ns);
}

// One call that answers 0, timed.
#define TIMED(name, state, call)             \
  do {                                       \
    uint64_t start_ = cpu_ns();              \
    int answer_ = (call);                    \
    uint64_t taken_ = cpu_ns() - start_;     \
    CHECK(answer_ == 0);                     \
    sample(name, state, taken_);             \
  } while (0)

static struct bellows_arena *make(size_t section, size_t capacity) {
  struct bellows_arena_options options = {.section_size = section};
  struct bellows_arena *arena;
  CHECK(bellows_arena_reserve(capacity, &options, sizeof options, &arena) == 0);
  return arena;
}

static int add(struct bellows_arena *arena, size_t place, bool lazy) {
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  options.flags = lazy ? BELLOWS_ADD_LAZY : 0;
  return bellows_arena_add(arena, 1, &place, &options, sizeof options);
}

static struct bellows_section known(struct bellows_arena *arena, size_t place) {
  struct bellows_section section;
  CHECK(bellows_arena_section(arena, place, &section, sizeof section) == 0);
  return section;
}

static int offline(struct bellows_arena *arena, size_t place) {
  return bellows_arena_offline(arena, place, 1, 0, NULL, NULL, 0);
}

/* ---- What a section is used for before it goes; all of it is free again at the end ----------------------- */

typedef enum { EMPTY, HALF, CHURNED, STATES } State;
static const char *const state_names[STATES] = {"empty", "half", "churned"};
typedef struct {
  char *start;
  size_t bytes;
} Piece;
static Piece pieces[MOST_PIECES];

static size_t take(struct bellows_arena *arena, Piece *piece, size_t bytes) {
  void *start;
  CHECK(bellows_arena_allocate(arena, bytes, PAGE, &start) == 0);
  *piece = (Piece){start, bytes};
  for (size_t at = 0; at < bytes; at += PAGE) piece->start[at] = 1;
  return bytes;
}

static void use(struct bellows_arena *arena, State state, size_t room) {
  Random random = random_seeded(7);
  size_t count = 0, live = 0;
  if (state == HALF) {
    size_t bytes = 64 << 10;
    while (live + bytes <= room / 2) live += take(arena, &pieces[count++], bytes);
  }
  if (state == CHURNED) {
    while (live < room / 2) live += take(arena, &pieces[count++], (1 + random_below(&random, 32)) * (size_t)PAGE);
    for (size_t turn = 0; turn < 2 * count; turn++) {
      Piece *piece = &pieces[random_below(&random, (uint32_t)count)];
      CHECK(bellows_arena_free(arena, piece->start, piece->bytes) == 0);
      take(arena, piece, (1 + random_below(&random, 32)) * (size_t)PAGE);
    }
  }
  for (size_t i = 0; i < count; i++) CHECK(bellows_arena_free(arena, pieces[i].start, pieces[i].bytes) == 0);
}

/* ---- By bare system calls -------------------------------------------------------------------------------- */

static char *reserve_raw(size_t section) {
  char *whole = mmap(NULL, 2 * section, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(whole != MAP_FAILED);
  char *start = (char *)(((uintptr_t)whole + section - 1) & ~(section - 1));
  return start;
}

static int touch(char *start, size_t bytes) {
  for (size_t at = 0; at < bytes; at += PAGE) *(volatile char *)(start + at) = 1;
  return 0;
}

// As an addition does it: accessible, without huge pages.
static int open_raw(char *start, size_t section) {
  return mprotect(start, section, PROT_READ | PROT_WRITE) | madvise(start, section, MADV_NOHUGEPAGE);
}

// As a removal does it: a fresh mapping.
static int reset_raw(char *start, size_t section) {
  void *fresh = mmap(start, section, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return fresh != start;
}

static int open_and_touch(char *start, size_t section) {
  return open_raw(start, section) | touch(start, section / DESCRIPTORS);
}

static int open_and_populate(char *start, size_t section) {
  return open_raw(start, section) | madvise(start, section / DESCRIPTORS, MADV_POPULATE_WRITE);
}

static int drop_raw(char *start, size_t bytes) {
  return madvise(start, bytes, MADV_DONTNEED) | mprotect(start, bytes, PROT_NONE);
}

/* ---- By size --------------------------------------------------------------------------------------------- */

typedef struct {
  struct bellows_arena *arena;
  char *raw; // where the bare calls work
  size_t section;
  unsigned char *resident; // by page of the section
  size_t bytes[STATES];    // that were resident before it went offline
} Bench;

// Add and online as one figure, too: the bar is for both.
static void raise_section(Bench *bench, bool lazy) {
  const char *state = lazy ? "lazy" : "eager";
  uint64_t start = cpu_ns();
  int first = add(bench->arena, 0, lazy);
  uint64_t added = cpu_ns();
  int second = bellows_arena_online(bench->arena, 0, 1);
  uint64_t online = cpu_ns();
  CHECK(first == 0 && second == 0);
  sample("add", state, added - start);
  sample("online", state, online - added);
  sample("add+online", state, online - start);
}

static void raise_raw(Bench *bench) {
  TIMED("raw-add", "lazy", open_raw(bench->raw, bench->section));
  reset_raw(bench->raw, bench->section);
  TIMED("raw-add", "touched", open_and_touch(bench->raw, bench->section));
  reset_raw(bench->raw, bench->section);
  TIMED("raw-add", "eager", open_and_populate(bench->raw, bench->section));
  reset_raw(bench->raw, bench->section);
}

static void lower_raw(Bench *bench, State state, bool fresh) {
  char *start = bench->raw + bench->section / DESCRIPTORS;
  size_t bytes = bench->section - bench->section / DESCRIPTORS;
  if (fresh)
    TIMED("raw-fresh", state_names[state], reset_raw(start, bytes));
  else
    TIMED("raw-offline", state_names[state], drop_raw(start, bytes));
}

// Who comes second finds the kernel's code in the caches: that takes turns, too.
static void lower(Bench *bench, State state, uint64_t round) {
  struct bellows_section section = known(bench->arena, 0);
  use(bench->arena, state, section.managed);
  CHECK(section.memmap == section.start && known(bench->arena, 0).used == 0);
  CHECK(mincore(section.start, bench->section, bench->resident) == 0);
  // The same pages for the bare calls; descriptors stay until the section is removed.
  CHECK(open_raw(bench->raw, bench->section) == 0);
  bench->bytes[state] = 0;
  for (size_t page = 0; page < bench->section / PAGE; page++)
    if (bench->resident[page] & 1) {
      bench->raw[page * PAGE] = 1;
      if (page >= bench->section / DESCRIPTORS / PAGE) bench->bytes[state] += PAGE;
    }
  bool is_second = round % 2 == 1, fresh = state == EMPTY && round / 2 % 2 == 1;
  if (is_second) lower_raw(bench, state, fresh);
  TIMED("offline", state_names[state], offline(bench->arena, 0));
  if (!is_second) lower_raw(bench, state, fresh);
  TIMED("raw-remove", state_names[state], reset_raw(bench->raw, bench->section));
}

static void by_size(uint64_t rounds, size_t section) {
  Bench bench = {.arena = make(section, section), .raw = reserve_raw(section), .section = section};
  bench.resident = must(malloc(section / PAGE));
  for (uint64_t round = 0; round <= rounds; round++) {
    counted = round > 0;
    for (State state = EMPTY; state < STATES; state++) {
      raise_section(&bench, false);
      lower(&bench, state, round);
      if (state == EMPTY) {
        TIMED("online", "again", bellows_arena_online(bench.arena, 0, 1));
        CHECK(offline(bench.arena, 0) == 0);
      }
      TIMED("remove", state_names[state], bellows_arena_remove(bench.arena, 0, 1));
      raise_raw(&bench);
    }
    raise_section(&bench, true);
    TIMED("offline", "lazy", offline(bench.arena, 0));
    TIMED("remove", "lazy", bellows_arena_remove(bench.arena, 0, 1));
    size_t memmap = section / DESCRIPTORS;
    CHECK(open_raw(bench.raw, section) == 0);
    TIMED("raw-offline", "lazy", drop_raw(bench.raw + memmap, section - memmap));
    TIMED("raw-remove", "lazy", reset_raw(bench.raw, section));
  }
  for (State state = EMPTY; state < STATES; state++)
    printf("resident/%s %zu\n", state_names[state], bench.bytes[state]);
}

/* ---- By number and by reserved size: one section comes and goes, lazily ---------------------------------- */

static void cycle(struct bellows_arena *arena, size_t section, size_t place, uint64_t cycles) {
  char *raw = reserve_raw(section);
  for (uint64_t turn = 0; turn <= cycles; turn++) {
    counted = turn > 0;
    TIMED("add", "", add(arena, place, true));
    TIMED("online", "", bellows_arena_online(arena, place, 1));
    TIMED("offline", "", offline(arena, place));
    TIMED("remove", "", bellows_arena_remove(arena, place, 1));
    CHECK(open_raw(raw, section) == 0);
    // Without the memmap, as an offline does it: what splits the mapping.
    TIMED("raw-offline", "", drop_raw(raw + section / DESCRIPTORS, section - section / DESCRIPTORS));
    CHECK(reset_raw(raw, section) == 0);
  }
}

static void by_number(uint64_t cycles, size_t sections) {
  size_t section = (size_t)128 << 20;
  struct bellows_arena *arena = make(section, section * (sections + 1));
  counted = true;
  uint64_t start = cpu_ns();
  for (size_t place = 0; place < sections; place++) {
    size_t first = BELLOWS_ANYWHERE;
    struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
    options.flags = BELLOWS_ADD_LAZY;
    CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == 0 && first == place);
    CHECK(bellows_arena_online(arena, place, 1) == 0);
  }
  sample("raise-each", "", (cpu_ns() - start) / sections);
  cycle(arena, section, sections, cycles);
  start = cpu_ns();
  for (size_t place = 0; place < sections; place++) {
    CHECK(offline(arena, place) == 0);
    CHECK(bellows_arena_remove(arena, place, 1) == 0);
  }
  sample("lower-each", "", (cpu_ns() - start) / sections);
}

static void by_reserve(uint64_t cycles, size_t gib) {
  size_t section = (size_t)128 << 20, capacity = gib << 30;
  uint64_t start = cpu_ns();
  struct bellows_arena *arena = make(section, capacity);
  uint64_t made = cpu_ns() - start;
  cycle(arena, section, capacity / section - 1, cycles);
  sample("reserve", "", made);
}

int main(int argc, char **argv) {
  if (!bellows_arena_reserve) {
    fputs("hotplug: run it with libbellows-malloc.so preloaded\n", stderr);
    return 2;
  }
  uint64_t rounds = argument(argc, argv, 2), size = argument(argc, argv, 3);
  if (argument_is(argc, argv, 1, "sizes")) {
    by_size(rounds, size << 20);
  } else if (argument_is(argc, argv, 1, "number")) {
    by_number(rounds, size);
  } else if (argument_is(argc, argv, 1, "reserve")) {
    by_reserve(rounds, size);
  } else {
    return 2;
  }
}
