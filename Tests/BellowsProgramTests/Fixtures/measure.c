// Runs one command and writes what it cost: peak RSS in KiB, processor time and elapsed time in microseconds.
//
//   measure FIGURES SECONDS LIBRARY COMMAND [ARGUMENT...]
//
// LIBRARY is preloaded into the command, `-` preloads nothing. The kernel carries the peak RSS of a parent over
// into a child at exec, and a Swift test process is larger than most commands; this program is small, so the
// figures are the command's. It ends as the command ends: its status, 128 + signal, 124 after the time limit.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t expired;
static pid_t child;

static void on_alarm(int signal) {
  (void)signal;
  expired = 1;
  kill(-child, SIGKILL);
}

static long long microseconds(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: measure FIGURES SECONDS LIBRARY COMMAND [ARGUMENT...]\n");
    return 2;
  }
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  child = fork();
  if (child < 0) {
    perror("measure: fork");
    return 125;
  }
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    // Test runners ignore and block signals; Python's tests, for one, want them as a shell gives them.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    if (strcmp(argv[3], "-") != 0) setenv("LD_PRELOAD", argv[3], 1);
    execvp(argv[4], argv + 4);
    perror(argv[4]);
    _exit(127);
  }
  setpgid(child, child);  // in both, so that the group exists whoever runs first
  signal(SIGALRM, on_alarm);
  alarm((unsigned)atoi(argv[2]));

  int status;
  struct rusage usage;
  while (wait4(child, &status, 0, &usage) < 0)
    if (errno != EINTR) {
      perror("measure: wait4");
      return 125;
    }
  alarm(0);
  kill(-child, SIGKILL);  // what the command left behind
  clock_gettime(CLOCK_MONOTONIC, &end);

  FILE *figures = fopen(argv[1], "w");
  if (!figures) {
    perror(argv[1]);
    return 125;
  }
  fprintf(figures, "%ld %lld %lld\n", usage.ru_maxrss, microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
          (end.tv_sec - begin.tv_sec) * 1000000LL + (end.tv_nsec - begin.tv_nsec) / 1000);
  fclose(figures);
  if (expired) return 124;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
