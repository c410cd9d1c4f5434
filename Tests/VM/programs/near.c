// usage: near local | moved | across | abandoned | full | policy
// Where the memory of malloc lies on a machine of several nodes, as move_pages says it after each block was written.
#include "nodes.h"

enum { small_count = 30000, run_count = 60, block_count = small_count + run_count };

struct set {
  struct block *blocks[block_count];
};

// 16 bytes to 32 KiB, most of them small; then runs up to 1 MiB.
static size_t block_bytes(int place, uint64_t *state) {
  if (place >= small_count) return 40 * KIB + next_random(state) % (place % 10 == 0 ? 1024 * KIB : 200 * KIB);
  return 32 + next_random(state) % (place % 100 == 0 ? 32 * KIB : 600);
}

static void fill(struct set *set, int from, int to, uint64_t seed) {
  for (int i = from; i < to; i++) {
    size_t size = block_bytes(i, &seed);
    set->blocks[i] = malloc(size);
    if (!set->blocks[i]) die("malloc returned NULL");
    block_fill(set->blocks[i], size, seed);
  }
}

static void empty(struct set *set, int from, int to, int step) {
  for (int i = from; i < to; i += step) {
    if (!set->blocks[i]) continue;
    block_check(set->blocks[i]);
    free(set->blocks[i]);
    set->blocks[i] = NULL;
  }
}

// Fails where more than `allowed` pages of the blocks lie on other nodes.
static size_t require_on(int place, struct set *set, int from, int to, size_t allowed, const char *what) {
  size_t counts[64] = {0}, all = 0;
  for (int i = from; i < to; i++)
    if (set->blocks[i]) count_pages(set->blocks[i], set->blocks[i]->size, counts);
  for (int node = 0; node < 64; node++) all += counts[node];
  size_t near = counts[nodes[place]];
  if (all - near > allowed) die("%s: of %zu pages %zu lie on node %d (%zu on %d)", what, all, near, nodes[place], counts[nodes[!place]], nodes[!place]);
  return near;
}

static struct set sets[most_nodes];

// --- Threads on all nodes at once, each with memory of its own ---

static void *live(void *argument) {
  int place = (int)(uintptr_t)argument;
  run_on(place);
  for (int round = 0; round < 3; round++) {
    fill(&sets[place], 0, block_count, 77 + place * 10 + round);
    require_on(place, &sets[place], 0, block_count, 0, "a thread's own memory");
    empty(&sets[place], 0, block_count, 1);
  }
  fill(&sets[place], 0, block_count, 99 + place);
  return (void *)require_on(place, &sets[place], 0, block_count, 0, "a thread's own memory");
}

static void local(void) {
  pthread_t threads[most_nodes];
  for (uintptr_t i = 0; i < (uintptr_t)node_count; i++)
    if (pthread_create(&threads[i], NULL, live, (void *)i)) die("cannot create thread");
  for (int i = 0; i < node_count; i++) {
    void *pages;
    pthread_join(threads[i], &pages);
    printf("node %d: all %zu pages%s", nodes[i], (size_t)pages, i + 1 < node_count ? "; " : "\n");
  }
}

// --- A thread that moves ---

static void *move(void *argument) {
  (void)argument;
  struct set *before = &sets[0], *after = &sets[1];
  run_on(0);
  fill(before, 0, block_count, 5);
  require_on(0, before, 0, block_count, 0, "before the move");
  // Half of it is free for the thread, and lies on the node that it leaves.
  empty(before, 0, block_count, 2);
  run_on(1);
  // It works on for a while: then it is there for good.
  for (int i = 0; i < 150; i++) {
    fill(after, 0, small_count / 50, 6 + i);
    empty(after, 0, small_count / 50, 1);
    pause_for(5);
  }
  fill(after, 0, block_count, 500);
  size_t pages = require_on(1, after, 0, block_count, 0, "after the move");
  empty(before, 1, block_count, 2);
  fill(before, 0, block_count, 501);
  pages += require_on(1, before, 0, block_count, 0, "after it freed what it had before");
  printf("%zu pages after the move, all on node %d\n", pages, nodes[1]);
  return NULL;
}

// --- Freed by a thread of another node ---

static size_t resident[4];

static void *allocate_on(void *argument) {
  int place = (int)(uintptr_t)argument;
  run_on(place);
  fill(&sets[place], 0, block_count, 12 + place);
  require_on(place, &sets[place], 0, block_count, 0, "allocated where others free");
  return NULL;
}

static void *free_and_allocate(void *argument) {
  (void)argument;
  run_on(1);
  for (int round = 0; round < 4; round++) {
    empty(&sets[0], 0, block_count, 1);
    fill(&sets[1], 0, block_count, 30 + round);
    require_on(1, &sets[1], 0, block_count, 0, "allocated after memory of another node was freed");
    if (round == 0) resident[0] = anonymous_kib();
    in_thread(allocate_on, 0);
    empty(&sets[1], 0, block_count, 1);
  }
  resident[1] = anonymous_kib();
  return NULL;
}

static void across(void) {
  in_thread(allocate_on, 0);
  in_thread(free_and_allocate, 0);
  // Two sets live at most: memory comes back to the node that it belongs to, and is found there.
  if (resident[1] > resident[0] * 3 / 2) die("%zu KiB after rounds, %zu KiB in the first", resident[1], resident[0]);
  printf("4 rounds, %zu KiB in the first, %zu KiB after the last\n", resident[0], resident[1]);
}

// --- Shards that an ended thread left ---

static void *leave_half(void *argument) {
  allocate_on(argument);
  empty(&sets[(uintptr_t)argument], 0, small_count, 2);
  return NULL;
}

static void *adopt(void *argument) {
  int place = (int)(uintptr_t)argument;
  run_on(place);
  // Not the ones that are still live: half a set's worth of small blocks.
  for (int i = 0; i < small_count; i += 2) {
    size_t size = 32 + (size_t)i * 7 % 600;
    struct block *block = malloc(size);
    if (!block) die("malloc returned NULL");
    block_fill(block, size, i + 1);
    sets[2].blocks[i] = block;
  }
  require_on(place, &sets[2], 0, small_count, 0, "with shards of another node left behind");
  return NULL;
}

static void abandoned(void) {
  in_thread(leave_half, 0);
  size_t before = anonymous_kib();
  in_thread(adopt, 1);
  long far = (long)(anonymous_kib() - before);
  empty(&sets[2], 0, small_count, 1);
  before = anonymous_kib();
  in_thread(adopt, 0);
  long near = (long)(anonymous_kib() - before);
  if (near > far / 2) die("%ld KiB more on the node with room, %ld KiB on the other", near, far);
  printf("%ld KiB more on the other node, %ld KiB on the one with room\n", far, near);
}

// --- A node that is full ---

static void *overflow(void *argument) {
  (void)argument;
  run_on(1);
  // Half as much again as the node has.
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/node/node%d/meminfo", nodes[1]);
  size_t want = kernel_figure(path, "MemTotal:") * KIB * 3 / 2, have = 0, counts[64] = {0}, count = 0;
  struct block *list = NULL;
  uint64_t state = 3;
  while (have < want) {
    size_t size = count % 20 ? 100 + next_random(&state) % 3000 : 300 * KIB;
    struct block *block = malloc(size);
    if (!block) die("malloc returned NULL with %zu of %zu bytes", have, want);
    block_fill(block, size, count++);
    block->next = list;
    list = block;
    have += size;
    if (count % 20 == 1) count_pages(block, size, counts);
  }
  if (counts[nodes[1]] == 0 || counts[nodes[0]] == 0) die("node 1 got %zu pages, node 0 %zu", counts[nodes[1]], counts[nodes[0]]);
  for (struct block *next; list; list = next) {
    next = list->next;
    block_check(list);
    free(list);
  }
  printf("of the pages looked at %zu on the full node, then %zu on the other\n", counts[nodes[1]], counts[nodes[0]]);
  return NULL;
}

// --- A thread with a memory policy of its own ---

static void *with_policy(void *argument) {
  (void)argument;
  enum { preferred = 1 };
  run_on(0);
  unsigned long mask = 1ul << nodes[1];
  if (syscall(SYS_set_mempolicy, preferred, &mask, 65ul)) die("set_mempolicy: %s", strerror(errno));
  fill(&sets[0], 0, block_count, 40);
  printf("%zu pages, all where the policy says\n", require_on(1, &sets[0], 0, block_count, 0, "of a thread with a policy"));
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 2) die("usage: near local | moved | across | abandoned | full | policy");
  require_preloaded();
  find_nodes();
  const char *what = arguments[1];
  if (!strcmp(what, "local")) local();
  else if (!strcmp(what, "moved")) in_thread(move, 0);
  else if (!strcmp(what, "across")) across();
  else if (!strcmp(what, "abandoned")) abandoned();
  else if (!strcmp(what, "full")) in_thread(overflow, 0);
  else if (!strcmp(what, "policy")) in_thread(with_policy, 0);
  else die("unknown: %s", what);
  return 0;
}
