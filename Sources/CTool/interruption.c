#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "bellows_tool.h"

enum { SIGNALS = 3 };
static const int signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static struct sigaction before[SIGNALS];
static bool is_watched[SIGNALS];
static volatile sig_atomic_t noted;

static void note(int number) { noted = number; }

void bellows_interruption_watch(void) {
  noted = 0;
  for (int i = 0; i < SIGNALS; i++) {
    // No SA_RESTART: a wait ends at once.
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    is_watched[i] = sigaction(signals[i], NULL, &before[i]) == 0 && before[i].sa_handler != SIG_IGN &&
                    sigaction(signals[i], &action, NULL) == 0;
  }
}

int bellows_interruption(void) { return noted; }

void bellows_interruption_end(void) {
  for (int i = 0; i < SIGNALS; i++)
    if (is_watched[i]) sigaction(signals[i], &before[i], NULL);
}

void bellows_interruption_follow(int number) {
  signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
  raise(number);
  _exit(128 + number);
}
