// What programming tools are tried with: each error that valgrind knows under libc's malloc, threads that hand blocks over
// with no error at all, a breakpoint for a debugger, and a load for a profiler.
#include <pthread.h>

#include "check.h"

// Three errors: a write behind a block, a write into a freed one, a block that is lost.
static void errors(int argc, char **argv) {
  (void)argc, (void)argv;
  volatile char *block = malloc(10);
  block[10] = 1;
  free((void *)block);
  block[3] = 2;
  block = malloc(77);
  block = NULL;
}

// Threads that allocate, hand over under a mutex, free what others allocated, and read it before.
static struct {
  pthread_mutex_t mutex;
  char *blocks[64];
} shelf = {PTHREAD_MUTEX_INITIALIZER, {0}};

static void *trade(void *argument) {
  unsigned state = (unsigned)(uintptr_t)argument;
  for (int round = 0; round < 2000; round++) {
    state = state * 1103515245 + 12345;
    size_t size = round % 200 == 0 ? 200000 : 16 + state % 3000;
    char *mine = malloc(size);
    CHECK(mine != NULL);
    memset(mine, 1, size);
    pthread_mutex_lock(&shelf.mutex);
    char **place = &shelf.blocks[state / 65536 % COUNT(shelf.blocks)];
    char *other = *place;
    *place = mine;
    pthread_mutex_unlock(&shelf.mutex);
    if (other != NULL) {
      CHECK(other[0] == 1);
      other = realloc(other, 24);
      other[23] = 2;
    }
    free(other);
    free(calloc(1, 64));
  }
  return NULL;
}

static void threads(int argc, char **argv) {
  (void)argc, (void)argv;
  pthread_t all[4];
  for (uintptr_t i = 0; i < COUNT(all); i++) CHECK(pthread_create(&all[i], NULL, trade, (void *)(i + 1)) == 0);
  for (size_t i = 0; i < COUNT(all); i++) pthread_join(all[i], NULL);
  for (size_t i = 0; i < COUNT(shelf.blocks); i++) free(shelf.blocks[i]);
}

// A debugger stops here, with a block of the program's.
__attribute__((noinline)) int stopped(void *held) { return held != NULL; }
static void debugged(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(stopped(malloc(40)) == 1);
}

// Nothing but malloc and free, for a second.
static void profiled(int argc, char **argv) {
  (void)argc, (void)argv;
  static void *blocks[64];
  for (clock_t end = clock() + CLOCKS_PER_SEC; clock() < end;)
    for (int round = 0; round < 20000; round++) {
      size_t place = (size_t)round % COUNT(blocks);
      free(blocks[place]);
      blocks[place] = malloc(64);
    }
}

int main(int argc, char **argv) {
  const struct command commands[] = {
      {"errors", errors}, {"threads", threads}, {"debugged", debugged}, {"profiled", profiled}};
  return run_command(commands, COUNT(commands), argc, argv);
}
