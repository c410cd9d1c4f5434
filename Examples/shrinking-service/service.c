// A service that shrinks on request: on SIGUSR1 it drops what it can do without and takes the sections that this leaves
// empty offline, on SIGUSR2 it brings them back. Requests are served meanwhile; SIGTERM ends it.
//
//   cc -O2 -D_GNU_SOURCE -pthread -I CShims/include -o service Examples/shrinking-service/service.c -ldl
//   LD_PRELOAD=libbellows-malloc.so ./service &  kill -USR1 $!
//   ./service rehearse        sends itself the signals, for a look
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bellows.h"

enum { SESSIONS = 4096, BUFFER = 64 << 10 };

// The buffers of idle sessions can be had again at any time: they are what the service can do without.
static char *buffers[SESSIONS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int ended;
static atomic_ulong requests, failures;

static void serve(unsigned session) {
  pthread_mutex_lock(&lock);
  if (buffers[session] == NULL) buffers[session] = malloc(BUFFER);
  if (buffers[session] != NULL) {
    memset(buffers[session], (int)session, BUFFER);
  } else {
    failures++;
  }
  requests++;
  pthread_mutex_unlock(&lock);
}

// One session in 64 is busy; the others were, once.
static void *worker(void *context) {
  (void)context;
  for (unsigned turn = 0; !ended; turn++) {
    serve(turn % (SESSIONS / 64) * 64);
    usleep(200);
  }
  return NULL;
}

static long resident_kib(void) {
  char text[4096] = "";
  int file = open("/proc/self/smaps_rollup", O_RDONLY);
  ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  text[got < 0 ? 0 : got] = 0;
  const char *line = strstr(text, "Anonymous:");
  return line == NULL ? 0 : strtol(line + 10, NULL, 10);
}

static void say(const char *what) {
  printf("%-10s %7ld KiB resident, %lu requests failed\n", what, resident_kib(), (unsigned long)failures);
  fflush(stdout);
}

static void shrink(void) {
  pthread_mutex_lock(&lock);
  for (unsigned session = 0; session < SESSIONS; session++) {
    if (session % 64 != 0) free(buffers[session]), buffers[session] = NULL;
  }
  pthread_mutex_unlock(&lock);
  malloc_trim(0);
  __typeof__(bellows_offline) *offline = (__typeof__(offline))dlsym(RTLD_DEFAULT, "bellows_offline");
  if (offline == NULL) return;
  // As much as there can be; whole pageblocks of what cannot go as a whole.
  struct bellows_offline_report report;
  int error = offline((size_t)1 << 30, 1000, BELLOWS_OFFLINE_PARTIAL, NULL, &report, sizeof report);
  printf("offline: %u sections and %u pageblocks, %zu KiB stay (%s)\n", report.sections, report.pageblocks,
         report.left / 1024, error == 0 ? "all" : strerror(error));
}

static void grow(void) {
  __typeof__(bellows_online) *online = (__typeof__(online))dlsym(RTLD_DEFAULT, "bellows_online");
  while (online != NULL && online((size_t)128 << 20) == 0) continue;
  for (unsigned session = 0; session < SESSIONS; session++) serve(session);
}

// As somebody outside would.
static void *rehearsal(void *context) {
  (void)context;
  static const int signals[] = {SIGUSR1, SIGUSR2, SIGTERM};
  for (int i = 0; i < 3; i++) sleep(1), kill(getpid(), signals[i]);
  return NULL;
}

int main(int argc, char **argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1), sigaddset(&signals, SIGUSR2), sigaddset(&signals, SIGTERM);
  // Before the first thread: none of them is interrupted, and a signal is work like any other.
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  for (unsigned session = 0; session < SESSIONS; session++) serve(session);
  pthread_t server, outside;
  if (pthread_create(&server, NULL, worker, NULL) != 0) return 1;
  if (argc > 1 && strcmp(argv[1], "rehearse") == 0) pthread_create(&outside, NULL, rehearsal, NULL);
  say("full");
  for (;;) {
    int number = 0;
    if (sigwait(&signals, &number) != 0 || number == SIGTERM) break;
    if (number == SIGUSR1) shrink(), say("shrunk");
    if (number == SIGUSR2) grow(), say("grown");
  }
  ended = 1;
  pthread_join(server, NULL);
  printf("%lu requests\n", (unsigned long)requests);
  puts(failures == 0 ? "ok" : "FAILED");
  return failures != 0;
}
