// launch WARM_MIB PRELOAD|- SECONDS PROGRAM [ARGUMENT...]: runs one program and writes what it cost to file
// descriptor 3, as `status wall_ns user_us system_us peak_kib minor_faults others_ms`; the last is the time
// that other processes, and the host, took from the cores meanwhile.
// It is a small C program because a child's peak RSS counts what it had between fork and exec: started from
// a large interpreter, every program would seem to use what the interpreter does.
// Before the run another child touches and drops WARM_MIB, so that the host has the memory at hand.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void warm(size_t bytes) {
  pid_t child = fork();
  if (child == 0) {
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED)
      for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
    _exit(0);
  }
  if (child > 0) waitpid(child, NULL, 0);
}

/// What all cores have worked since the start of the machine, in ticks of 10 ms.
static uint64_t busy_ticks(void) {
  unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
  FILE *file = fopen("/proc/stat", "r");
  if (file == NULL) return 0;
  int fields = fscanf(
      file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
  fclose(file);
  return fields == 8 ? user + nice + system + irq + softirq + steal : 0;
}

static int64_t microseconds(struct timeval t) { return (int64_t)t.tv_sec * 1000000 + t.tv_usec; }

static pid_t running;
static void stop(int signal) {
  (void)signal;
  kill(running, SIGKILL);
}

int main(int argc, char **argv) {
  size_t mib = argument(argc, argv, 1);
  unsigned seconds = (unsigned)argument(argc, argv, 3);
  argument(argc, argv, 4);
  if (mib > 0) warm(mib << 20);

  uint64_t busy = busy_ticks();
  uint64_t start = now_ns();
  running = fork();
  if (running < 0) return 1;
  if (running == 0) {
    if (strcmp(argv[2], "-") != 0) setenv("LD_PRELOAD", argv[2], 1);
    close(3);
    execvp(argv[4], argv + 4);
    _exit(127);
  }
  signal(SIGALRM, stop);
  alarm(seconds);
  int status;
  struct rusage usage;
  while (wait4(running, &status, 0, &usage) < 0) {
  }
  uint64_t wall = now_ns() - start;
  int64_t user = microseconds(usage.ru_utime), system = microseconds(usage.ru_stime);
  int64_t others = (int64_t)(busy_ticks() - busy) * 10 - (user + system) / 1000;
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  dprintf(
      3, "%d %llu %lld %lld %ld %ld %lld\n", code, (unsigned long long)wall, (long long)user, (long long)system,
      usage.ru_maxrss, usage.ru_minflt, (long long)others);
  return 0;
}
