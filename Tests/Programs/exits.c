// The end and the beginning of a process: atexit handlers that allocate, exit under running
// threads, quick_exit, and allocations before any constructor has run.
#include <pthread.h>

#include "check.h"

static void *early_block;
static char *early_text;

// Runs before the constructors of all shared objects of the program.
static void before_constructors(void) {
  early_block = malloc(1000);
  early_text = strdup("allocated before any constructor");
  if (early_block != NULL) memset(early_block, 0x42, 1000);
  free(malloc(100000));
}
__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) = before_constructors;

static void early(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(early_block != NULL && ((char *)early_block)[999] == 0x42);
  CHECK(strcmp(early_text, "allocated before any constructor") == 0);
  CHECK((early_block = realloc(early_block, 5000)) != NULL && ((char *)early_block)[999] == 0x42);
  free(early_block), free(early_text);
}

static void *at_exit_block;
static void handler(void) {
  CHECK(((char *)at_exit_block)[0] == 'A');
  free(at_exit_block);
  for (size_t size = 1; size < 100 * MIB; size *= 3) {
    char *block = malloc(size);
    CHECK(block != NULL);
    block[0] = block[size - 1] = 1;
    free(block);
  }
  at_exit_block = malloc(100);
  CHECK(at_exit_block != NULL);
  *(char *)at_exit_block = 'A';
}
static void last_handler(void) {
  handler();
  dprintf(STDOUT_FILENO, "handlers ran\n");
}
__attribute__((destructor)) static void destructor(void) {
  free(malloc(50));
  free(malloc(500000));
}
static void at_exit(int argc, char **argv) {
  (void)argc, (void)argv;
  at_exit_block = strdup("A");
  CHECK(atexit(last_handler) == 0);
  for (int i = 0; i < 40; i++) CHECK(atexit(handler) == 0);  // more than glibc keeps without malloc
}

static void *churn(void *argument) {
  for (size_t i = (size_t)(uintptr_t)argument;; i = i * 7 + 1) {
    char *block = malloc(i % 60000);
    if (block != NULL) *(volatile char *)block = 1;
    free(block);
  }
  return NULL;
}
// exit while other threads are in the middle of malloc.
static void under_threads(int argc, char **argv) {
  at_exit(argc, argv);
  for (long i = 1; i <= 4; i++) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, churn, (void *)i) == 0);
  }
  usleep(20000);
}
static void *exit_here(void *argument) {
  void *block = malloc(1000);
  *(volatile char *)block = 1;
  printf("ok\n");
  exit(0);
  return argument;
}
// exit called by another thread than main.
static void from_a_thread(int argc, char **argv) {
  at_exit(argc, argv);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, exit_here, NULL) == 0);
  pthread_join(thread, NULL);
}
// main leaves by pthread_exit; the process ends with its last thread.
static void *outlive(void *argument) {
  usleep(20000);
  for (int i = 0; i < 1000; i++) free(malloc((size_t)i * 100));
  printf("ok\n");
  return argument;
}
static void main_leaves(int argc, char **argv) {
  at_exit(argc, argv);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, outlive, NULL) == 0);
  pthread_exit(NULL);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"early", early},
                                     {"at-exit", at_exit},
                                     {"under-threads", under_threads},
                                     {"from-a-thread", from_a_thread},
                                     {"main-leaves", main_leaves}};
  return run_command(commands, COUNT(commands), argc, argv);
}
