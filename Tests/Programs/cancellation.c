// malloc and its relatives are no cancellation points (POSIX; glibc bug 22830): a thread whose cancellation is pending goes through
// all of them, and ends where it says so.
#include <malloc.h>
#include <pthread.h>

#include "check.h"

static int passed;

static void everything(void) {
  static const size_t sizes[] = {1, 100, 5000, 40000, 300000, 5 * MIB, 70 * MIB};
  for (int round = 0; round < 30; round++) {
    void *held[2000];
    for (size_t i = 0; i < COUNT(held); i++) CHECK((held[i] = malloc(9000)) != NULL);
    for (size_t i = 0; i < COUNT(held); i++) free(held[i]);
    for (size_t i = 0; i < COUNT(sizes); i++) {
      void *block = malloc(sizes[i]);
      CHECK(block != NULL && (block = realloc(block, sizes[i] * 2)) != NULL);
      free(block);
      free(calloc(1, sizes[i]));
      free(aligned_alloc(4096, sizes[i]));
    }
    malloc_trim(0);
    mallinfo2();
  }
}

static void *pending(void *argument) {
  (void)argument;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  everything();
  pthread_cancel(pthread_self());
  pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
  static const size_t sizes[] = {1, 100, 5000, 40000, 300000, 5 * MIB, 70 * MIB};
  for (int round = 0; round < 100; round++) {
    static void *held[3000];
    for (size_t i = 0; i < COUNT(held); i++) held[i] = malloc(9000);
    for (size_t i = 0; i < COUNT(held); i++) free(held[i]);
    for (size_t i = 0; i < COUNT(sizes); i++) {
      void *block = malloc(sizes[i]);
      block = realloc(block, sizes[i] * 2);
      free(block);
      free(calloc(1, sizes[i]));
      free(aligned_alloc(4096, sizes[i]));
    }
    malloc_trim(0);
    malloc_stats();
    mallinfo2();
    static char text[1 << 16];
    static FILE *file;
    if (!file) file = fmemopen(text, sizeof text, "w");
    malloc_info(0, file);
    if (round % 10 == 0) rewind(file);
  }
  passed = 1;
  pthread_testcancel();
  passed = 2;
  return NULL;
}

// all: every function, with a pending cancellation.
static void all(int argc, char **argv) {
  (void)argc, (void)argv;
  pthread_t thread;
  void *result;
  CHECK(pthread_create(&thread, NULL, pending, NULL) == 0 && pthread_join(thread, &result) == 0);
  CHECK(passed == 1 && result == PTHREAD_CANCELED, "cancelled inside (%d)", passed);
  // Nothing is locked.
  for (size_t i = 0; i < 3000; i++) free(malloc(i * 100));
  malloc_trim(0);
}

static void *twice(void *argument) {
  (void)argument;
  char *block = malloc(100000);
  pthread_cancel(pthread_self());
  free(laundered(block)), free(laundered(block));
  return NULL;
}

// double-free: the process aborts, though the thread that says why is to be cancelled.
static void double_free(int argc, char **argv) {
  (void)argc, (void)argv;
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, twice, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"all", all}, {"double-free", double_free}};
  return run_command(commands, COUNT(commands), argc, argv);
}
