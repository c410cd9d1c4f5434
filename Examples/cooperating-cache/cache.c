// A cache that gives memory back when it has lost most of its entries, although the entries that are left lie
// everywhere: it lets Bellows take sections offline, and moves the entries that are in the way.
//
//   cc -O2 -D_GNU_SOURCE -I CShims/include -o cache Examples/cooperating-cache/cache.c -ldl
//   LD_PRELOAD=libbellows-malloc.so ./cache [KEYS]
//
// Three calls are all it takes: bellows_listen tells when sections are to go, bellows_should_move says which entries
// are in the way, and realloc to the size that an entry has moves it. Without the library it is an ordinary cache.
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bellows.h"

// ---- Bellows, if it is there --------------------------------------------------------------------------

static __typeof__(bellows_listen) *listen_to;
static __typeof__(bellows_should_move) *should_move;
static __typeof__(bellows_offline) *offline;
static __typeof__(bellows_online) *online;
static __typeof__(bellows_statistics) *statistics;

static int find_bellows(void) {
  listen_to = (__typeof__(listen_to))dlsym(RTLD_DEFAULT, "bellows_listen");
  should_move = (__typeof__(should_move))dlsym(RTLD_DEFAULT, "bellows_should_move");
  offline = (__typeof__(offline))dlsym(RTLD_DEFAULT, "bellows_offline");
  online = (__typeof__(online))dlsym(RTLD_DEFAULT, "bellows_online");
  statistics = (__typeof__(statistics))dlsym(RTLD_DEFAULT, "bellows_statistics");
  return listen_to && should_move && offline && online && statistics;
}

// ---- The cache ----------------------------------------------------------------------------------------

struct entry {
  uint32_t key, size;
  unsigned char bytes[];
};

static struct entry **entries;
static size_t count, live_entries, live_bytes;
static int must_move;

static uint64_t state = 88172645463325252ull;
static uint64_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static unsigned char byte_of(uint32_t key, uint32_t place) { return (unsigned char)(key * 31 + place * 7); }

static void put(uint32_t key) {
  uint32_t size = (uint32_t)(64 + next_random() % (1500 - 64));
  struct entry *entry = malloc(size);
  if (entry == NULL) exit(1);
  entry->key = key, entry->size = size;
  for (uint32_t i = 0; i < size - sizeof *entry; i++) entry->bytes[i] = byte_of(key, i);
  entries[key] = entry;
  live_entries++, live_bytes += size;
}

static void drop(uint32_t key) {
  live_entries--, live_bytes -= entries[key]->size;
  free(entries[key]);
  entries[key] = NULL;
}

static void verify(void) {
  for (uint32_t key = 0; key < count; key++) {
    const struct entry *entry = entries[key];
    if (entry == NULL) continue;
    int right = entry->key == key;
    for (uint32_t i = 0; i < entry->size - sizeof *entry; i++) right &= entry->bytes[i] == byte_of(key, i);
    if (!right) {
      fprintf(stderr, "entry %u was damaged\n", key);
      exit(1);
    }
  }
}

// ---- Moving -------------------------------------------------------------------------------------------

// Told with the cache in whatever state: so it only takes note.
static int sections_change(void *context, int event, void *start, size_t bytes) {
  (void)context, (void)start, (void)bytes;
  if (event == BELLOWS_GOING_OFFLINE) must_move = 1;
  return 0;
}

// One look at each entry, when it suits the cache.
static size_t move_entries(void) {
  size_t moved = 0;
  must_move = 0;
  if (should_move(entries)) {
    struct entry **index = realloc(entries, count * sizeof *entries);
    if (index != NULL) entries = index;
  }
  for (uint32_t key = 0; key < count; key++) {
    if (entries[key] == NULL || !should_move(entries[key])) continue;
    struct entry *entry = realloc(entries[key], entries[key]->size);
    if (entry == NULL) break;
    entries[key] = entry;
    moved++;
  }
  return moved;
}

// ---- Figures ------------------------------------------------------------------------------------------

static long resident_kib(void) {
  char text[4096];
  int file = open("/proc/self/smaps_rollup", O_RDONLY);
  ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  text[got < 0 ? 0 : got] = 0;
  const char *line = strstr(text, "Anonymous:");
  return line == NULL ? 0 : strtol(line + 10, NULL, 10);
}

static long base_kib;

static void say(const char *what) {
  printf("%-44s %8zu entries, %7zu KiB in them, %7ld KiB resident\n", what, live_entries, live_bytes / 1024,
         resident_kib() - base_kib);
}

int main(int argc, char **argv) {
  count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000000;
  int has_bellows = find_bellows();
  entries = calloc(count, sizeof *entries);
  if (entries == NULL) return 1;
  // The index is not what this is about.
  memset(entries, 1, count * sizeof *entries), memset(entries, 0, count * sizeof *entries);
  base_kib = resident_kib();

  for (uint32_t key = 0; key < count; key++) put(key);
  say("filled");
  for (uint32_t key = 0; key < count; key++)
    if (next_random() % 4 != 0) drop(key);
  say("three quarters deleted");
  malloc_trim(0);
  say("malloc_trim");
  if (!has_bellows) {
    puts("bellows is not there: nothing more to be done");
    return 0;
  }

  // All sections there are: what moves then lies close together in new ones. (Two in three would do with less moving,
  // but then the entries that move fill the gaps of those that stay, and never all of them.)
  listen_to(sections_change, NULL);
  struct bellows_statistics figures;
  statistics(&figures, sizeof figures);
  const size_t section = (size_t)128 << 20;
  struct bellows_offline_report report;
  int error = offline(figures.sections * section, 0, 0, NULL, &report, sizeof report);
  printf("%zu sections are to go: %u went, %zu KiB are in the way (%s)\n", figures.sections, report.sections,
         report.left / 1024, error == 0 ? "done" : strerror(error));
  say("after the first call");

  size_t moved = must_move ? move_entries() : 0;
  printf("%zu entries moved\n", moved);
  error = offline(0, 1000, 0, NULL, &report, sizeof report);
  printf("then %u sections went, %zu KiB are in the way (%s)\n", report.sections, report.left / 1024,
         error == 0 ? "done" : strerror(error));
  // What the moves left behind in sections that stay.
  malloc_trim(0);
  say("after moving what was in the way");
  verify();
  double share = (double)(resident_kib() - base_kib) * 1024 / (double)live_bytes;
  printf("resident: %.3f times what is live\n", share);

  // Growth takes new sections; those that are offline stay so until they are brought back.
  while (online(section) == 0) continue;
  for (uint32_t key = 0; key < count; key++)
    if (entries[key] == NULL) put(key);
  verify();
  say("brought back and filled again");
  puts("ok");
  return 0;
}
