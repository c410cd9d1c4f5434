// After a block was freed twice unseen, or written to after it was freed, lists of free blocks are rings, or lead elsewhere. The
// program may end by an abort, or not notice; it never hangs (a lock would stay closed for all threads).
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

static size_t bytes;
static void *free_all(void *blocks) {
  for (void **block = blocks; *block; block++) free(*block);
  return NULL;
}
static void elsewhere(void **blocks) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, free_all, blocks) == 0);
  pthread_join(thread, NULL);
}

// Takes and writes what there is, then everything else that walks lists.
static void go_on(const char *how) {
  static void *held[20000];
  size_t count = bytes < 1000 ? 20000 : 2000;
  if (strcmp(how, "trim") == 0) malloc_trim(0);
  if (strcmp(how, "fork") == 0) {
    pid_t child = fork();
    int status;
    if (child != 0) {
      CHECK(waitpid(child, &status, 0) == child);
      return;
    }
  }
  for (size_t i = 0; i < count; i++) {
    held[i] = malloc(bytes);
    CHECK(held[i] != NULL);
    *(long *)held[i] = 0;
  }
  if (strcmp(how, "free") == 0)
    for (size_t i = 0; i < count; i += 2) free(held[i]);
  malloc_trim(0);
  if (strcmp(how, "fork") == 0) _exit(0);
}

static void *begin(size_t count, void **blocks) {
  for (size_t i = 0; i < count; i++) CHECK((blocks[i] = laundered(malloc(bytes))) != NULL);
  blocks[count] = NULL;
  return blocks;
}

static const char *kind, *next;
static void *do_it(void *argument) {
  void *blocks[200];
  if (strcmp(kind, "two") == 0) begin(2, blocks), free(blocks[0]), free(blocks[1]), free(blocks[0]);
  if (strcmp(kind, "three") == 0)
    begin(3, blocks), free(blocks[0]), free(blocks[1]), free(blocks[2]), free(blocks[0]);
  if (strcmp(kind, "many") == 0)
    for (int twice = 0; twice < 2; twice++) {
      if (twice == 0) begin(199, blocks);
      for (int i = 0; i < 199; i++) free(blocks[i]);
    }
  if (strcmp(kind, "remote") == 0) {
    begin(3, blocks);
    void *again[] = {blocks[0], NULL};
    elsewhere(blocks), elsewhere(again);
  }
  if (strcmp(kind, "stray") == 0) {
    begin(100, blocks);
    for (int i = 0; i < 100; i++) free(blocks[i]);
    // Into the middle of another block, which is as good a link as any.
    *(void **)blocks[50] = (char *)laundered(malloc(bytes)) + 16;
  }
  go_on(next);
  return argument;
}

// ring BYTES two|three|many|remote|stray go|free|trim|fork|thread
static void ring(int argc, char **argv) {
  CHECK(argc == 3);
  bytes = (size_t)number_at(argc, argv, 0, 64), kind = argv[1], next = argv[2];
  pthread_t thread;
  if (strcmp(next, "thread") != 0) {
    do_it(NULL);
  } else {
    CHECK(pthread_create(&thread, NULL, do_it, NULL) == 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2000; i++) *(long *)laundered(malloc(bytes)) = 0;
  }
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"ring", ring}};
  return run_command(commands, COUNT(commands), argc, argv);
}
