// The terminal for a full-screen display; see bellows_terminal.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bellows_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static volatile sig_atomic_t is_taken;
static sigset_t held, mask_before;
static int signals = -1;

static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};

static void say(const char *text) {
  size_t length = strlen(text);
  while (length > 0) {
    ssize_t written = write(STDOUT_FILENO, text, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text += written;
    length -= (size_t)written;
  }
}

// Nothing here but calls that a signal handler may make.
void bellows_terminal_leave(void) {
  if (!is_taken) return;
  is_taken = 0;
  // Attributes off, cursor on, the screen that was.
  say("\033[0m\033[?25h\033[?1049l");
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
}

static void fault(int number) {
  bellows_terminal_leave();
  // The handler is off (SA_RESETHAND): returning runs into the same again, or abort goes on.
  raise(number);
}

static void take(void) {
  struct termios raw = before;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
  is_taken = 1;
  say("\033[?1049h\033[?25l\033[2J");
}

bool bellows_terminal_enter(void) {
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0) return false;
  sigemptyset(&held);
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, SIGPIPE};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) sigaddset(&held, ends[i]);
  sigprocmask(SIG_BLOCK, &held, &mask_before);
  signals = signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK);
  struct sigaction action = {.sa_handler = fault, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigaction(faults[i], &action, NULL);
  atexit(bellows_terminal_leave);
  take();
  return true;
}

int bellows_terminal_wait(int milliseconds) {
  struct pollfd files[] = {{STDIN_FILENO, POLLIN, 0}, {signals, POLLIN, 0}};
  int ready = poll(files, signals < 0 ? 1 : 2, milliseconds);
  if (ready <= 0) return -1;
  if (files[1].revents & POLLIN) {
    struct signalfd_siginfo signal;
    if (read(signals, &signal, sizeof signal) == sizeof signal) return -2 - (int)signal.ssi_signo;
  }
  if (files[0].revents != 0) {
    unsigned char key;
    // The terminal is gone: as if it had hung up.
    return read(STDIN_FILENO, &key, 1) == 1 ? key : -2 - SIGHUP;
  }
  return -1;
}

void bellows_terminal_size(int *columns, int *rows) {
  struct winsize size;
  bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
  *columns = known ? size.ws_col : 80;
  *rows = known ? size.ws_row : 24;
}

void bellows_terminal_suspend(void) {
  bellows_terminal_leave();
  kill(0, SIGSTOP);
  tcgetattr(STDIN_FILENO, &before);
  take();
}
