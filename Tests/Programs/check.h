// What every test program shares: a check that says where it failed, random numbers, content
// patterns, and this process's own memory figures. Nothing here allocates, so that a program
// measures the allocator and not its own tools.
#ifndef CHECK_H
#define CHECK_H
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

__attribute__((noreturn, format(printf, 4, 5))) static inline void check_failed(
    const char *file, int line, const char *condition, const char *format, ...) {
  int saved = errno;
  char note[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(note, sizeof note, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "%s:%d: not true: %s;%s (errno %d)\n", file, line, condition, note, saved);
  _exit(1);
}

// `CHECK(condition)` or `CHECK(condition, "format", values...)`.
#define CHECK(condition, ...)                                                 \
  do {                                                                        \
    if (!(condition)) check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
  } while (0)

// Sub-commands: a program is a table of them; each ends by returning, and then "ok" is printed, so
// that an early exit with status 0 does not pass for success.
struct command {
  const char *name;
  void (*run)(int argc, char **argv);
};

static inline int run_command(const struct command *commands, size_t count, int argc, char **argv) {
  for (size_t i = 0; i < count && argc > 1; i++)
    if (strcmp(argv[1], commands[i].name) == 0) {
      commands[i].run(argc - 2, argv + 2);
      printf("ok\n");
      return 0;
    }
  dprintf(STDERR_FILENO, "usage: %s COMMAND; commands:", argv[0]);
  for (size_t i = 0; i < count; i++) dprintf(STDERR_FILENO, " %s", commands[i].name);
  dprintf(STDERR_FILENO, "\n");
  return 2;
}

static inline long number_at(int argc, char **argv, int index, long otherwise) {
  return index < argc ? strtol(argv[index], NULL, 0) : otherwise;
}

// `name=VALUE` or a bare `name` (which is 1) among the arguments, else `otherwise`.
static inline long option(int argc, char **argv, const char *name, long otherwise) {
  size_t length = strlen(name);
  for (int i = 0; i < argc; i++)
    if (strncmp(argv[i], name, length) == 0) {
      if (argv[i][length] == '=') return strtol(argv[i] + length + 1, NULL, 0);
      if (argv[i][length] == 0) return 1;
    }
  return otherwise;
}

// Prints `name value`, and fails where it is more than `most`. With REPORT_ONLY in the environment it only prints:
// that is how other allocators are measured.
static inline void bounded(const char *name, long value, long most) {
  printf("%s %ld\n", name, value);
  fflush(stdout);
  CHECK(value <= most || getenv("REPORT_ONLY") != NULL, "%s is %ld, at most %ld allowed", name, value, most);
}

// xorshift64*: the state is never 0.
static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545f4914f6cdd1dull;
}

// A size whose logarithm is uniform, 1 ... 2^bits - 1: as many tiny blocks as huge ones.
static inline size_t log_uniform(uint64_t *state, unsigned bits) {
  unsigned shift = (unsigned)(next_random(state) % bits);
  return ((size_t)1 << shift) + (size_t)(next_random(state) % ((size_t)1 << shift));
}

// Patterns. Small blocks are written whole; of larger ones the ends and a byte in every few
// KiB, because the point is which block a byte belongs to, not memory bandwidth. What `size` a
// pattern was written for decides which bytes have one; `kept` is how many of those to look at.
static inline void pattern_visit(void *block, size_t size, size_t kept, uint64_t seed, bool write) {
  unsigned char *bytes = (unsigned char *)block;
  size_t ends = size <= 2048 ? size : 128, stride = size > 32 * MIB ? MIB - 4096 : size > 4 * MIB ? 64 * KIB : 4093;
  for (size_t i = 0; i < kept;) {
    unsigned char expected = (unsigned char)((seed + 1 + i) * 0x9e3779b97f4a7c15ull >> 56);
    if (write)
      bytes[i] = expected;
    else
      CHECK(bytes[i] == expected, "block %p of %zu bytes, byte %zu is %#x, wanted %#x", block, size, i,
            bytes[i], expected);
    if (i + 1 < ends || i + 128 >= size)
      i += 1;
    else
      i = i + stride + 128 < size ? i + stride : size - 128;
  }
}
static inline void pattern_write(void *block, size_t size, uint64_t seed) {
  pattern_visit(block, size, size, seed, true);
}
static inline void pattern_check(const void *block, size_t size, uint64_t seed) {
  pattern_visit((void *)(uintptr_t)block, size, size, seed, false);
}
// After a change of size: what the old block had of its pattern must be there still.
static inline void pattern_check_kept(const void *block, size_t size, size_t kept, uint64_t seed) {
  pattern_visit((void *)(uintptr_t)block, size, kept < size ? kept : size, seed, false);
}

// Hides from the compiler where a value comes from: it may otherwise believe the promises in the
// headers (alignment, distinct blocks) and drop the very checks.
static inline void *laundered(void *pointer) {
  __asm__ volatile("" : "+r"(pointer)::"memory");
  return pointer;
}

// A figure of a /proc file in KiB: `figure("/proc/self/smaps_rollup", "Anonymous:")`.
static inline long figure(const char *path, const char *name) {
  char text[8192];
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(descriptor >= 0, "%s", path);
  size_t length = 0;
  ssize_t got;
  while (length < sizeof text - 1 && (got = read(descriptor, text + length, sizeof text - 1 - length)) > 0)
    length += (size_t)got;
  close(descriptor);
  text[length] = 0;
  const char *line = strstr(text, name);
  CHECK(line != NULL, "no %s in %s", name, path);
  return strtol(line + strlen(name), NULL, 10);
}
// Anonymous resident memory. smaps_rollup walks the page tables and is exact; the counters in
// /proc/self/status are kept per CPU and lag.
static inline long resident_kib(void) { return figure("/proc/self/smaps_rollup", "Anonymous:"); }
static inline long peak_kib(void) { return figure("/proc/self/status", "VmHWM:"); }
static inline long virtual_kib(void) { return figure("/proc/self/status", "VmSize:"); }

// Does nothing for so many milliseconds as an undisturbed machine would count them: on one that is busy, the naps
// are longer, and so is the time that the allocator's own thread needs.
static inline void rest(long milliseconds) {
  struct timespec nap = {0, 10000000};
  for (long passed = 0; passed < milliseconds; passed += 10) nanosleep(&nap, NULL);
}

// Memory of the test's own, outside the allocator under test.
static inline void *own_memory(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

static inline double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Whether more threads want to run than there are cores, on average over the last minute.
static inline int is_busy(void) {
  double load = 0;
  return getloadavg(&load, 1) == 1 && load > (double)sysconf(_SC_NPROCESSORS_ONLN);
}
#endif
