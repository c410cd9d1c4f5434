// Processes made while threads allocate: fork, vfork, posix_spawn, system. A child that hangs is
// ended by its own alarm and counted.
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "check.h"

extern char **environ;
static atomic_int stop;

// Churns small, large and huge blocks, and now and then a thread of its own.
static void *churn_briefly(void *argument) {
  for (int i = 0; i < 20; i++) free(malloc(100u << (i % 12)));
  return argument;
}
static void *churn(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument * 31 + 7;
  struct {
    void *block;
    size_t size;
    uint64_t seed;
  } held[100] = {0};
  while (!stop) {
    size_t i = next_random(&random) % COUNT(held);
    if (held[i].block != NULL) {
      pattern_check(held[i].block, held[i].size, held[i].seed);
      if (next_random(&random) % 4 == 0) {
        size_t size = log_uniform(&random, 18);
        held[i].block = realloc(held[i].block, size);
        CHECK(held[i].block != NULL);
        pattern_check_kept(held[i].block, held[i].size, size, held[i].seed);
        held[i].size = size;
        pattern_write(held[i].block, size, held[i].seed);
        continue;
      }
      free(held[i].block);
    }
    unsigned kind = (unsigned)(next_random(&random) % 512);
    held[i].size = kind == 0 ? 70 * MIB : kind < 8 ? log_uniform(&random, 23) : log_uniform(&random, 13);
    held[i].seed = random;
    CHECK((held[i].block = malloc(held[i].size)) != NULL);
    pattern_write(held[i].block, held[i].size, random);
    if (kind == 100) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, churn_briefly, NULL) == 0) pthread_join(thread, NULL);
    }
  }
  for (size_t i = 0; i < COUNT(held); i++) free(held[i].block);
  return NULL;
}

// Blocks that another thread made before any fork; a child must be able to use and free them.
static struct {
  void *block;
  size_t size;
} inherited[600];
static void *make_inherited(void *argument) {
  uint64_t random = 99;
  for (size_t i = 0; i < COUNT(inherited); i++) {
    inherited[i].size = i < 590 ? log_uniform(&random, 14) : log_uniform(&random, 24);
    CHECK((inherited[i].block = malloc(inherited[i].size)) != NULL);
    pattern_write(inherited[i].block, inherited[i].size, i);
  }
  return argument;
}

static void *child_thread(void *argument) {
  void *block = malloc(5000);
  CHECK(block != NULL);
  free(block), free(argument);
  return malloc(10);
}
static void child(uint64_t random, int depth) {
  alarm(5);
  for (size_t size = 0; size <= 2600 * KIB; size = size * 2 + 1000 + next_random(&random) % 1000) {
    void *block = malloc(size);
    CHECK(block != NULL);
    pattern_write(block, size, random);
    pattern_check(block, size, random);
    free(block);
  }
  for (size_t i = 0; i < COUNT(inherited); i++) {
    pattern_check(inherited[i].block, inherited[i].size, i);
    if (next_random(&random) % 2) free(inherited[i].block);
  }
  pthread_t thread;
  void *result;
  CHECK(pthread_create(&thread, NULL, child_thread, malloc(300000)) == 0);
  pthread_join(thread, &result);
  free(result);
  if (depth == 0 && next_random(&random) % 8 == 0) {  // a fork of a fork
    pid_t grandchild = fork();
    CHECK(grandchild >= 0);
    if (grandchild == 0) {
      alarm(5);
      free(malloc(MIB)), free(malloc(10)), exit(0);
    }
    int status;
    CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0, "grandchild %#x", status);
  }
  next_random(&random) % 2 ? exit(0) : _exit(0);
}

static pthread_t churners[16];
static void start_churners(long count) {
  for (long i = 0; i < count; i++) CHECK(pthread_create(&churners[i], NULL, churn, (void *)(i + 1)) == 0);
}
static void join_churners(long count) {
  stop = 1;
  for (long i = 0; i < count; i++) pthread_join(churners[i], NULL);
}

// fork SECONDS THREADS
static void forking(int argc, char **argv) {
  double duration = (double)number_at(argc, argv, 0, 5);
  long threads = number_at(argc, argv, 1, 3), forks = 0, hangs = 0, failures = 0;
  pthread_t maker;
  CHECK(pthread_create(&maker, NULL, make_inherited, NULL) == 0);
  pthread_join(maker, NULL);
  start_churners(threads);
  for (double begin = seconds(); seconds() - begin < duration; forks++) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) child((uint64_t)forks * 2654435761u + 1, 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
      hangs++;
    else if (status != 0)
      failures++, dprintf(STDERR_FILENO, "child %ld: status %#x\n", forks, status);
    if (hangs + failures >= 3) break;
  }
  join_churners(threads);
  printf("%ld forks, %ld hangs, %ld failures\n", forks, hangs, failures);
  CHECK(hangs == 0 && failures == 0, "%ld hangs and %ld failures in %ld forks", hangs, failures, forks);
}

// Two threads fork at the same time, so that the handlers of both forks interleave.
static void *fork_often(void *argument) {
  long count = (long)(intptr_t)argument;
  for (long i = 0; i < count; i++) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      alarm(5);
      free(malloc(100)), free(malloc(MIB));
      _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %#x", status);
  }
  return NULL;
}
static void forks_at_once(int argc, char **argv) {
  void *count = (void *)(intptr_t)number_at(argc, argv, 0, 300);
  pthread_t threads[3];
  start_churners(2);
  for (size_t i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, fork_often, count) == 0);
  for (size_t i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  join_churners(2);
}

__attribute__((noinline)) static pid_t vfork_and_run(char *const *command) {
  pid_t pid = vfork();
  if (pid == 0) {
    execv(command[0], command);
    _exit(127);
  }
  return pid;
}
static void others(int argc, char **argv) {
  long rounds = number_at(argc, argv, 0, 60);
  char *const command[] = {"/bin/true", NULL};
  start_churners(3);
  for (long i = 0; i < rounds; i++) {
    pid_t pid;
    int status;
    CHECK(posix_spawn(&pid, command[0], NULL, NULL, command, environ) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0, "posix_spawn: %#x", status);
    pid = vfork_and_run(command);
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "vfork: %#x", status);
    CHECK((status = system("exit 7")) == 7 << 8, "system: %#x", status);
    FILE *pipe = popen("echo here", "r");
    char line[32] = "";
    CHECK(pipe != NULL && fgets(line, sizeof line, pipe) != NULL && strcmp(line, "here\n") == 0);
    CHECK(pclose(pipe) == 0);
  }
  join_churners(3);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);  // a child must not print its copy of the buffer
  const struct command commands[] = {{"fork", forking}, {"forks-at-once", forks_at_once}, {"others", others}};
  return run_command(commands, COUNT(commands), argc, argv);
}
