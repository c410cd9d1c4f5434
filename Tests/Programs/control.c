// A program that takes commands, and clients of its page that are none of the tool's (bellows_control.h).
//
//   control scribble SEED   anybody writes anything into the page at any time: afterwards it takes requests as before
//   control lock            what is asked without the lock is not done, and goes when its client goes
//   control caged           a section that a client took and left is back
#include <dirent.h>
#include <dlfcn.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bellows_control.h"
#include "check.h"

static struct bellows_control *page;
static int file = -1;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void wake(void) { syscall(SYS_futex, &page->state, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }

static uint32_t state(void) { return __atomic_load_n(&page->state, __ATOMIC_ACQUIRE); }

// Threads of control come when the heap has 4 MiB.
static void grow(void) {
  static void *held;
  if (held == NULL) held = malloc(6 << 20);
  CHECK(held != NULL);
  free(malloc(100000));
}

// Opens the page of process `process`, or of one that has just started when it has one.
static void open_page(pid_t process) {
  if (process == getpid()) grow();
  for (uint64_t end = now() + 20000; file < 0 && now() < end; usleep(1000)) {
    char path[600];
    snprintf(path, sizeof path, "/proc/%d/task", process);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks != NULL && file < 0 && (task = readdir(tasks)) != NULL;) {
      for (int number = 0; number < 32 && file < 0; number++) {
        char target[64] = "";
        snprintf(path, sizeof path, "/proc/%d/task/%s/fd/%d", process, task->d_name, number);
        if (readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "/memfd:bellows-control", 22) == 0)
          file = open(path, O_RDWR | O_CLOEXEC);
      }
    }
    if (tasks != NULL) closedir(tasks);
  }
  CHECK(file >= 0);
  page = mmap(NULL, BELLOWS_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(page != MAP_FAILED);
  while (page->magic != BELLOWS_CONTROL_MAGIC) usleep(1000);
}

static void set_lock(short kind) {
  struct flock all = {.l_type = kind, .l_whence = SEEK_SET};
  while (fcntl(file, F_SETLK, &all) != 0) usleep(1000);
}

// Writes a request and returns what its state is until it is taken.
static uint32_t request(uint32_t command, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth) {
  uint32_t word = ((state() >> 2) + 1) << 2 | BELLOWS_REQUESTED;
  page->command = command;
  page->deadline = now() + 60000;
  page->cancelled = 0;
  page->arguments[0] = first;
  page->arguments[1] = second;
  page->arguments[2] = third;
  page->arguments[3] = fourth;
  __atomic_store_n(&page->state, word, __ATOMIC_RELEASE);
  wake();
  return word;
}

// Waits until the phase is one of the bits of `phases`; answers whether it came to that in time.
static int comes_to(unsigned phases, unsigned milliseconds) {
  for (uint64_t end = now() + milliseconds; now() < end; usleep(500))
    if (phases >> (state() & 3) & 1) return 1;
  return 0;
}

enum { UNTIL_IDLE = 1 << BELLOWS_IDLE, UNTIL_TAKEN = 1 << BELLOWS_TAKEN, UNTIL_DONE = 1 << BELLOWS_DONE };

// As the tool: under the lock, whatever stands there.
static void trim(void) {
  set_lock(F_WRLCK);
  page->cancelled = 1;
  wake();
  CHECK(comes_to(UNTIL_IDLE | UNTIL_DONE | 1 << BELLOWS_REQUESTED, 10000));
  request(BELLOWS_ASK_TRIM, 0, 0, 0, 0);
  CHECK(comes_to(UNTIL_DONE, 10000));
  CHECK(page->magic == BELLOWS_CONTROL_MAGIC && page->layout == BELLOWS_CONTROL_LAYOUT);
  CHECK(page->error == 0);
  __atomic_store_n(&page->state, state() & ~3u, __ATOMIC_RELEASE);
  set_lock(F_UNLCK);
}

static uint64_t seed;
static uint64_t random_word(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return seed >> 20 ^ seed >> 41;
}

static void scribble_bytes(size_t first, size_t end) {
  for (size_t i = first; i < end; i++) ((volatile unsigned char *)page)[i] = (unsigned char)random_word();
}

static void scribble(int count, char **words) {
  CHECK(count == 1);
  seed = strtoull(words[0], NULL, 10);
  open_page(getpid());
  for (int round = 0; round < 400; round++) {
    switch (round % 6) {
      case 0: scribble_bytes(0, BELLOWS_CONTROL_BYTES); break;
      case 1: scribble_bytes(0, 64); break;
      case 2: memset(page, random_word() & 1 ? 0 : 0xff, BELLOWS_CONTROL_BYTES); break;
      // Each phase for ever, with and without a knock, and with whatever stands in the rest.
      case 3: __atomic_store_n(&page->state, (uint32_t)random_word(), __ATOMIC_RELEASE); break;
      case 4: __atomic_store_n(&page->state, (uint32_t)random_word() << 2 | BELLOWS_TAKEN, __ATOMIC_RELEASE); break;
      default:
        for (int i = 0; i < 20; i++) {
          size_t first = random_word() % (BELLOWS_CONTROL_BYTES - 64);
          scribble_bytes(first, first + random_word() % 64);
          if (random_word() % 3 == 0) wake();
        }
    }
    if (random_word() % 2) wake();
    if (round % 3 == 0) trim();
  }
  // While a request is under way, too. What becomes of that one is open, what comes after it is not.
  for (int round = 0; round < 20; round++) {
    set_lock(F_WRLCK);
    request(BELLOWS_ASK_OFFLINE, 1, 0, BELLOWS_OFFLINE_WHOLE, 30000);
    if (round % 2) comes_to(UNTIL_TAKEN, 100);
    for (int i = 0; i < 10; i++) scribble_bytes(random_word() % 256, 256);
    set_lock(F_UNLCK);
    trim();
  }
}

static void lock(int count, char **words) {
  (void)count;
  (void)words;
  open_page(getpid());
  // Dropped, by a process that is there to take it.
  uint32_t word = request(BELLOWS_ASK_LIMIT, 64 << 20, 0, 0, 0);
  CHECK(comes_to(UNTIL_IDLE, 10000));
  CHECK(state() == (word & ~3u));
  trim();
  set_lock(F_WRLCK);
  request(BELLOWS_ASK_LIMIT, ~0ull, ~0ull, 0, 0);
  CHECK(comes_to(UNTIL_DONE, 10000));
  CHECK(page->results[0] == 0);
  set_lock(F_UNLCK);
}

// A client takes a section for ten minutes and ends, whatever was to become of the section: it is back.
static void caged(int count, char **words) {
  (void)count;
  (void)words;
  // Something that cannot go.
  char *inside = malloc(100000);
  CHECK(inside != NULL);
  memset(inside, 1, 100000);
  open_page(getpid());
  __typeof__(bellows_is_caged) *is_caged = (__typeof__(is_caged))dlsym(RTLD_DEFAULT, "bellows_is_caged");
  CHECK(is_caged != NULL);
  for (int way = 0; way < 6; way++) {
    pid_t process = getpid();
    pid_t client = fork();
    CHECK(client >= 0);
    if (client == 0) {
      // Of a file of its own, so that the lock is its own.
      file = -1;
      open_page(process);
      set_lock(F_WRLCK);
      static const unsigned flags[] = {BELLOWS_OFFLINE_WHOLE, BELLOWS_OFFLINE_PARTIAL, 0};
      request(BELLOWS_ASK_OFFLINE, 0, (uintptr_t)inside, flags[way % 3], 600000);
      comes_to(UNTIL_TAKEN | UNTIL_DONE, 10000);
      for (;;) pause();
    }
    uint64_t end = now() + 20000;
    while (!is_caged(inside) && now() < end) usleep(500);
    CHECK(is_caged(inside));
    CHECK(kill(client, way < 3 ? SIGKILL : SIGTERM) == 0);
    CHECK(waitpid(client, NULL, 0) == client);
    uint64_t gone = now();
    while (is_caged(inside) && now() < gone + 20000) usleep(500);
    CHECK(!is_caged(inside));
    // Ten minutes were what it asked for.
    CHECK(now() < gone + 10000);
    trim();
  }
  CHECK(inside[99999] == 1);
}

static const struct command commands[] = {{"scribble", scribble}, {"lock", lock}, {"caged", caged}};

int main(int argc, char **argv) { return run_command(commands, COUNT(commands), argc, argv); }
