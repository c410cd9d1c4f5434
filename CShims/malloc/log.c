// The log's way out: lines wait in a ring until the helper writes them, from its own table of descriptors.
//
// The program's threads do no more than to copy a line. The helper never waits for a reader: a pipe, a FIFO or a terminal is
// opened anew without blocking, so that the program's own description of it stays as it is. It has all signals blocked, so
// that SIGPIPE and SIGXFSZ stay with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "bellows_calls.h"
#include "bellows_process.h"

enum { SLOTS = 64, ROOM = 512 };
// A slot's turn: `number` of a line that may be put there, and one more when it is there to be written.
static struct slot {
  uint32_t turn, length;
  char text[ROOM];
} slots[SLOTS];
static uint32_t put, written, lost;

static uint32_t turn_of(uint32_t number) { return number - number % SLOTS; }

void bellows_log_lose(uint32_t lines) { __atomic_fetch_add(&lost, lines, __ATOMIC_RELAXED); }

void bellows_log_put(uintptr_t text, uintptr_t length) {
  uint32_t number = __atomic_load_n(&put, __ATOMIC_RELAXED);
  for (;;) {
    struct slot *slot = &slots[number % SLOTS];
    if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != turn_of(number)) {
      uint32_t now = __atomic_load_n(&put, __ATOMIC_RELAXED);
      if (now == number) break;
      number = now;
    } else if (__atomic_compare_exchange_n(&put, &number, number + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
      slot->length = (uint32_t)(length < ROOM ? length : ROOM);
      memcpy(slot->text, (const void *)text, slot->length);
      __atomic_store_n(&slot->turn, turn_of(number) + 1, __ATOMIC_RELEASE);
      return;
    }
  }
  bellows_log_lose(1);
}

uint32_t bellows_log_waiting(void) {
  return __atomic_load_n(&put, __ATOMIC_RELAXED) - __atomic_load_n(&written, __ATOMIC_RELAXED);
}

uint32_t bellows_log_lost(void) { return __atomic_exchange_n(&lost, 0, __ATOMIC_RELAXED); }

void bellows_log_write_waiting(void) {
  for (uint32_t number = written;; number++) {
    struct slot *slot = &slots[number % SLOTS];
    if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != turn_of(number) + 1) return;
    if (!bellows_log_write((uintptr_t)slot->text, slot->length)) bellows_log_lose(1);
    __atomic_store_n(&slot->turn, turn_of(number) + SLOTS, __ATOMIC_RELEASE);
    __atomic_store_n(&written, number + 1, __ATOMIC_RELAXED);
  }
}

void bellows_log_forget(void) {
  for (uint32_t i = 0; i < SLOTS && put != 0; i++) slots[i].turn = 0;
  put = written = lost = 0;
}

// ---- Where they go ------------------------------------------------------------------------------------------

// How a line is written without waiting.
enum manner { NOWHERE, AT_ONCE, IF_READY, AS_MESSAGE };
static int file = -1;
static enum manner manner;
// What the file was at the start: a name or a number may stand for another one later.
static struct {
  bool is_known;
  dev_t device;
  ino_t number;
} identity;

static bool status_of(intptr_t descriptor, struct stat *status) {
  return descriptor >= 0 && bellows_call(SYS_fstat, descriptor, status) == 0;
}

static bool is_the_same(const struct stat *status) {
  return !identity.is_known || (identity.device == status->st_dev && identity.number == status->st_ino);
}

static void use(intptr_t descriptor, enum manner how) {
  struct stat status;
  if (!status_of(descriptor, &status) || !is_the_same(&status) || S_ISDIR(status.st_mode)) {
    if (descriptor >= 0) bellows_close((int)descriptor);
    return;
  }
  identity.is_known = true, identity.device = status.st_dev, identity.number = status.st_ino;
  file = (int)descriptor, manner = how;
}

enum { WRITING = O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY };

// A link is followed where the kernel made it (/dev/stderr): others may be somebody's who wants a privileged program to
// write elsewhere.
static void open_path(const char *path) {
  int flags = WRITING | (identity.is_known ? 0 : O_CREAT);
  static const char *const of_kernel[] = {"/dev/stderr", "/dev/stdout", "/dev/fd/", "/proc/self/fd/"};
  bool is_of_kernel = false;
  for (size_t i = 0; i < sizeof of_kernel / sizeof *of_kernel; i++)
    is_of_kernel |= strncmp(path, of_kernel[i], strlen(of_kernel[i])) == 0 && strstr(path, "..") == NULL;
  if (!is_of_kernel) flags |= O_NOFOLLOW;
  intptr_t opened = bellows_open(path, flags, 0644);
  // A FIFO that nobody reads yet: to read it, too, is the one way to have it open.
  if (opened == -ENXIO) opened = bellows_open(path, (flags & ~(O_WRONLY | O_CREAT)) | O_RDWR, 0);
  use(opened, AT_ONCE);
}

static void descriptor_path(char *path, int descriptor) {
  char digits[12];
  size_t at = strlen(strcpy(path, "/proc/self/fd/")), count = 0;
  do digits[count++] = (char)('0' + descriptor % 10);
  while ((descriptor /= 10) != 0);
  while (count > 0) path[at++] = digits[--count];
  path[at] = 0;
}

// /proc/self is the main thread, and with it the program's table of descriptors.
static void take_descriptor(int descriptor) {
  char path[32];
  descriptor_path(path, descriptor);
  struct stat status;
  if (identity.is_known || !status_of(descriptor, &status)) {
    if (identity.is_known) use(bellows_open(path, WRITING, 0), AT_ONCE);
    return;
  }
  // A file's place in it is shared with the program, and to write there takes no waiting.
  if (S_ISREG(status.st_mode)) return use(descriptor, AT_ONCE);
  if (S_ISSOCK(status.st_mode)) return use(descriptor, AS_MESSAGE);
  use(bellows_open(path, WRITING, 0), AT_ONCE);
  if (file < 0) use(descriptor, IF_READY);
}

void bellows_log_leave(void) { file = -1, manner = NOWHERE; }

static bool was_opened;
bool bellows_log_was_opened(void) { return was_opened; }
bool bellows_log_is_open(void) { return __atomic_load_n(&file, __ATOMIC_RELAXED) >= 0; }

void bellows_log_open(uintptr_t path, int descriptor) {
  bellows_log_leave();
  // What was not there at the start may be anything now.
  if (was_opened && !identity.is_known) return;
  was_opened = true;
  if (path != 0)
    open_path((const char *)path);
  else
    take_descriptor(descriptor);
}

// Where it takes a call that malloc does not need, that is looked for each time.
static bool may_call(void) {
  uint32_t seen = bellows_sight_look();
  return seen == BELLOWS_CLEAR || seen == BELLOWS_DIFFERS;
}

static bool is_ready(void) {
  struct pollfd wanted = {.fd = file, .events = POLLOUT};
  struct timespec none = {0, 0};
  return bellows_call(SYS_ppoll, &wanted, 1, &none, 0, 8) == 1 && wanted.revents == POLLOUT;
}

bool bellows_log_write(uintptr_t text, uintptr_t length) {
  intptr_t done = -EBADF;
  if (manner == AS_MESSAGE && may_call())
    done = bellows_call(SYS_sendto, file, text, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
  else if (manner == AT_ONCE || (manner == IF_READY && may_call() && is_ready()))
    done = bellows_call(SYS_write, file, text, length);
  return done == (intptr_t)length;
}

bool bellows_absolute_path(uintptr_t path, uintptr_t length, uintptr_t target) {
  enum { LIMIT = 512 };
  char *text = (char *)target;
  size_t at = 0;
  if (length == 0) return false;
  if (*(const char *)path != '/') {
    intptr_t got = bellows_call(SYS_getcwd, text, LIMIT);
    if (got <= 0 || text[0] != '/') return false;
    at = (size_t)got - 1;
    if (at + 1 < LIMIT) text[at++] = '/';
  }
  if (at + length >= LIMIT) return false;
  memcpy(text + at, (const void *)path, length);
  text[at + length] = 0;
  return true;
}
