// bellows_limit: what is refused above the hard limit and what is told about both.
#include "../../CShims/include/bellows.h"
#include "check.h"

__attribute__((weak)) int bellows_limit(size_t, size_t, bellows_limit_crossed *, void *);
__attribute__((weak)) void bellows_statistics(struct bellows_statistics *, size_t);

static size_t held(void) {
  struct bellows_statistics now;
  bellows_statistics(&now, sizeof now);
  return now.held;
}

static int calls, seen;

static void crossed(void *context, int which, size_t now) {
  CHECK(context == &calls && now > 0);
  calls++;
  seen |= which;
  // With no lock held: it may allocate, and is not called for what it does itself.
  for (int i = 0; i < 1000; i++) free(malloc(100000 + 4096 * (size_t)i % 300000));
}

static void soft(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(bellows_limit(64 * MIB, 0, crossed, &calls) == 0);
  char *blocks[1200];
  for (size_t i = 0; i < COUNT(blocks); i++) {
    blocks[i] = malloc(100000);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, 100000);
  }
  CHECK(calls == 1 && seen == BELLOWS_SOFT_LIMIT, "%d calls, %d", calls, seen);
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  // Above the limit what is freed goes at once; below it, after the purge delay. So at most the limit is left.
  free(malloc(3 * MIB));
  CHECK(held() < 70 * MIB, "%zu", held());
}

static void hard(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(bellows_limit(2 * MIB, MIB, NULL, NULL) == EINVAL);
  CHECK(bellows_limit(0, 64 * MIB, crossed, &calls) == 0);
  char *block = malloc(40 * MIB);
  CHECK(block != NULL);
  pattern_write(block, 40 * MIB, 7);
  errno = 0;
  CHECK(malloc(40 * MIB) == NULL && errno == ENOMEM);
  CHECK(calls == 1 && seen == BELLOWS_HARD_LIMIT, "%d calls, %d", calls, seen);
  errno = 0;
  CHECK(calloc(40, MIB) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(realloc(block, 80 * MIB) == NULL && errno == ENOMEM);
  void *aligned = block;
  CHECK(posix_memalign(&aligned, 4096, 40 * MIB) == ENOMEM && aligned == block);
  errno = 0;
  CHECK(malloc(400 * MIB) == NULL && errno == ENOMEM);
  pattern_check(block, 40 * MIB, 7);
  size_t count = 0;
  static char *small[1 << 20];
  while (count < COUNT(small) && (small[count] = malloc(48)) != NULL) count++;
  CHECK(count > 20 * MIB / 64 && held() <= 64 * MIB, "%zu blocks, %zu held", count, held());
  while (count > 0) free(small[--count]);
  // Within the limit all is as ever.
  CHECK(bellows_limit(0, 0, NULL, NULL) == 0);
  char *more = malloc(400 * MIB);
  CHECK(more != NULL);
  free(more);
  pattern_check(block, 40 * MIB, 7);
  free(block);
  struct bellows_statistics now;
  bellows_statistics(&now, sizeof now);
  CHECK(now.soft_limit == 0 && now.hard_limit == 0);
}

// What was set by the environment.
static void inherited(int argc, char **argv) {
  struct bellows_statistics now;
  bellows_statistics(&now, sizeof now);
  CHECK(now.soft_limit == (size_t)number_at(argc, argv, 0, 0), "%zu", now.soft_limit);
  CHECK(now.hard_limit == (size_t)number_at(argc, argv, 1, 0), "%zu", now.hard_limit);
}

int main(int argc, char **argv) {
  static const struct command commands[] = {{"soft", soft}, {"hard", hard}, {"inherited", inherited}};
  CHECK(bellows_limit != NULL, "not under Bellows");
  return run_command(commands, COUNT(commands), argc, argv);
}
