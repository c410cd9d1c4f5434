// Arenas of bellows.h and their sections: add, register, online, offline, unregister, remove. Commands: what to try.
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bellows.h"
#include "check.h"

#pragma weak bellows_arena_reserve
#pragma weak bellows_arena_release
#pragma weak bellows_arena_range
#pragma weak bellows_arena_add
#pragma weak bellows_arena_reserve_memmaps
#pragma weak bellows_arena_register
#pragma weak bellows_arena_unregister
#pragma weak bellows_arena_online
#pragma weak bellows_arena_offline
#pragma weak bellows_arena_remove
#pragma weak bellows_arena_set_hook
#pragma weak bellows_arena_allocate
#pragma weak bellows_arena_free
#pragma weak bellows_arena_supply
#pragma weak bellows_arena_section
#pragma weak bellows_arena_observe
#pragma weak bellows_arena_unobserve
#pragma weak bellows_arena_online_spare
#pragma weak bellows_arena_add_group
#pragma weak bellows_arena_remove_group
#pragma weak bellows_arena_remove_sections
#pragma weak bellows_arena_online_in
#pragma weak bellows_arena_allocate_movable
#pragma weak bellows_balloon_create
#pragma weak bellows_balloon_add_section
#pragma weak bellows_balloon_deflate
#pragma weak bellows_balloon_destroy

enum { SECTION = 4 << 20, MEMMAP = SECTION / 64 };

static size_t resident(const void *start, size_t bytes) {
  static unsigned char pages[1 << 20];
  size_t count = 0;
  CHECK(bytes / 4096 <= sizeof pages && mincore((void *)(uintptr_t)start, bytes, pages) == 0);
  for (size_t page = 0; page < bytes / 4096; page++) count += pages[page] & 1;
  return count * 4096;
}

// Whether the kernel can read there.
static bool is_accessible(const void *place) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  bool result = write(ends[1], place, 1) == 1;
  CHECK(result || errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
  return result;
}

static struct bellows_arena *make(size_t section, size_t sections) {
  struct bellows_arena_options options = {.section_size = section};
  struct bellows_arena *arena;
  CHECK(bellows_arena_reserve(section * sections, &options, sizeof options, &arena) == 0);
  return arena;
}

static size_t add(struct bellows_arena *arena, size_t count, const struct bellows_add_options *options) {
  size_t first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, count, &first, options, options ? sizeof *options : 0) == 0);
  return first;
}

static struct bellows_section section(struct bellows_arena *arena, size_t index) {
  struct bellows_section known;
  CHECK(bellows_arena_section(arena, index, &known, sizeof known) == 0);
  return known;
}

static int offline(struct bellows_arena *arena, size_t first, size_t count) {
  return bellows_arena_offline(arena, first, count, 0, NULL, NULL, 0);
}

static void lifecycle(int argc, char **argv) {
  size_t size = (size_t)number_at(argc, argv, 0, SECTION), memmap = size / 64;
  struct bellows_arena *arena = make(size, 4);
  size_t bytes;
  char *base = bellows_arena_range(arena, &bytes);
  CHECK(bytes == 4 * size && (uintptr_t)base % size == 0 && !is_accessible(base));
  long address_space = virtual_kib();

  CHECK(add(arena, 2, NULL) == 0);
  struct bellows_section known = section(arena, 1);
  CHECK(known.state == BELLOWS_SECTION_OFFLINE && known.start == base + size && known.bytes == size);
  CHECK(known.flags == (BELLOWS_SECTION_SELF_HOSTED | BELLOWS_SECTION_POPULATED) && known.node == -1);
  CHECK(known.memmap == base + size && known.memmap_bytes == memmap && known.number == 1 && known.present == 0);
  CHECK(known.altmap.base == size / 4096 && known.altmap.alloc == memmap / 4096 && known.altmap.free == memmap / 4096);
  CHECK(resident(base + size, size) == memmap);
  void *page;
  CHECK(bellows_arena_allocate(arena, 1, 1, &page) == ENOMEM);

  CHECK(bellows_arena_register(arena, 0, 2) == 0 && bellows_arena_register(arena, 1, 1) == EEXIST);
  CHECK(section(arena, 0).flags & BELLOWS_SECTION_REGISTERED);
  CHECK(bellows_arena_online(arena, 0, 2) == 0 && bellows_arena_online(arena, 0, 1) == EINVAL);
  known = section(arena, 0);
  CHECK(known.state == BELLOWS_SECTION_ONLINE && known.present == size && known.managed == size - memmap && known.used == 0);

  char *run;
  size_t half = size / 2 < 32 * MIB ? size / 2 : 32 * MIB;
  CHECK(bellows_arena_allocate(arena, half, 64 * KIB, (void **)&run) == 0 && (uintptr_t)run % (64 * KIB) == 0);
  memset(run, 7, half);
  size_t place = (size_t)(run - base) / size;
  CHECK(section(arena, place).used == half);
  struct bellows_offline_report report;
  CHECK(bellows_arena_offline(arena, place, 1, 1, NULL, &report, sizeof report) == EBUSY);
  CHECK(report.left == size - memmap && report.taken == 0 && report.blocker_count == 1);
  CHECK(report.blockers[0].kind == BELLOWS_BLOCKER_PAGES && report.blockers[0].bytes == half);
  CHECK(run[half - 1] == 7 && section(arena, place).state == BELLOWS_SECTION_ONLINE);
  int cancel = 1;
  CHECK(bellows_arena_offline(arena, place, 1, 10000, &cancel, NULL, 0) == EINTR);
  // In parts; not twice.
  CHECK(bellows_arena_free(arena, run, half / 2) == 0 && bellows_arena_free(arena, run, half) == EINVAL);
  CHECK(bellows_arena_free(arena, run + half / 2, half / 2) == 0 && bellows_arena_free(arena, run, 1) == EINVAL);
  CHECK(bellows_arena_free(arena, base, 4096) == EINVAL && bellows_arena_free(arena, base - 4096, 4096) == EINVAL);
  CHECK(bellows_arena_remove(arena, place, 1) == EBUSY);
  CHECK(bellows_arena_offline(arena, 0, 2, 0, NULL, &report, sizeof report) == 0);
  CHECK(report.sections == 2 && report.taken == 2 * (size - memmap) && report.returned == half);
  CHECK(resident(base, 2 * size) == 2 * memmap && is_accessible(base) && !is_accessible(base + memmap));
  CHECK(offline(arena, 0, 1) == EINVAL);
  CHECK(bellows_arena_unregister(arena, 0, 2) == 0 && bellows_arena_unregister(arena, 0, 1) == EINVAL);
  CHECK(bellows_arena_remove(arena, 0, 2) == EINVAL, "two that host themselves");
  CHECK(bellows_arena_remove(arena, 0, 1) == 0 && bellows_arena_section(arena, 0, &known, sizeof known) == ENXIO);
  CHECK(bellows_arena_remove(arena, 1, 1) == 0 && resident(base, bytes) == 0 && !is_accessible(base));
  // Records stay: at most the chunks that came with the first section.
  CHECK(virtual_kib() - address_space <= 4096);
  CHECK(bellows_arena_release(arena) == 0);
}

static void refusals(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena;
  struct bellows_arena_options odd = {.section_size = 3 * MIB};
  CHECK(bellows_arena_reserve(64 * MIB, &odd, sizeof odd, &arena) == EINVAL);
  CHECK(bellows_arena_reserve(0, NULL, 0, &arena) == EINVAL);
  CHECK(bellows_arena_reserve(65ul << 40, NULL, 0, &arena) == EINVAL);
  CHECK(bellows_arena_online(NULL, 0, 1) == EINVAL && bellows_arena_release(NULL) == EINVAL);
  CHECK(bellows_arena_range(NULL, NULL) == NULL);
  arena = make(SECTION, 4);
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  size_t first = 4;
  CHECK(bellows_arena_add(arena, 1, &first, NULL, 0) == E2BIG && first == 4);
  first = 1;
  CHECK(bellows_arena_add(arena, 0, &first, NULL, 0) == EINVAL);
  CHECK(bellows_arena_add(arena, 2, &first, NULL, 0) == 0 && first == 1);
  CHECK(bellows_arena_add(arena, 1, &first, NULL, 0) == EEXIST);
  first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, 2, &first, NULL, 0) == ENOSPC && first == BELLOWS_ANYWHERE);
  options.node = 63;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == EINVAL);
  options = (struct bellows_add_options)BELLOWS_ADD_OPTIONS;
  options.memmap = 5;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == EINVAL);
  // Of a caller that knows the first two fields alone, the others are as by default.
  CHECK(bellows_arena_add(arena, 1, &first, &options, 8) == 0 && first == 0);
  options.memmap = BELLOWS_MEMMAP_OUTSIDE;
  options.flags = 16;
  first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == EINVAL);
  options.flags = 0;
  options.memmap = BELLOWS_MEMMAP_STORAGE;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == EINVAL);
  options.memmap = BELLOWS_MEMMAP_RESERVE;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == ENOMEM);
  CHECK(bellows_arena_online(arena, 3, 1) == ENXIO && bellows_arena_online(arena, 0, 0) == EINVAL);
  CHECK(bellows_arena_online(arena, 1, (size_t)-1) == EINVAL && bellows_arena_online(arena, 0, 1ul << 50) == ENXIO);
  CHECK(bellows_arena_supply(arena, bellows_arena_range(arena, NULL), 1) == EINVAL);
  void *run;
  CHECK(bellows_arena_allocate(arena, 0, 1, &run) == EINVAL && bellows_arena_allocate(arena, 1, 3, &run) == EINVAL);
  CHECK(bellows_arena_allocate(arena, (size_t)-1, 1, &run) == ENOMEM);
  // A shorter form of what is known, for a caller that is older.
  struct bellows_section known = {.state = 99, .present = 99};
  CHECK(bellows_arena_section(arena, 0, &known, offsetof(struct bellows_section, state) + 4) == 0);
  CHECK(known.state == BELLOWS_SECTION_OFFLINE && known.present == 99);
  CHECK(bellows_arena_release(arena) == 0);
}

// Where descriptors lie.
static void placements(int argc, char **argv) {
  (void)argc;
  (void)argv;
  long before = virtual_kib();
  struct bellows_arena *arena = make(SECTION, 8);
  char *base = bellows_arena_range(arena, NULL);
  char *storage = own_memory(2 * MEMMAP);
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  options.memmap = BELLOWS_MEMMAP_STORAGE;
  options.storage = storage;
  options.storage_bytes = 2 * MEMMAP;
  CHECK(add(arena, 2, &options) == 0);
  CHECK(section(arena, 1).memmap == storage + MEMMAP && section(arena, 1).altmap.free == 0);
  CHECK(resident(storage, 2 * MEMMAP) == 2 * MEMMAP && resident(base, 2 * SECTION) == 0);
  options = (struct bellows_add_options)BELLOWS_ADD_OPTIONS;
  options.memmap = BELLOWS_MEMMAP_OUTSIDE;
  options.flags = BELLOWS_ADD_LAZY;
  size_t outside = add(arena, 1, &options);
  char *memmap = section(arena, outside).memmap;
  CHECK((memmap < base || memmap >= base + 8 * SECTION) && resident(memmap, MEMMAP) == 0);
  options.flags = BELLOWS_ADD_SPARE | BELLOWS_ADD_HUGE;
  size_t spare = add(arena, 1, &options);
  CHECK(section(arena, spare).flags == (BELLOWS_SECTION_POPULATED | BELLOWS_SECTION_SPARE));
  CHECK(bellows_arena_reserve_memmaps(arena, 1, -1) == 0);
  options.memmap = BELLOWS_MEMMAP_RESERVE;
  options.flags = 0;
  CHECK(add(arena, 1, &options) == 4);
  options.memmap = BELLOWS_MEMMAP_REQUIRE;
  options.node = 0;
  CHECK(add(arena, 1, &options) == 5 && section(arena, 5).node == 0);
  CHECK(bellows_arena_online(arena, 0, 6) == 0 && !(section(arena, spare).flags & BELLOWS_SECTION_SPARE));
  // All of it is usable but for the one memmap inside.
  for (int i = 0; i < 5; i++) {
    char *run;
    CHECK(bellows_arena_allocate(arena, SECTION, 1, (void **)&run) == 0);
    memset(run, i, SECTION);
  }
  void *run;
  CHECK(bellows_arena_allocate(arena, SECTION, 1, &run) == ENOMEM);
  CHECK(bellows_arena_allocate(arena, 2 * MIB, 1, &run) == 0);
  // Released while pages are in use: everything goes, what lay outside, too.
  CHECK(bellows_arena_release(arena) == 0 && munmap(storage, 2 * MEMMAP) == 0);
  CHECK(virtual_kib() - before <= 1024);
}

struct kept {
  size_t runs, pages;
  void *first;
  int answer;
};

static int keep(void *context, struct bellows_arena *arena, void *start, size_t pages) {
  struct kept *kept = context;
  CHECK(arena != NULL && (uintptr_t)start % (pages * 4096) == 0);
  if (kept->runs++ == 0) kept->first = start;
  kept->pages += pages;
  return kept->answer;
}

// A hook gets the pages of its sections; of two, each its own.
static void hooks(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(128 * MIB, 3);
  char *base = bellows_arena_range(arena, NULL);
  struct kept one = {.answer = 1}, two = {.answer = 0};
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  options.hook = keep;
  options.hook_context = &one;
  CHECK(add(arena, 1, &options) == 0);
  options.hook_context = &two;
  CHECK(add(arena, 1, &options) == 1);
  CHECK(bellows_arena_online(arena, 0, 2) == 0);
  // 126 MiB in the largest aligned runs: 2, 4, ... 64 MiB.
  CHECK(one.runs == 6 && one.pages == 32256 && one.first == base + 2 * MIB);
  CHECK(two.runs == 6 && two.pages == 32256 && two.first == base + 130 * MIB);
  CHECK(section(arena, 0).present == 128 * MIB && section(arena, 0).managed == 0);
  CHECK(section(arena, 1).managed == 126 * MIB);
  CHECK(offline(arena, 0, 1) == EBUSY && bellows_arena_set_hook(arena, 0, 1, NULL, NULL) == EBUSY);
  CHECK(bellows_arena_supply(arena, one.first, 512) == 0 && section(arena, 0).managed == 2 * MIB);
  CHECK(bellows_arena_supply(arena, one.first, 1) == EINVAL);
  CHECK(bellows_arena_free(arena, (char *)one.first + 2 * MIB, 4096) == EINVAL, "kept, not allocated");
  for (size_t run = 1; run < 6; run++)
    CHECK(bellows_arena_supply(arena, base + ((size_t)2 << run) * MIB, (size_t)512 << run) == 0);
  CHECK(section(arena, 0).managed == 126 * MIB && offline(arena, 0, 1) == 0);
  CHECK(bellows_arena_set_hook(arena, 0, 1, NULL, NULL) == 0 && bellows_arena_online(arena, 0, 1) == 0);
  CHECK(one.runs == 6 && section(arena, 0).managed == 126 * MIB);
  CHECK(bellows_arena_release(arena) == 0);
}

struct steps {
  int set_up, construct, tear_down, answer;
};

static int set_up(void *context, struct bellows_section_plan *plan) {
  ((struct steps *)context)->set_up++;
  CHECK(plan->memmap == NULL && plan->bytes == SECTION && plan->altmap.free == 16);
  plan->altmap.reserve = 32; // two pageblocks are the owner's
  return 0;
}
static int construct(void *context, struct bellows_section_plan *plan) {
  ((struct steps *)context)->construct++;
  CHECK(plan->memmap == (char *)plan->start + 32 * 4096 && resident(plan->memmap, MEMMAP) == MEMMAP);
  return ((struct steps *)context)->answer;
}
static void tear_down(void *context, struct bellows_section_plan *plan) {
  CHECK(plan->arena != NULL);
  ((struct steps *)context)->tear_down++;
}

static void strategies(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(SECTION, 2);
  char *base = bellows_arena_range(arena, NULL);
  struct steps steps = {.answer = ENOSPC};
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  options.set_up = set_up;
  options.construct = construct;
  options.tear_down = tear_down;
  options.step_context = &steps;
  size_t first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, 1, &first, &options, sizeof options) == ENOSPC && steps.tear_down == 1);
  struct bellows_section known;
  CHECK(bellows_arena_section(arena, 0, &known, sizeof known) == ENXIO && resident(base, SECTION) == 0);
  CHECK(!is_accessible(base));
  steps.answer = 0;
  CHECK(add(arena, 1, &options) == 0 && bellows_arena_online(arena, 0, 1) == 0);
  CHECK(section(arena, 0).managed == SECTION - 48 * 4096 && section(arena, 0).altmap.reserve == 32);
  CHECK(offline(arena, 0, 1) == 0 && bellows_arena_remove(arena, 0, 1) == 0);
  CHECK(steps.set_up == 2 && steps.construct == 2 && steps.tear_down == 2);
  CHECK(bellows_arena_release(arena) == 0);
}

struct told {
  struct bellows_arena *arena;
  unsigned events[64], count;
  int answers[12];
  int reentry;
};

static int notified(void *context, const struct bellows_notice *notice) {
  struct told *told = context;
  told->events[told->count++ % 64] = notice->event;
  CHECK(notice->event < 12 && notice->node == -1 && notice->bytes == SECTION - MEMMAP);
  told->reentry = bellows_arena_online(told->arena, 1, 1);
  free(malloc(100000)); // no lock is held
  return told->answers[notice->event];
}

#define EVENTS(told, ...)                                                                          \
  do {                                                                                             \
    unsigned expected[] = {__VA_ARGS__};                                                           \
    CHECK((told).count == COUNT(expected) && memcmp((told).events, expected, sizeof expected) == 0); \
    (told).count = 0;                                                                              \
  } while (0)

static void observers(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(SECTION, 2);
  struct told high = {.arena = arena}, low = {.arena = arena};
  struct bellows_observer *first, *second;
  CHECK(bellows_arena_observe(arena, notified, &low, -1, &second) == 0);
  CHECK(bellows_arena_observe(arena, notified, &high, 5, &first) == 0);
  CHECK(bellows_arena_observe(arena, NULL, &high, 5, &first) == EINVAL);
  CHECK(add(arena, 1, NULL) == 0 && high.count == 0);
  high.answers[BELLOWS_EVENT_NODE_ADDING_FIRST] = -1;
  CHECK(bellows_arena_online(arena, 0, 1) == EPERM);
  EVENTS(high, BELLOWS_EVENT_NODE_ADDING_FIRST, BELLOWS_EVENT_CANCEL_ONLINE, BELLOWS_EVENT_NODE_CANCEL_ADDING_FIRST);
  EVENTS(low, BELLOWS_EVENT_CANCEL_ONLINE, BELLOWS_EVENT_NODE_CANCEL_ADDING_FIRST);
  high.answers[BELLOWS_EVENT_NODE_ADDING_FIRST] = 0;
  low.answers[BELLOWS_EVENT_GOING_ONLINE] = -ENOSPC;
  CHECK(bellows_arena_online(arena, 0, 1) == ENOSPC && section(arena, 0).state == BELLOWS_SECTION_OFFLINE);
  // One that ends the chain hides the objection.
  high.answers[BELLOWS_EVENT_GOING_ONLINE] = 1;
  high.count = low.count = 0;
  CHECK(bellows_arena_online(arena, 0, 1) == 0 && high.reentry == EDEADLK && low.reentry == EDEADLK);
  EVENTS(high, BELLOWS_EVENT_NODE_ADDING_FIRST, BELLOWS_EVENT_GOING_ONLINE, BELLOWS_EVENT_NODE_ADDED_FIRST,
         BELLOWS_EVENT_ONLINE);
  EVENTS(low, BELLOWS_EVENT_NODE_ADDING_FIRST, BELLOWS_EVENT_NODE_ADDED_FIRST, BELLOWS_EVENT_ONLINE);
  low.answers[BELLOWS_EVENT_GOING_OFFLINE] = -EBUSY;
  struct bellows_offline_report report;
  CHECK(bellows_arena_offline(arena, 0, 1, 0, NULL, &report, sizeof report) == EBUSY);
  CHECK(report.blocker_count == 1 && report.blockers[0].kind == BELLOWS_BLOCKER_VETOED);
  CHECK(report.blockers[0].detail == EBUSY && report.blockers[0].count == 2 && report.blockers[0].bytes == SECTION - MEMMAP);
  EVENTS(low, BELLOWS_EVENT_NODE_REMOVING_LAST, BELLOWS_EVENT_GOING_OFFLINE, BELLOWS_EVENT_CANCEL_OFFLINE,
         BELLOWS_EVENT_NODE_CANCEL_REMOVING_LAST);
  CHECK(bellows_arena_unobserve(arena, second) == 0);
  CHECK(offline(arena, 0, 1) == 0 && low.count == 0);
  CHECK(bellows_arena_release(arena) == 0);
}

// A spare comes online where the system gives nothing more.
static void spare(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(SECTION, 4);
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  options.flags = BELLOWS_ADD_SPARE;
  CHECK(add(arena, 1, &options) == 0);
  size_t data = (size_t)figure("/proc/self/status", "VmData:") * KIB;
  struct rlimit none = {data, data};
  CHECK(setrlimit(RLIMIT_DATA, &none) == 0);
  size_t first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, 1, &first, NULL, 0) == ENOMEM);
  CHECK(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  CHECK(bellows_arena_online_spare(arena, &first) == 0 && first == 0);
  CHECK(bellows_arena_online_spare(arena, NULL) == ENOSPC);
  char *run;
  CHECK(bellows_arena_allocate(arena, SECTION - MEMMAP, 1, (void **)&run) == 0);
  memset(run, 1, SECTION - MEMMAP);
  CHECK((size_t)figure("/proc/self/status", "VmData:") * KIB == data);
}

// Blocks of two sections, and groups.
static void blocks(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena_options options = {.section_size = SECTION, .block_sections = 2};
  struct bellows_arena *arena;
  CHECK(bellows_arena_reserve(10 * SECTION, &options, sizeof options, &arena) == 0);
  size_t first = BELLOWS_ANYWHERE;
  CHECK(bellows_arena_add(arena, 1, &first, NULL, 0) == EINVAL);
  CHECK(add(arena, 2, NULL) == 0 && section(arena, 1).block == 0 && section(arena, 1).group == 0);
  CHECK(bellows_arena_online(arena, 0, 1) == EINVAL && bellows_arena_online(arena, 0, 2) == 0);
  uint32_t group, other;
  CHECK(bellows_arena_add_group(arena, BELLOWS_GROUP_STATIC, SECTION, -1, &group) == EINVAL);
  CHECK(bellows_arena_add_group(arena, 3, 2 * SECTION, -1, &group) == EINVAL);
  CHECK(bellows_arena_add_group(arena, BELLOWS_GROUP_STATIC, 4 * SECTION, 0, &group) == 0 && group == 1);
  CHECK(bellows_arena_add_group(arena, BELLOWS_GROUP_DYNAMIC, 4 * SECTION, -1, &other) == 0 && other == 2);
  struct bellows_add_options joining = BELLOWS_ADD_OPTIONS;
  joining.group = other;
  CHECK(bellows_arena_add(arena, 2, &first, &joining, sizeof joining) == EINVAL);
  CHECK(add(arena, 4, &joining) == 4);
  joining.group = group;
  CHECK(add(arena, 2, &joining) == 2 && section(arena, 3).group == group && section(arena, 3).node == 0);
  CHECK(section(arena, 3).block == 1);
  CHECK(bellows_arena_add(arena, 4, &first, &joining, sizeof joining) == ENOSPC);
  CHECK(add(arena, 2, &joining) == 8 && bellows_arena_online(arena, 8, 2) == 0);
  CHECK(bellows_arena_remove_group(arena, group) == EBUSY);
  // All pages but one memmap's a section.
  char *runs[4];
  for (int i = 0; i < 4; i++) CHECK(bellows_arena_allocate(arena, 3 * MIB, 1, (void **)&runs[i]) == 0);
  struct bellows_offline_report report;
  CHECK(bellows_arena_remove_sections(arena, group, 1, NULL, &report, sizeof report) == EBUSY);
  CHECK(report.blocker_count == 1 && report.blockers[0].bytes == 6 * MIB);
  CHECK(section(arena, 2).state == BELLOWS_SECTION_OFFLINE && section(arena, 8).state == BELLOWS_SECTION_ONLINE);
  for (int i = 0; i < 4; i++) CHECK(bellows_arena_free(arena, runs[i], 3 * MIB) == 0);
  CHECK(bellows_arena_remove_sections(arena, group, 0, NULL, NULL, 0) == 0);
  struct bellows_section known;
  CHECK(bellows_arena_section(arena, 2, &known, sizeof known) == ENXIO);
  CHECK(bellows_arena_section(arena, 9, &known, sizeof known) == ENXIO && section(arena, 0).state == BELLOWS_SECTION_ONLINE);
  CHECK(bellows_arena_remove_group(arena, group) == 0 && bellows_arena_remove_group(arena, group) == EINVAL);
  CHECK(bellows_arena_remove_sections(arena, group, 0, NULL, NULL, 0) == EINVAL);
  CHECK(bellows_arena_release(arena) == 0);
}

struct owner {
  struct bellows_arena *arena;
  char *run;
};

static int give_up(void *context, const struct bellows_notice *notice) {
  struct owner *owner = context;
  if (notice->event != BELLOWS_EVENT_GOING_OFFLINE || owner->run == NULL) return 0;
  CHECK(bellows_arena_free(owner->arena, owner->run, 1 * MIB) == 0);
  owner->run = NULL;
  return 0;
}

// Normal and movable zones.
static void zones(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(SECTION, 8);
  struct bellows_add_options options = BELLOWS_ADD_OPTIONS;
  CHECK(add(arena, 1, NULL) == 0 && bellows_arena_online_in(arena, 0, 1, 4, 0) == EINVAL);
  CHECK(bellows_arena_online_in(arena, 0, 1, BELLOWS_ZONE_MOVABLE, 0) == 0);
  CHECK(section(arena, 0).flags & BELLOWS_SECTION_MOVABLE);
  struct owner owner = {.arena = arena};
  void *run;
  CHECK(bellows_arena_allocate(arena, 4096, 1, &run) == ENOMEM, "what cannot move");
  CHECK(bellows_arena_allocate_movable(arena, 1 * MIB, 1, (void **)&owner.run) == 0);
  memset(owner.run, 1, 1 * MIB);
  CHECK(offline(arena, 0, 1) == EBUSY && owner.run[MIB - 1] == 1);
  struct bellows_observer *observer;
  CHECK(bellows_arena_observe(arena, give_up, &owner, 0, &observer) == 0);
  CHECK(offline(arena, 0, 1) == 0 && owner.run == NULL && !(section(arena, 0).flags & BELLOWS_SECTION_MOVABLE));
  // By share of what the arena began with.
  options.flags = BELLOWS_ADD_EARLY;
  CHECK(add(arena, 1, &options) == 1 && bellows_arena_online_in(arena, 1, 1, BELLOWS_ZONE_NORMAL, 0) == 0);
  CHECK(section(arena, 1).flags & BELLOWS_SECTION_EARLY);
  CHECK(add(arena, 4, NULL) == 2 && bellows_arena_online_in(arena, 2, 4, BELLOWS_ZONE_AUTOMATIC, 301) == 0);
  for (size_t place = 1; place < 6; place++)
    CHECK(!(section(arena, place).flags & BELLOWS_SECTION_MOVABLE) == (place == 1 || place == 5));
  CHECK(bellows_arena_online_in(arena, 0, 1, BELLOWS_ZONE_CONTIGUOUS, 0) == 0);
  CHECK(!(section(arena, 0).flags & BELLOWS_SECTION_MOVABLE), "its neighbour is normal");
  CHECK(bellows_arena_release(arena) == 0);
}

// A balloon on an arena of one's own.
static void balloon(int argc, char **argv) {
  (void)argc;
  (void)argv;
  struct bellows_arena *arena = make(SECTION, 2);
  struct bellows_balloon *balloon;
  CHECK(bellows_balloon_create(arena, NULL, 0, &balloon) == 0 && bellows_balloon_add_section(balloon) == 0);
  struct bellows_section known = section(arena, 0);
  CHECK(known.present == SECTION && known.managed == 0 && resident(known.start, SECTION) == MEMMAP);
  size_t done;
  CHECK(bellows_balloon_deflate(balloon, 1 * MIB, &done) == 0 && done == MIB);
  CHECK(section(arena, 0).managed == MIB && resident(known.start, SECTION) == MEMMAP + MIB);
  bellows_balloon_destroy(balloon);
  CHECK(section(arena, 0).managed == SECTION - MEMMAP);
  CHECK(bellows_arena_release(arena) == 0);
}

static struct bellows_arena *shared;
static _Atomic int is_over;
static void *cycle(void *argument) {
  size_t own = (size_t)(uintptr_t)argument;
  for (int round = 0; round < 300; round++) {
    size_t first = own;
    CHECK(bellows_arena_add(shared, 1, &first, NULL, 0) == 0);
    CHECK(bellows_arena_online(shared, own, 1) == 0);
    int answer;
    while ((answer = bellows_arena_offline(shared, own, 1, 100, NULL, NULL, 0)) == EBUSY) {}
    CHECK(answer == 0 && bellows_arena_remove(shared, own, 1) == 0);
  }
  return NULL;
}
static void *use(void *argument) {
  uint64_t random = (uintptr_t)argument;
  while (!is_over) {
    unsigned char *run;
    size_t bytes = 4096 * (1 + next_random(&random) % 40);
    if (bellows_arena_allocate(shared, bytes, 1, (void **)&run) != 0) continue;
    CHECK(run[0] == 0 && run[bytes - 1] == 0);
    run[0] = run[bytes - 1] = 1;
    CHECK(bellows_arena_free(shared, run, bytes) == 0);
  }
  return NULL;
}

// Sections cycle in two threads while two others allocate: what is allocated stays, and nothing meets.
static void cycles(int argc, char **argv) {
  (void)argc;
  (void)argv;
  shared = make(SECTION, 2);
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; i++)
    CHECK(pthread_create(&threads[i], NULL, i < 2 ? cycle : use, (void *)i) == 0);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  is_over = 1;
  for (int i = 2; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(resident(bellows_arena_range(shared, NULL), 2 * SECTION) == 0);
  CHECK(bellows_arena_release(shared) == 0);
}

// What is reserved costs a core dump nothing, also when sections in it were used and went. (A mapping of which a page was
// ever touched is gone through whole: 40 s for 1 TiB, and a file that says it is as long.)
static void dump(int argc, char **argv) {
  (void)argc, (void)argv;
  enum { SECTIONS = 8 };
  char folder[] = "/tmp/bellows-dump-XXXXXX";
  CHECK(mkdtemp(folder) && chdir(folder) == 0);
  double start = seconds();
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    size_t section = 128 * MIB;
    struct bellows_arena *arena = make(section, (256 * GIB) / section);
    for (size_t i = 0; i < SECTIONS; i++) {
      size_t place = 3 * i;
      CHECK(bellows_arena_add(arena, 1, &place, NULL, 0) == 0);
      CHECK(bellows_arena_online(arena, place, 1) == 0);
      void *block;
      // Every second one was used.
      if (i % 2 == 0) {
        CHECK(bellows_arena_allocate(arena, MIB, 4096, &block) == 0);
        memset(block, 1, MIB);
        CHECK(bellows_arena_free(arena, block, MIB) == 0);
      }
      CHECK(offline(arena, place, 1) == 0);
      if (i % 4 > 1) CHECK(bellows_arena_remove(arena, place, 1) == 0);
    }
    struct rlimit whole = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_CORE, &whole) == 0);
    abort();
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d", status);
  double taken = seconds() - start;
  struct stat core = {0};
  struct dirent *entry;
  DIR *here = opendir(".");
  CHECK(here);
  while ((entry = readdir(here)))
    if (strncmp(entry->d_name, "core", 4) == 0) CHECK(stat(entry->d_name, &core) == 0 && unlink(entry->d_name) == 0);
  closedir(here);
  CHECK(rmdir(folder) == 0);
  CHECK(core.st_size > 0, "no core");
  printf("%lld MiB, %lld KiB of them written, in %.1f s\n", (long long)core.st_size >> 20, (long long)core.st_blocks / 2, taken);
  // The sections that are offline, and what every process has.
  CHECK((size_t)core.st_size < (SECTIONS + 1) * 128 * MIB, "%lld bytes", (long long)core.st_size);
  CHECK((size_t)core.st_blocks * 512 < 64 * MIB, "%lld blocks", (long long)core.st_blocks);
}

int main(int argc, char **argv) {
  if (!bellows_arena_reserve) return 77;
  static const struct command commands[] = {
      {"lifecycle", lifecycle}, {"refusals", refusals},   {"placements", placements}, {"hooks", hooks},
      {"strategies", strategies}, {"observers", observers}, {"spare", spare}, {"blocks", blocks}, {"zones", zones}, {"balloon", balloon}, {"cycles", cycles}, {"dump", dump}};
  return run_command(commands, COUNT(commands), argc, argv);
}
