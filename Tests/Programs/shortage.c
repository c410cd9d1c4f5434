// What happens when the kernel refuses: by a library that fails the n-th memory system call
// (failing-memory.so, preloaded too), and by resource limits. Wanted: NULL and
// ENOMEM or success, all contents intact, and afterwards life goes on.
//   shortage fresh FROM TO once|from STEP · shortage again FROM TO once|from STEP · shortage count · shortage limit as|data
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "check.h"

static void (*arm)(long, int);
static long (*calls_made)(void), (*calls_failed)(void);
static void find_obstacle(void) {
  arm = (void (*)(long, int))dlsym(RTLD_DEFAULT, "failing_memory_arm");
  calls_made = (long (*)(void))dlsym(RTLD_DEFAULT, "failing_memory_calls");
  calls_failed = (long (*)(void))dlsym(RTLD_DEFAULT, "failing_memory_failed");
  CHECK(arm && calls_made && calls_failed, "failing-memory.so is not preloaded");
}

static struct {
  void *block;
  size_t size;
} held[2000];
enum { small_count = 1500, large_count = 40, huge_count = 4 };
static long refused;

static void *granted(void *block, size_t size) {
  if (block == NULL) {
    CHECK(errno == ENOMEM, "NULL for %zu bytes", size);
    refused++;
  } else {
    pattern_write(block, size, size);
  }
  return block;
}
static void obtain(size_t i, size_t size) {
  errno = 0;
  void *block = i % 3 == 0 ? calloc(1, size) : i % 7 == 0 ? aligned_alloc(256, size) : malloc(size);
  held[i].block = granted(block, size), held[i].size = size;
}
static void grow(size_t i, size_t size) {
  if (held[i].block == NULL) return;
  errno = 0;
  void *block = realloc(held[i].block, size);
  if (block == NULL) {  // refused: the old block must be whole
    CHECK(errno == ENOMEM);
    refused++;
    pattern_check(held[i].block, held[i].size, held[i].size);
    return;
  }
  pattern_check_kept(block, held[i].size, size, held[i].size);
  pattern_write(block, size, size);
  held[i].block = block, held[i].size = size;
}
static void release(size_t i) {
  if (held[i].block == NULL) return;
  pattern_check(held[i].block, held[i].size, held[i].size);
  errno = 12345;
  free(held[i].block);
  CHECK(errno == 12345, "free changed errno");
  held[i].block = NULL;
}

static void *in_thread(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument;
  for (int i = 0; i < 300; i++) {
    size_t size = log_uniform(&random, 17);
    errno = 0;
    void *block = granted(malloc(size), size);
    if (block != NULL) pattern_check(block, size, size);
    free(block);
  }
  return NULL;
}

// One round of everything: small, 32 KiB to 40 MiB, 100 MiB, growth, threads, trimming, freeing.
static void workload(uint64_t random) {
  size_t i = 0;
  for (; i < small_count; i++) obtain(i, log_uniform(&random, 15));
  for (; i < small_count + large_count; i++) obtain(i, 32 * KIB + log_uniform(&random, 21) % (2 * MIB));
  obtain(i++, 40 * MIB), obtain(i++, 40 * MIB + 5000);
  for (size_t k = 0; k < huge_count; k++) obtain(i++, 100 * MIB + k * 123456);
  pthread_t threads[3];
  int started[3];
  for (size_t k = 0; k < 3; k++) started[k] = pthread_create(&threads[k], NULL, in_thread, (void *)(k + 1));
  for (size_t k = 0; k < i; k += 5) grow(k, held[k].size * 2 + 10);
  for (size_t k = i - 6; k < i; k++) grow(k, held[k].size + 30 * MIB);
  for (size_t k = i - 6; k < i; k += 2) grow(k, held[k].size / 3);
  for (size_t k = 0; k < i; k += 2) release(k);
  malloc_trim(0);
  for (size_t k = 0; k < i; k += 4) obtain(k, log_uniform(&random, 19));
  for (size_t k = 0; k < 3; k++)
    if (started[k] == 0) pthread_join(threads[k], NULL);
  for (size_t k = 0; k < i; k++) release(k);
  malloc_trim(0);
}
// After the shortage everything must be had again.
static void recovered(void) {
  const size_t sizes[] = {64, 5000, 40000, MIB, 40 * MIB, 100 * MIB};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    void *block = malloc(sizes[i]);
    CHECK(block != NULL, "no %zu bytes after the shortage", sizes[i]);
    pattern_write(block, sizes[i], 1), pattern_check(block, sizes[i], 1);
    free(block);
  }
  refused = 0;
  workload(4711);
  CHECK(refused == 0, "%ld requests refused after the shortage", refused);
}

static int mode_of(int argc, char **argv) { return argc > 2 && strcmp(argv[2], "from") == 0; }

// A new process (a fork of one that has allocated nothing) for each n.
static void fresh(int argc, char **argv) {
  find_obstacle();
  long from = number_at(argc, argv, 0, 1), to = number_at(argc, argv, 1, 500), reached = 0;
  int mode = mode_of(argc, argv);
  long step = number_at(argc, argv, 3, 1), tried = 0;
  for (long n = from; n <= to; n += step, tried++) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      alarm(60);
      arm(n, mode);
      for (uint64_t round = 1; round <= 3 && calls_failed() == 0; round++) workload(round);
      long failed = calls_failed();
      arm(-1, 0);
      recovered();
      _exit(failed > 0 ? 0 : 77);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77),
          "call %ld refused: status %#x", n, status);
    reached += WEXITSTATUS(status) == 0;
  }
  printf("%ld of %ld calls refused\n", reached, tried);
  CHECK(reached > 0, "no call was ever refused");
}
// One process that lives through all of them.
static void again(int argc, char **argv) {
  find_obstacle();
  long from = number_at(argc, argv, 0, 1), to = number_at(argc, argv, 1, 500), reached = 0;
  long step = number_at(argc, argv, 3, 1), tried = 0;
  for (long n = from; n <= to; n += step, tried++) {
    arm(n, mode_of(argc, argv));
    workload((uint64_t)n);
    reached += calls_failed() > 0;
    arm(-1, 0);
    if (tried % 20 == 19) recovered();
  }
  printf("%ld of %ld calls refused\n", reached, tried);
  CHECK(reached > 0, "no call was ever refused");
}
static void count(int argc, char **argv) {
  (void)argc, (void)argv;
  find_obstacle();
  arm(-1, 0);
  workload(1);
  printf("%ld calls in a round\n", calls_made());
}

// limit as|data: to the end of a resource limit, step by step in smaller blocks, free, go on.
static void limit(int argc, char **argv) {
  CHECK(argc == 1);
  bool data = strcmp(argv[0], "data") == 0;
  long used = figure("/proc/self/status", data ? "VmData:" : "VmSize:");
  struct rlimit limit = {(rlim_t)used * 1024 + 400 * MIB, RLIM_INFINITY};
  CHECK(setrlimit(data ? RLIMIT_DATA : RLIMIT_AS, &limit) == 0);
  size_t i = 0, total = 0;
  const size_t steps[] = {MIB, 40000, 600};
  for (size_t step = 0; step < COUNT(steps); step++) {
    refused = 0;
    while (i < COUNT(held)) {
      obtain(i, steps[step]);
      if (held[i].block == NULL) break;
      total += steps[step], i++;
    }
  }
  CHECK(refused > 0, "%zu blocks and %zu bytes, never refused", i, total);
  printf("%zu MiB in %zu blocks below a limit of 400 MiB\n", total / MIB, i);
  CHECK(total >= 200 * MIB, "refused after %zu MiB", total / MIB);
  for (size_t k = 0; k < i; k += 2) release(k);
  for (size_t k = 0; k < i; k += 2) {
    obtain(k, held[k].size);
    CHECK(held[k].block != NULL, "block %zu of %zu: no memory after half was freed", k, i);
  }
  for (size_t k = 0; k < i; k++) release(k);
  // All is free, so address space and data are there for a block of another kind.
  void *block = malloc(40 * MIB);
  CHECK(block != NULL, "no 40 MiB after all was freed");
  free(block);
  malloc_trim(0);
  block = malloc(150 * MIB);
  CHECK(block != NULL, "no 150 MiB after all was freed and trimmed");
  free(block);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  const struct command commands[] = {{"fresh", fresh}, {"again", again}, {"count", count}, {"limit", limit}};
  return run_command(commands, COUNT(commands), argc, argv);
}
