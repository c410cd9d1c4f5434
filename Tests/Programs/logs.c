// BELLOWS_LOG never blocks, ends or misleads the program, wherever it goes. The program starts itself again with the log
// that it is about.
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

// Each round is a line of some 60 bytes.
static void make_events(int rounds) {
  for (int i = 0; i < rounds; i++) {
    char *block = laundered(malloc(300000));
    memset(block, 1, 300000);
    free(block);
    malloc_trim(0);
  }
}

static pid_t run_child(const char *log, const char *mode, const char *argument) {
  pid_t child = fork();
  if (child != 0) return child;
  setenv("BELLOWS_LOG", log, 1);
  execl("/proc/self/exe", "logs", mode, argument, NULL);
  _exit(99);
}
static void expect_end(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}
static char text[1 << 20];
static const char *contents(const char *path) {
  int file = open(path, O_RDONLY);
  CHECK(file >= 0, "%s", path);
  ssize_t length = read(file, text, sizeof text - 1);
  CHECK(length >= 0);
  close(file);
  text[length] = 0;
  return text;
}
static const char *number(int file) {
  static char digits[16];
  snprintf(digits, sizeof digits, "%d", file);
  return digits;
}

// ---- What is started again ----------------------------------------------------------------------------------

static void events(int argc, char **argv) { make_events((int)number_at(argc, argv, 0, 2000)); }

static void events_then_more(int argc, char **argv) {
  (void)argc, (void)argv;
  make_events(2500);
  usleep(1500000);
  make_events(3);
}

static void with_blocking_log(int argc, char **argv) {
  make_events(20);
  int flags = fcntl((int)number_at(argc, argv, 0, -1), F_GETFL);
  CHECK(flags >= 0 && (flags & O_NONBLOCK) == 0);
}

static void under_a_limit(int argc, char **argv) {
  (void)argc, (void)argv;
  struct rlimit limit = {2048, 2048};
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  make_events(500);
}

// The number is another file's by now.
static void with_another_file(int argc, char **argv) {
  int given = (int)number_at(argc, argv, 0, -1), file = open("other", O_CREAT | O_TRUNC | O_RDWR, 0600);
  CHECK(file >= 0 && dup2(file, given) == given);
  make_events(50);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    make_events(50);
    usleep(100000);
    _exit(0);
  }
  expect_end(child);
  usleep(100000);
  struct stat status;
  CHECK(fstat(given, &status) == 0 && status.st_size == 0, "%ld bytes", (long)status.st_size);
}

static void forks(int argc, char **argv) {
  (void)argc, (void)argv;
  make_events(3);
  pid_t child = fork();
  if (child == 0) {
    make_events(5);
    usleep(100000);
    make_events(5);
    usleep(100000);
    _exit(0);
  }
  expect_end(child);
  usleep(100000);
  char line[64];
  snprintf(line, sizeof line, "bellows[%d]: purge", (int)child);
  CHECK(strstr(contents("log"), line) != NULL, "%s", text);
}

static void opens(int argc, char **argv) {
  (void)argc, (void)argv;
  make_events(20);
  for (int file = 3; file < 256; file++) CHECK(fcntl(file, F_GETFD) == -1, "%d is open", file);
}

static void changes_root(int argc, char **argv) {
  (void)argc, (void)argv;
  make_events(1);
  CHECK(chroot("/proc/self/fdinfo") == 0 && chdir("/") == 0);
  make_events(5);
  usleep(300000);
  make_events(5);
}

// ---- What starts it -----------------------------------------------------------------------------------------

// In a folder of its own.
static void enter_folder(void) {
  char folder[] = "/tmp/bellows-logs-XXXXXX";
  CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
}

static void file_log(int argc, char **argv) {
  (void)argc, (void)argv;
  enter_folder();
  for (int file = 3; file < 256; file++) close(file);
  expect_end(run_child("log", "events", "20"));
  CHECK(strncmp(contents("log"), "bellows[", 8) == 0, "%s", text);
  CHECK(strstr(text, "]: purge returned=") != NULL, "%s", text);
  expect_end(run_child("log", "opens", NULL));
  expect_end(run_child("log", "forks", NULL));
}

static void fifo_log(int argc, char **argv) {
  (void)argc, (void)argv;
  enter_folder();
  CHECK(mkfifo("log", 0600) == 0);
  expect_end(run_child("log", "events", NULL));
  // A reader that does not read.
  int reader = open("log", O_RDONLY | O_NONBLOCK);
  CHECK(reader >= 0);
  expect_end(run_child("log", "events", NULL));
  CHECK(read(reader, text, sizeof text) > 1000);
  CHECK(strncmp(text, "bellows[", 8) == 0);
}

static void pipe_log(int argc, char **argv) {
  (void)argc, (void)argv;
  int ends[2];
  CHECK(pipe(ends) == 0);
  pid_t child = run_child(number(ends[1]), "blocking", number(ends[1]));
  expect_end(child);
  // Full: what is lost is said when there is room again.
  child = run_child(number(ends[1]), "more", NULL);
  close(ends[1]);
  usleep(1000000);
  size_t length = 0;
  for (ssize_t got; (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;) length += (size_t)got;
  text[length] = 0;
  expect_end(child);
  CHECK(strstr(text, "]: log lost=") != NULL, "%zu bytes", length);
  // Nobody reads any more.
  CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
  expect_end(run_child(number(ends[1]), "events", NULL));
}

static void limited_log(int argc, char **argv) {
  (void)argc, (void)argv;
  enter_folder();
  expect_end(run_child("log", "limited", NULL));
}

static void reused_log(int argc, char **argv) {
  (void)argc, (void)argv;
  enter_folder();
  int file = open("log", O_CREAT | O_RDWR, 0600);
  CHECK(file >= 0);
  expect_end(run_child(number(file), "reused", number(file)));
}

static void linked_log(int argc, char **argv) {
  (void)argc, (void)argv;
  enter_folder();
  int file = open("victim", O_CREAT | O_RDWR, 0600);
  CHECK(file >= 0 && symlink("victim", "log") == 0);
  expect_end(run_child("log", "events", "20"));
  struct stat status;
  CHECK(fstat(file, &status) == 0 && status.st_size == 0);
}

static void rooted_log(int argc, char **argv) {
  (void)argc, (void)argv;
  if (geteuid() != 0) return;
  enter_folder();
  expect_end(run_child("log", "root", NULL));
  size_t lines = 0;
  for (const char *at = contents("log"); (at = strchr(at, '\n')) != NULL; at++) lines++;
  CHECK(lines >= 6, "%zu lines", lines);
}

int main(int argc, char **argv) {
  const struct command commands[] = {
      {"events", events},     {"more", events_then_more}, {"blocking", with_blocking_log}, {"limited", under_a_limit},
      {"reused", with_another_file}, {"forks", forks},    {"opens", opens},                {"root", changes_root},
      {"file", file_log},     {"fifo", fifo_log},         {"pipe", pipe_log},              {"size", limited_log},
      {"number", reused_log}, {"link", linked_log},       {"chroot", rooted_log}};
  return run_command(commands, COUNT(commands), argc, argv);
}
