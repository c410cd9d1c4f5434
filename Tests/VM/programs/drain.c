// usage: drain load | full | locked | deadline | shared | free | plug | hold
// A node is emptied of the process heap, as move_pages and numa_maps say it, and filled again. Of the machine's nodes with processors
// the first one is this program's own, and the second one is emptied.
#include "nodes.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "../../../CShims/include/bellows.h"

typedef int drain_function(int, unsigned, const int *, bellows_drain_progress *, void *, struct bellows_drain_report *,
                           size_t);
static drain_function *drain_node, *bring_home;

static void *function(const char *name) {
  void *found = dlsym(RTLD_DEFAULT, name);
  if (!found) die("%s is not exported", name);
  return found;
}

static struct bellows_drain_report report;
static int drain(int place, unsigned milliseconds) {
  return drain_node(nodes[place], milliseconds, NULL, NULL, NULL, &report, sizeof report);
}
static int home(int place) { return bring_home(nodes[place], 60000, NULL, NULL, NULL, &report, sizeof report); }

static void require(bool holds, const char *what) {
  if (!holds)
    die("%s (found %zu moved %zu left %zu: busy %zu locked %zu shared %zu no room %zu not reached %zu other %zu; room %zu, %u sections, %u passes)",
        what, report.found, report.moved, report.left, report.busy, report.locked, report.shared, report.no_room,
        report.not_reached, report.other, report.room, report.sections, report.passes);
}

// --- Blocks of a node ---

enum { kept_count = 3000 };
static struct block *kept[kept_count];

// Of all kinds: small blocks, whole pages, and one with a mapping of its own.
static void *keep(void *argument) {
  run_on((int)(uintptr_t)argument);
  uint64_t seed = 5;
  for (int i = 0; i < kept_count; i++) {
    size_t size = i == 0 ? 80 * MIB : i < 40 ? 50 * KIB + next_random(&seed) % MIB : 48 + next_random(&seed) % 6000;
    kept[i] = malloc(size);
    if (!kept[i]) die("malloc returned NULL");
    block_fill(kept[i], size, seed);
    if (i == 0) memset((char *)kept[i] + sizeof **kept, 7, size / 4 - sizeof **kept), block_fill(kept[i], size, seed);
  }
  return NULL;
}

// How many pages of the kept blocks lie on each node, a page once for each block in it; checks what is in them.
static void count_kept(size_t *counts, int from) {
  for (int i = from; i < kept_count; i++) {
    block_check(kept[i]);
    count_pages(kept[i], kept[i]->size, counts);
  }
}

static size_t kept_on(int place, int from) {
  size_t counts[64] = {0};
  // Of the block with a mapping of its own every page is written by block_fill.
  count_kept(counts, from);
  return counts[nodes[place]];
}

// --- What lies on a node, by the kernel's account ---

// Stacks of threads, with what the C library keeps there: not the heap's.
static char *stacks;
enum { stack_bytes = 256 * 1024, stack_count = 8 };
extern char __bss_start[], _end[];

// Pages of anonymous memory on a node that are neither stacks nor this program's own variables.
static size_t heap_pages_on(int place, char *which, size_t room) {
  static char text[256 * KIB];
  int file = open("/proc/self/numa_maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) die("no numa_maps");
  size_t length = 0, pages = 0;
  ssize_t part;
  while (length < sizeof text - 1 && (part = read(file, text + length, sizeof text - 1 - length)) > 0) length += part;
  close(file);
  text[length] = 0;
  char field[16];
  snprintf(field, sizeof field, " N%d=", nodes[place]);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    uintptr_t start = strtoul(line, NULL, 16);
    bool is_own = (start >= (uintptr_t)stacks && start < (uintptr_t)stacks + stack_count * stack_bytes) ||
                  (start >= ((uintptr_t)__bss_start & ~4095ul) && start < (uintptr_t)_end);
    char *count = strstr(line, field);
    if (is_own || !count || strstr(line, " file=") || strstr(line, " stack")) continue;
    size_t here = strtoul(count + strlen(field), NULL, 10);
    if (here) snprintf(which, room, "%.150s", line);
    pages += here;
  }
  return pages;
}

static void require_empty(int place, const char *when) {
  char which[160] = "";
  size_t pages = heap_pages_on(place, which, sizeof which);
  if (pages) die("%s, %zu pages are on node %d: %s", when, pages, nodes[place], which);
}

// --- Under load ---

static int stop;
static size_t rounds[stack_count];

static void *work(void *argument) {
  int number = (int)(uintptr_t)argument;
  run_on(number % 2);
  enum { most = 1500 };
  static struct block *blocks[4][most];
  struct block **own = blocks[number];
  uint64_t seed = 100 + number;
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
    for (int i = 0; i < 200; i++) {
      struct block **place = &own[next_random(&seed) % most];
      if (*place) {
        block_check(*place);
        free(*place);
      }
      size_t size = next_random(&seed) % 100 == 0 ? 200 * KIB : 40 + next_random(&seed) % 3000;
      if (!(*place = malloc(size))) die("malloc returned NULL");
      block_fill(*place, size, next_random(&seed));
    }
    rounds[number]++;
    pause_for(1);
  }
  for (int i = 0; i < most; i++) {
    if (!own[i]) continue;
    block_check(own[i]);
    free(own[i]);
  }
  return NULL;
}

static size_t steps, last_done;
static int step(void *context, size_t done, size_t total) {
  if (context != &steps || done < last_done || done > total) die("progress: %zu of %zu after %zu", done, total, last_done);
  last_done = done;
  steps++;
  return 0;
}

static pthread_t start(void *(*body)(void *), int number) {
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stacks + number * stack_bytes, stack_bytes);
  if (pthread_create(&thread, &attributes, body, (void *)(uintptr_t)number)) die("cannot create thread");
  return thread;
}

static void *keep_there(void *unused) {
  (void)unused;
  return keep((void *)1);
}

static void load(void) {
  pthread_join(start(keep_there, 4), NULL);
  size_t before = kept_on(1, 0);
  if (before < 5000 || kept_on(0, 0)) die("of the blocks %zu pages are on node %d", before, nodes[1]);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) threads[i] = start(work, i);
  pause_for(300);
  size_t worked = rounds[1];
  int error = drain_node(nodes[1], 60000, NULL, step, &steps, &report, sizeof report);
  require(error == 0 && report.left == 0 && report.moved > 80 * MIB, "the node was not emptied");
  require(steps > 5 && last_done > 0, "no progress was told");
  require_empty(1, "after the drain");
  if (kept_on(1, 0)) die("blocks are still there");
  size_t moved = report.moved, found = report.found;
  unsigned passes = report.passes;
  pause_for(500);
  require_empty(1, "half a second of work later");
  if (rounds[1] <= worked) die("the threads did not go on");
  error = home(1);
  require(error == 0 && report.left == 0, "it was not brought home");
  // The block with a mapping of its own never had a node.
  if (kept_on(1, 1) == 0 || kept_on(0, 1)) die("%zu pages at home, %zu not", kept_on(1, 1), kept_on(0, 1));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  pthread_join(start(keep_there, 4), NULL);
  if (kept_on(0, 0)) die("the node does not serve again: %zu pages are on another", kept_on(0, 0));
  printf("%zu of %zu pages moved in %u passes and %zu steps, 0 left; %zu came home\n", moved / 4096, found / 4096, passes,
         steps, report.moved / 4096);
}

// --- No room elsewhere ---

// The first node is emptied here: the second one is small.
static void full(void) {
  keep((void *)0);
  size_t total = 0, before = kept_on(0, 0);
  struct block *list = NULL;
  while (total < 200 * MIB) {
    struct block *block = malloc(MIB);
    if (!block) die("malloc returned NULL");
    block_fill(block, MIB, total);
    memset(block + 1, 1, MIB - sizeof *block);
    block->next = list;
    list = block;
    total += MIB;
  }
  int error = drain(0, 60000);
  require(error == ENOMEM && report.moved == 0 && report.left == report.found && report.found >= total, "there was room");
  if (kept_on(0, 0) != before) die("pages moved");
  // The node was not left out either.
  struct block *fresh = malloc(3 * MIB);
  block_fill(fresh, 3 * MIB, 1);
  size_t counts[64] = {0};
  count_pages(fresh, 3 * MIB, counts);
  if (counts[nodes[1]]) die("the placement changed");
  struct bellows_drain_report found = report;
  if (home(0) != EINVAL) die("it is not left out, and came home");
  report = found;
  printf("%zu MiB to move, room for %zu: ENOMEM, nothing moved\n", report.found / MIB, report.room / MIB);
}

// --- Blockers ---

static void locked(void) {
  in_thread(keep, 1);
  size_t before = kept_on(1, 0);
  // Locked alone they move.
  if (mlock(kept[0], 4 * MIB) || mlock(kept[1], 50 * KIB)) die("mlock: %s", strerror(errno));
  require(drain(1, 60000) == 0 && report.left == 0, "locked pages stayed");
  if (kept_on(1, 0)) die("locked pages stayed");
  // The large block has no node of its own: it comes back by hand.
  require(home(1) == 0, "it did not come home");
  // Pinned by a pipe that they were spliced into; those of the second block are locked as well.
  struct iovec parts[] = {{(char *)(((uintptr_t)kept[2] + 4095) & ~4095ul), 3 * 4096},
                          {(char *)(((uintptr_t)kept[1] + 4095) & ~4095ul), 2 * 4096}};
  int ends[2];
  if (pipe(ends)) die("pipe: %s", strerror(errno));
  if (vmsplice(ends[1], parts, 2, 0) != 5 * 4096) die("vmsplice: %s", strerror(errno));
  int error = drain(1, 60000);
  require(error == EBUSY && report.left == 5 * 4096, "pinned pages moved");
  require(report.busy == 3 * 4096 && report.locked == 2 * 4096, "not named");
  uintptr_t first = report.first_left, a = (uintptr_t)parts[0].iov_base, b = (uintptr_t)parts[1].iov_base;
  require((first >= a && first < a + 3 * 4096) || (first >= b && first < b + 2 * 4096), "the first address is another one");
  if (kept_on(1, 0) != 5) die("%zu pages stayed", kept_on(1, 0));
  close(ends[0]);
  close(ends[1]);
  require(drain(1, 60000) == 0 && report.left == 0 && report.moved >= 5 * 4096, "no pin, but they stayed");
  printf("%zu pages, 12 of them locked: all moved; 5 pinned: named, 2 of them as locked; without the pin: 0 left\n", before);
}

static void shared(void) {
  in_thread(keep, 1);
  int ends[2];
  if (pipe(ends)) die("pipe: %s", strerror(errno));
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
  }
  int error = drain(1, 60000);
  require(error == EBUSY && report.shared > 0 && report.left == report.shared + report.busy + report.not_reached, "not shared");
  size_t left = report.shared;
  close(ends[1]);
  waitpid(child, NULL, 0);
  require(drain(1, 60000) == 0 && report.left == 0, "the child has gone, and they stayed");
  printf("%zu pages shared with a child stayed and were named; 0 left after it ended\n", left / 4096);
}

// --- Bounds ---

static int end_at_once(void *context, size_t done, size_t total) {
  (void)context;
  return done > 0 && total > 0 ? 5 : 0;
}

static void deadline(void) {
  in_thread(keep, 1);
  size_t before = kept_on(1, 0);
  int error = drain(1, 0);
  require(error == EBUSY && report.moved == 0 && report.not_reached == report.left && report.left > 80 * MIB, "too late, and it moved");
  if (kept_on(1, 0) != before) die("pages moved");
  // It is left out all the same.
  struct block *fresh[50];
  for (int i = 0; i < 50; i++) {
    fresh[i] = malloc(MIB);
    block_fill(fresh[i], MIB, i);
    size_t counts[64] = {0};
    count_pages(fresh[i], MIB, counts);
    if (counts[nodes[1]]) die("new memory came there");
  }
  error = drain_node(nodes[1], 60000, NULL, end_at_once, NULL, &report, sizeof report);
  require(error == EINTR && report.moved > 0 && report.moved <= 512 * 4096 && report.left > 0, "it did not end");
  int cancel = 1;
  error = drain_node(nodes[1], 60000, &cancel, NULL, NULL, &report, sizeof report);
  require(error == EINTR && report.moved == 0, "cancelled, and it moved");
  require(drain(1, 60000) == 0 && report.left == 0, "the rest did not go");
  if (drain(99, 1) != EINVAL || (node_count == 2 && drain(0, 1) != EINVAL)) die("nodes that cannot be");
  printf("%zu pages: none moved after the deadline, one batch before the stop, all at last\n", before);
}

// --- Sections in which nothing is left ---

static void *use_and_free(void *unused) {
  (void)unused;
  run_on(1);
  static struct block *blocks[250];
  for (int i = 0; i < 250; i++) {
    blocks[i] = malloc(MIB);
    block_fill(blocks[i], MIB, i);
  }
  for (int i = 0; i < 250; i++) free(blocks[i]);
  return NULL;
}

static void unused(void) {
  void (*figures)(struct bellows_statistics *, size_t) = function("bellows_statistics");
  pthread_join(start(use_and_free, 4), NULL);
  require(drain(1, 60000) == 0 && report.sections >= 1, "no section went offline");
  struct bellows_statistics now;
  figures(&now, sizeof now);
  require(now.offline == report.sections, "not as many are offline");
  unsigned went = report.sections;
  size_t returned = report.returned;
  require_empty(1, "after the drain");
  require(home(1) == 0 && report.sections == went, "they did not come back");
  figures(&now, sizeof now);
  if (now.offline) die("%zu are still offline", now.offline);
  in_thread(keep, 1);
  if (kept_on(0, 0)) die("what came back does not serve");
  printf("%u sections went and came back; %zu MiB returned\n", went, returned / MIB);
}

// --- A node that is plugged in while the heap runs, and taken away ---

static void monitor(const char *command) {
  char line[200];
  int length = snprintf(line, sizeof line, "@@MONITOR %s\n", command), file = open("/dev/ttyS2", O_WRONLY | O_CLOEXEC);
  if (file < 0 || write(file, line, length) != length) die("no monitor");
  close(file);
}

// Writes `state` to the memory blocks of node 1, all of them or none; answers how many there are.
static int blocks_of_node(const char *state) {
  int count = 0;
  for (int block = 0; block < 256; block++) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/node/node1/memory%d/state", block);
    if (access(path, F_OK)) continue;
    count++;
    int file = state ? open(path, O_WRONLY | O_CLOEXEC) : -1;
    if (state && (file < 0 || write(file, state, strlen(state)) < 0)) die("%s: %s: %s", path, state, strerror(errno));
    if (file >= 0) close(file);
  }
  return count;
}

static void await_blocks(int wanted) {
  for (int i = 0; i < 150 && blocks_of_node(NULL) != wanted; i++) pause_for(100);
  if (blocks_of_node(NULL) != wanted) die("the node has %d memory blocks", blocks_of_node(NULL));
}

static struct block *plugged[400];

// Pages of `count` fresh blocks on node 1, of all.
static size_t fresh_on_node(int from, int count, size_t *all) {
  size_t counts[64] = {0};
  for (int i = from; i < from + count; i++) {
    plugged[i] = malloc(i % 2 ? 600 * KIB : 900 * KIB);
    if (!plugged[i]) die("malloc returned NULL");
    block_fill(plugged[i], i % 2 ? 600 * KIB : 900 * KIB, i + 1);
    count_pages(plugged[i], plugged[i]->size, counts);
  }
  *all = 0;
  for (int node = 0; node < 64; node++) *all += counts[node];
  return counts[1];
}

static void *live_on_plugged(void *unused) {
  (void)unused;
  cpu_set_t second;
  CPU_ZERO(&second);
  CPU_SET(1, &second);
  if (sched_setaffinity(0, sizeof second, &second)) die("no second processor");
  size_t all, here = fresh_on_node(0, 40, &all);
  if (here) die("%zu pages on a node without memory", here);
  monitor("object_add memory-backend-ram,id=plugged,size=512M");
  monitor("device_add pc-dimm,id=slot,memdev=plugged,node=1");
  await_blocks(4);
  blocks_of_node("online_movable");
  // Usable at once, and when the heap grows, by a section of its own.
  here = fresh_on_node(40, 40, &all);
  if (here < all * 9 / 10) die("at once, %zu of %zu pages are on the node", here, all);
  size_t at_once = here;
  here = fresh_on_node(80, 250, &all);
  if (here != all) die("after the heap grew, %zu of %zu pages are on the node", here, all);
  nodes[1] = 1;
  require(drain(1, 60000) == 0 && report.left == 0 && report.moved >= (here + at_once) * 4096, "it was not emptied");
  blocks_of_node("offline");
  monitor("device_del slot");
  await_blocks(0);
  for (int i = 0; i < 330; i++) block_check(plugged[i]);
  if (fresh_on_node(330, 40, &all)) die("pages on a node that has gone");
  printf("%zu pages at once, then all of %zu; emptied and taken away\n", at_once, here);
  return NULL;
}

static void *nothing(void *argument) { return argument; }

// Blocks of the second node that are looked at until this process is ended, for the tool to work on.
static void hold(void) {
  in_thread(keep, 1);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    for (int i = 0; i < kept_count; i++) block_check(kept[i]);
    pause_for(20);
  }
}

int main(int count, char **arguments) {
  if (count != 2) die("usage: drain load | full | locked | deadline | shared | free | plug | hold");
  require_preloaded();
  const char *what = arguments[1];
  bool is_plugged = !strcmp(what, "plug");
  if (is_plugged) CPU_SET(0, &processors[0]);
  else find_nodes();
  // From the first instruction on this node, so that nothing of the C library lies on the other.
  run_on(0);
  if (!getenv("IS_ON_FIRST_NODE")) {
    setenv("IS_ON_FIRST_NODE", "1", 1);
    execv(arguments[0], arguments);
  }
  drain_node = function("bellows_drain_node");
  bring_home = function("bellows_bring_home");
  // With a page on each side that keeps other mappings from becoming one with it.
  char *around = mmap(NULL, stack_count * stack_bytes + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stacks = around + 4096;
  if (mprotect(stacks, stack_count * stack_bytes, PROT_READ | PROT_WRITE)) die("no stacks");
  // The library's own thread starts here, on this node.
  pthread_join(start(nothing, 7), NULL);
  struct block *large = malloc(6 * MIB);
  memset(large, 1, 6 * MIB);
  free(large);
  if (is_plugged) in_thread(live_on_plugged, 0);
  else if (!strcmp(what, "load")) load();
  else if (!strcmp(what, "hold")) hold();
  else if (!strcmp(what, "full")) full();
  else if (!strcmp(what, "locked")) locked();
  else if (!strcmp(what, "shared")) shared();
  else if (!strcmp(what, "deadline")) deadline();
  else if (!strcmp(what, "free")) unused();
  else die("unknown: %s", what);
  return 0;
}
