// What the programs of the settings rows share: random numbers, blocks that know their contents, figures of the kernel.
// Nothing here allocates, so that it works when nothing is left.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static inline void die(const char *format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length] = '\n';
  if (write(STDERR_FILENO, line, length + 1) < 0) _exit(2);
  _exit(1);
}

static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

// The sum of all figures of one name in a small file of /proc: "Anonymous:" of smaps_rollup, "VmData:" of status.
static inline size_t kernel_figure(const char *path, const char *name) {
  static char text[16 * 1024];
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) die("cannot open %s", path);
  size_t length = 0;
  ssize_t part;
  while (length < sizeof text - 1 && (part = read(file, text + length, sizeof text - 1 - length)) > 0) length += part;
  close(file);
  text[length] = 0;
  const char *line = strstr(text, name);
  if (!line) die("no %s in %s", name, path);
  return strtoul(line + strlen(name), NULL, 10);
}

static inline size_t anonymous_kib(void) { return kernel_figure("/proc/self/smaps_rollup", "\nAnonymous:"); }

static inline size_t mapping_count(void) {
  char text[4096];
  size_t lines = 0;
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  ssize_t part;
  while ((part = read(file, text, sizeof text)) > 0)
    for (ssize_t i = 0; i < part; i++) lines += text[i] == '\n';
  close(file);
  return lines;
}

// A row says which library it preloads; without this check a preload that the linker ignored would pass every row.
static inline void require_preloaded(void) {
  const char *library = getenv("EXPECT_PRELOADED");
  if (!library) return;
  char text[64 * 1024];
  size_t length = 0;
  ssize_t part;
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  while (length < sizeof text - 1 && (part = read(file, text + length, sizeof text - 1 - length)) > 0) length += part;
  close(file);
  text[length] = 0;
  if (!strstr(text, library)) die("%s is not loaded", library);
}

// A block carries its size and a seed, and the words of the rest (of a large one: the first of each page, and the last) follow
// from the seed. Blocks form a list through their own memory: no other storage is needed.
struct block {
  struct block *next;
  size_t size;
  uint64_t seed;
};

static inline uint64_t block_word(const struct block *block, size_t at) { return block->seed + at * 0x9E3779B97F4A7C15u; }

static inline size_t block_step(size_t size) { return size <= 64 * KIB ? 8 : 4 * KIB; }

// Whole words that end eight bytes before the end, then the last eight bytes one by one.
static inline void block_fill(struct block *block, size_t size, uint64_t seed) {
  block->size = size;
  block->seed = seed;
  unsigned char *bytes = (unsigned char *)block;
  for (size_t at = sizeof *block; at + 16 <= size; at += block_step(size)) *(uint64_t *)(bytes + at) = block_word(block, at);
  for (size_t at = size < sizeof *block + 8 ? sizeof *block : size - 8; at < size; at++) bytes[at] = (unsigned char)(seed + at);
}

// The words of a block that has been cut to `size`, or not.
static inline void block_check_words(const struct block *block, size_t size) {
  const unsigned char *bytes = (const unsigned char *)block;
  for (size_t at = sizeof *block; at + 16 <= size; at += block_step(block->size))
    if (*(const uint64_t *)(bytes + at) != block_word(block, at))
      die("block %p of %zu bytes: the word at %zu has changed", (const void *)block, block->size, at);
}

static inline void block_check(const struct block *block) {
  size_t size = block->size;
  const unsigned char *bytes = (const unsigned char *)block;
  block_check_words(block, size);
  for (size_t at = size < sizeof *block + 8 ? sizeof *block : size - 8; at < size; at++)
    if (bytes[at] != (unsigned char)(block->seed + at))
      die("block %p of %zu bytes: the byte at %zu has changed", (const void *)block, size, at);
}
