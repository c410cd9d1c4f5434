// A process to look at and to steer from outside. It says what it did, then "ready", and goes on until it is killed.
//
//   target idle             one thread: blocks of all kinds, half of them freed; then it sleeps
//   target spare MIB        one thread: takes MIB MiB in blocks, writes and frees them; then it sleeps
//   target busy THREADS     threads that allocate and free runs and small blocks all the time
//   target fork             takes memory, forks, and both sleep
//   target limit MIB        takes and writes blocks of 64 KiB until MIB MiB or NULL, and says how many MiB it got
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "check.h"

static void say_ready(void) {
  printf("ready\n");
  fflush(stdout);
}

static void sleep_for_ever(void) {
  for (;;) pause();
}

static void hold(size_t count) {
  char **blocks = malloc(count * sizeof *blocks);
  for (size_t i = 0; i < count; i++) {
    blocks[i] = malloc(1000);
    memset(blocks[i], 1, 1000);
  }
  for (size_t i = 0; i < count; i += 2) free(blocks[i]);
  char *run = malloc(3 << 20);
  memset(run, 1, 3 << 20);
}

static void spare(size_t mebibytes) {
  enum { SIZE = 256 << 10 };
  size_t count = mebibytes * 4;
  char **blocks = malloc(count * sizeof *blocks);
  for (size_t i = 0; i < count; i++) {
    blocks[i] = malloc(SIZE);
    memset(blocks[i], 1, SIZE);
  }
  for (size_t i = 0; i < count; i++) free(blocks[i]);
}

static void *churn(void *seed) {
  enum { SLOTS = 512 };
  uint64_t state = (uintptr_t)seed * 0x9e3779b97f4a7c15u + 1;
  char *slots[SLOTS] = {0};
  for (;;) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    size_t place = (state >> 33) % SLOTS;
    free(slots[place]);
    size_t bytes = (state >> 45) % 4 == 0 ? 40000 + (state >> 50) * 8 : (state >> 50) % 3000;
    slots[place] = malloc(bytes);
    if (slots[place] != NULL) *slots[place] = 1;
  }
  return NULL;
}

static void limit(size_t mebibytes) {
  size_t got = 0;
  while (got < mebibytes * 16) {
    char *block = malloc(65536);
    if (block == NULL) break;
    memset(block, 1, 65536);
    got++;
  }
  printf("got %zu\n", got / 16);
}

int main(int count, char **words) {
  const char *mode = count > 1 ? words[1] : "";
  long number = count > 2 ? atol(words[2]) : 0;
  if (strcmp(mode, "idle") == 0) {
    hold(100000);
  } else if (strcmp(mode, "spare") == 0) {
    spare((size_t)number);
  } else if (strcmp(mode, "busy") == 0) {
    for (long i = 0; i < number; i++) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, churn, (void *)(i + 1)) != 0) return 1;
    }
  } else if (strcmp(mode, "limit") == 0) {
    limit((size_t)number);
  } else if (strcmp(mode, "fork") == 0) {
    hold(20000);
    int ends[2];
    if (pipe(ends) != 0) return 1;
    pid_t child = fork();
    if (child == 0) {
      hold(100000);
      close(ends[0]);
      close(ends[1]);
      sleep_for_ever();
    }
    close(ends[1]);
    char end;
    if (read(ends[0], &end, 1) != 0) return 1;
    close(ends[0]);
    printf("child %d\n", (int)child);
  } else {
    fprintf(stderr, "target: no such mode\n");
    return 2;
  }
  say_ready();
  sleep_for_ever();
}
