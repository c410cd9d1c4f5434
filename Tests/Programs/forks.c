// fork, wherever it is called: among other libraries' handlers, beside stdio, in a signal handler that interrupted
// malloc or another fork, after a crash; and what a child that only frees gives back.
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"

static volatile int stop;

static void reap(pid_t child, int wanted) {
  int status;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
  CHECK(status == wanted, "child: status %#x", status);
}

static void use(int rounds) {
  static const size_t sizes[] = {16, 200, 3000, 20000, 100000, 300000, 3 * MIB};
  for (int i = 0; i < rounds; i++) {
    size_t size = sizes[(size_t)i % COUNT(sizes)] + (size_t)i % 100;
    char *block = malloc(size);
    CHECK(block != NULL);
    block[0] = block[size - 1] = 1;
    free(block);
  }
}

static void *in_library(void *argument) {
  void (*use_locked)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "atfork_use_locked");
  while (!stop) use_locked ? use_locked() : use(100);
  return argument;
}

// With atfork.so preloaded: its handlers allocate, and take a mutex under which other threads do.
static void handlers(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(dlsym(RTLD_DEFAULT, "atfork_use_locked") != NULL, "atfork.so is not preloaded");
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, in_library, NULL) == 0);
  for (int i = 0; i < 40; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      use(100);
      _exit(0);
    }
    reap(child, 0);
  }
  stop = 1;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static void *forking(void *argument) {
  while (!stop) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      // The list of files is open in the child: it may flush and open files.
      use(20);
      FILE *file = fopen("/dev/null", "w");
      CHECK(file != NULL);
      fprintf(file, "%d", 1);
      fflush(NULL);
      fclose(file);
      _exit(0);
    }
    reap(child, 0);
  }
  return argument;
}
static void *reading(void *path) {
  FILE *file = fopen(path, "r");
  CHECK(file != NULL);
  while (!stop) {
    rewind(file);
    char *line = NULL;
    size_t size = 0;
    CHECK(getline(&line, &size, file) > 0);
    free(line);
  }
  fclose(file);
  return NULL;
}
static void *flushing(void *argument) {
  while (!stop) fflush(NULL);
  return argument;
}

// streams [SECONDS]: fork, fflush(NULL) and getline in threads (glibc bug 19431).
static void streams(int argc, char **argv) {
  char path[] = "/tmp/bellows-forks-XXXXXX";
  FILE *file = fdopen(mkstemp(path), "w");
  for (int i = 0; i < 50000; i++) fputc('x', file);
  fputc('\n', file);
  fclose(file);
  pthread_t threads[5];
  CHECK(pthread_create(&threads[0], NULL, forking, NULL) == 0);
  CHECK(pthread_create(&threads[1], NULL, flushing, NULL) == 0);
  for (int i = 2; i < 5; i++) CHECK(pthread_create(&threads[i], NULL, reading, path) == 0);
  sleep((unsigned)number_at(argc, argv, 0, 3));
  stop = 1;
  for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
  unlink(path);
}

static volatile int forks, resumes;
static int goes_on;

// The child goes on with what was interrupted, every fourth one, and then allocates.
static void fork_here(int number) {
  (void)number;
  int saved = errno;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    if (!goes_on || forks % 4 != 0) _exit(0);
    stop = resumes = 1;
    alarm(20);
    signal(SIGALRM, SIG_DFL);
    errno = saved;
    return;
  }
  int status;
  while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
  CHECK(status == 0, "child: status %#x", status);
  forks++;
  errno = saved;
}

static void *beside(void *argument) {
  while (!stop) use(1000);
  return argument;
}

static void *starting(void *argument) {
  use(200);
  return argument;
}

// in-handler fork|malloc|free|threads COUNT: a signal every 2 ms whose handler forks.
static void in_handler(int argc, char **argv) {
  CHECK(argc > 0);
  const char *what = argv[0];
  int count = (int)number_at(argc, argv, 1, 300);
  // Whoever started this may have had it blocked.
  sigset_t alarm_signal;
  sigemptyset(&alarm_signal), sigaddset(&alarm_signal, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarm_signal, NULL);
  bool is_fork = strcmp(what, "fork") == 0, is_threads = strcmp(what, "threads") == 0;
  goes_on = !is_fork;
  pthread_t threads[2];
  if (is_threads) {
    pthread_sigmask(SIG_BLOCK, &alarm_signal, NULL);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, beside, NULL) == 0);
    pthread_sigmask(SIG_UNBLOCK, &alarm_signal, NULL);
  }
  signal(SIGALRM, fork_here);
  struct itimerval every = {{0, 2000}, {0, 2000}};
  setitimer(ITIMER_REAL, &every, NULL);
  static void *held[3000];
  while (forks < count && !stop) {
    if (is_fork) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        use(3);
        _exit(0);
      }
      int status;
      while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
      CHECK(status == 0, "child: status %#x", status);
    } else if (strcmp(what, "free") == 0) {
      for (size_t i = 0; i < COUNT(held); i++) held[i] = malloc(900);
      for (size_t i = 0; i < COUNT(held); i++) free(held[i]);
    } else {
      use(100);
      for (size_t i = 0; i < 300; i++) free(malloc(20000 + i));
    }
  }
  if (resumes) {
    // A child that goes on with what the signal interrupted: threads and memory are there for it.
    use(300);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, starting, NULL) == 0 && pthread_join(thread, NULL) == 0);
    _exit(0);
  }
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
  stop = 1;
  for (int i = 0; i < 2 && is_threads; i++) pthread_join(threads[i], NULL);
}

static void crashed(int number) {
  (void)number;
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/echo", "echo", "reporter ran", NULL);
    _exit(1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {}
  _exit(child > 0 && status == 0 ? 3 : 4);
}

// crash KIND: a handler of SIGABRT and SIGSEGV forks a reporter. Status 3 where it ran; 0 where nothing was found wrong.
static void crash(int argc, char **argv) {
  signal(SIGABRT, crashed), signal(SIGSEGV, crashed);
  CHECK(argc == 1);
  const char *kind = argv[0];
  char *block = laundered(malloc(40)), *other = laundered(malloc(40)), *large = laundered(malloc(300000));
  if (strcmp(kind, "double-free") == 0) free(block), free(block);
  if (strcmp(kind, "double-free-ring") == 0) {
    free(block), free(other), free(block);
    for (int i = 0; i < 300; i++) *(long *)laundered(malloc(40)) = 0;
  }
  if (strcmp(kind, "large-double-free") == 0) free(large), free(large);
  if (strcmp(kind, "large-interior") == 0) free(large + 4096);
  if (strcmp(kind, "foreign") == 0) free((void *)0x12345670);
  if (strcmp(kind, "realloc") == 0) free(laundered(realloc(large + 16384, 500000)));
  if (strcmp(kind, "use-after-free") == 0) {
    free(block), free(other);
    memset(other, 0x41, 16), memset(block, 0x41, 16);
    for (int i = 0; i < 5000; i++) other = laundered(malloc(40));
  }
}

// only-frees BYTES child|self: 300 MiB of blocks are freed by a child of fork, or the process itself, which then does nothing.
static void only_frees(int argc, char **argv) {
  size_t bytes = (size_t)number_at(argc, argv, 0, 1000), count = 300 * MIB / bytes;
  void **blocks = own_memory(count * sizeof *blocks);
  for (size_t i = 0; i < count; i++) {
    CHECK((blocks[i] = malloc(bytes)) != NULL);
    memset(blocks[i], 1, bytes);
  }
  long full = resident_kib();
  pid_t child = argc > 1 && strcmp(argv[1], "child") == 0 ? fork() : 0;
  CHECK(child >= 0);
  if (child == 0) {
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    munmap(blocks, count * sizeof *blocks);
    long left = resident_kib();
    for (int wait = 0; wait < 20 && left > 40 * 1024; wait++) usleep(100000), left = resident_kib();
    printf("resident: %ld KiB, of %ld\n", left, full);
    CHECK(left <= 40 * 1024, "%ld KiB stay", left);
    if (argc > 1 && strcmp(argv[1], "child") == 0) fflush(stdout), _exit(0);
    return;
  }
  reap(child, 0);
}

// ping-pong BYTES: the same block again and again costs no page faults but the first.
static void ping_pong(int argc, char **argv) {
  size_t bytes = (size_t)number_at(argc, argv, 0, (long)(20 * MIB));
  struct rusage before, after;
  for (int i = 0; i < 300; i++) {
    if (i == 20) getrusage(RUSAGE_SELF, &before);
    char *block = malloc(bytes);
    CHECK(block != NULL);
    for (size_t at = 0; at < bytes; at += 4096) block[at] = 1;
    free(block);
  }
  getrusage(RUSAGE_SELF, &after);
  long faults = after.ru_minflt - before.ru_minflt, pages = (long)(bytes / 4096);
  printf("%ld faults in 280 rounds of %ld pages\n", faults, pages);
  CHECK(faults < 3 * pages, "%ld", faults);
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"handlers", handlers},     {"streams", streams},       {"in-handler", in_handler},
                                     {"crash", crash},           {"only-frees", only_frees}, {"ping-pong", ping_pong}};
  return run_command(commands, COUNT(commands), argc, argv);
}
