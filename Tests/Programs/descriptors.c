// The program's descriptors are the program's: nothing of the library opens, reads or closes one, not for a moment.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "check.h"

static void *idle(void *argument) {
  for (size_t i = 0; i < 3000; i++) free(laundered(malloc(i)));
  for (;;) {
    free(laundered(malloc(100)));
    usleep(3000);
  }
  return argument;
}

static void start_threads(size_t count) {
  pthread_t thread;
  for (size_t i = 0; i < count; i++) CHECK(pthread_create(&thread, NULL, idle, NULL) == 0);
}

static void make_dirty(void) {
  static void *blocks[2000];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = laundered(malloc(9000));
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
}

// pipe SECONDS: a daemon's closefrom(3) and a pipe, again and again, beside threads that a helper looks at.
static void own_pipe(int argc, char **argv) {
  start_threads(32);
  signal(SIGPIPE, SIG_IGN);
  double end = seconds() + (double)number_at(argc, argv, 0, 3);
  for (long round = 0; seconds() < end; round++) {
    if (round % 20000 == 0) make_dirty();
    for (int file = 3; file < 6; file++) close(file);
    int ends[2];
    char byte = 0;
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK(close(ends[1]) == 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x', "round %ld", round);
    CHECK(close(ends[0]) == 0);
  }
}

// lowest SECONDS: the next descriptor is the lowest that is free, whatever malloc and free do in other threads.
static void lowest(int argc, char **argv) {
  start_threads(16);
  double end = seconds() + (double)number_at(argc, argv, 0, 3);
  for (long round = 0; seconds() < end; round++) {
    if (round % 5000 == 0) make_dirty();
    if (round % 20000 == 0) malloc_trim(0);
    int file = open("/dev/null", O_RDONLY);
    CHECK(file == 3, "%d in round %ld", file, round);
    close(file);
  }
}

// held: a pipe's reader sees the end when the program closes its writing end: nobody else holds one.
static void held(int argc, char **argv) {
  (void)argc, (void)argv;
  for (int round = 0; round < 200; round++) {
    int ends[2];
    char byte;
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    pthread_t thread;
    if (round % 8 == 0) CHECK(pthread_create(&thread, NULL, idle, NULL) == 0);
    usleep(500);
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0, "round %d", round);
    close(ends[0]);
    make_dirty();
  }
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"pipe", own_pipe}, {"lowest", lowest}, {"held", held}};
  return run_command(commands, COUNT(commands), argc, argv);
}
