// Balloons, huge pages, sub-blocks and devices of bellows.h on the malloc heap of this process. Arguments: what to try.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bellows.h"
#include "check.h"

#pragma weak bellows_balloon_create
#pragma weak bellows_balloon_destroy
#pragma weak bellows_balloon_add_section
#pragma weak bellows_balloon_deflate
#pragma weak bellows_balloon_inflate
#pragma weak bellows_balloon_set_target
#pragma weak bellows_balloon_advance
#pragma weak bellows_balloon_figures
#pragma weak bellows_huge_page_take
#pragma weak bellows_huge_page_give
#pragma weak bellows_sub_block_size
#pragma weak bellows_sub_block_unplug
#pragma weak bellows_sub_block_plug
#pragma weak bellows_sub_block_add_section
#pragma weak bellows_device_add
#pragma weak bellows_device_units
#pragma weak bellows_device_acquire
#pragma weak bellows_device_retain
#pragma weak bellows_device_release
#pragma weak bellows_device_remove
#pragma weak bellows_statistics

enum { USABLE = 126 << 20 };

static struct bellows_balloon_figures figures(struct bellows_balloon *balloon) {
  struct bellows_balloon_figures now;
  bellows_balloon_figures(balloon, &now, sizeof now);
  return now;
}

static size_t resident(char *start, size_t bytes) {
  static unsigned char pages[32768];
  size_t count = 0;
  CHECK(mincore(start, bytes, pages) == 0);
  for (size_t page = 0; page < bytes / 4096; page++) count += pages[page] & 1;
  return count * 4096;
}

static void balloon(void) {
  struct bellows_balloon_options options = {.ignore_shortage = 1};
  struct bellows_balloon *one, *two;
  CHECK(bellows_balloon_create(NULL, &options, sizeof options, &one) == 0);
  CHECK(bellows_balloon_create(NULL, NULL, 0, &two) == 0);
  size_t managed = figures(one).managed;
  CHECK(bellows_balloon_add_section(one) == 0);
  CHECK(figures(one).held == USABLE && figures(two).held == 0 && figures(one).managed == managed);
  size_t done = 1;
  CHECK(bellows_balloon_deflate(two, 4096, &done) == ENOSPC && done == 0);
  CHECK(bellows_balloon_deflate(one, 10 * MIB, &done) == 0 && done == 10 * MIB);
  CHECK(figures(one).managed == managed + 10 * MIB);
  CHECK(bellows_balloon_inflate(two, 3 * MIB, &done) == 0 && done == 3 * MIB);
  CHECK(figures(two).held == 3 * MIB);
  bellows_balloon_set_target(two, managed + 8 * MIB);
  CHECK(bellows_balloon_advance(two, &done) == 0 && done == MIB);
  CHECK(figures(two).managed == managed + 8 * MIB && figures(two).held == 2 * MIB);
  // malloc goes on, and what it gives is nobody else's.
  char *block = malloc(5 * MIB);
  memset(block, 7, 5 * MIB);
  free(block);
  bellows_balloon_destroy(one);
  bellows_balloon_destroy(two);
  CHECK(bellows_balloon_create(NULL, NULL, 0, &two) == 0 && figures(two).held == 0 && figures(two).deflated == 0);
}

static void pool(void) {
  struct bellows_balloon_options options = {.pageblocks = 1};
  struct bellows_balloon *pool, *pages;
  CHECK(bellows_balloon_create(NULL, &options, sizeof options, &pool) == 0);
  CHECK(bellows_balloon_create(NULL, NULL, 0, &pages) == 0);
  void *page, *other;
  CHECK(bellows_huge_page_take(pages, 0, &page) == EINVAL);
  CHECK(bellows_huge_page_take(pool, 0, &page) == ENOSPC);
  CHECK(bellows_balloon_add_section(pool) == 0);
  CHECK(bellows_huge_page_take(pool, 0, &page) == 0 && bellows_huge_page_take(pool, 0, &other) == 0);
  CHECK((uintptr_t)page % (2 * MIB) == 0 && page != other && resident(page, 2 * MIB) == 2 * MIB);
  memset(page, 1, 2 * MIB);
  CHECK(bellows_huge_page_give(pool, 0, (char *)page + 4096) == EINVAL);
  CHECK(bellows_huge_page_give(pool, 0, page) == 0 && bellows_huge_page_give(pool, 0, page) == EINVAL);
  CHECK(resident(page, 2 * MIB) == 0);
}

static void sub_blocks(void) {
  size_t size = bellows_sub_block_size(NULL), count;
  void *first;
  CHECK(size == 2 * MIB);
  CHECK(bellows_sub_block_add_section(NULL, &first, &count) == 0 && count == 63);
  char *third = (char *)first + 2 * size;
  CHECK(bellows_sub_block_unplug(NULL, third) == EEXIST);
  CHECK(bellows_sub_block_plug(NULL, third) == 0 && bellows_sub_block_plug(NULL, third) == EEXIST);
  CHECK(bellows_sub_block_unplug(NULL, third) == 0);
  CHECK(bellows_sub_block_unplug(NULL, third + 4096) == EINVAL && bellows_sub_block_unplug(NULL, &size) != 0);
  pid_t child = fork();
  if (child == 0) {
    third[5] = 1;
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void count_freed(void *context, void *unit, size_t bytes) {
  CHECK(unit && bytes == 4096);
  ++*(int *)context;
}

static void device(void) {
  int file = memfd_create("device", 0), freed = 0;
  CHECK(file >= 0 && ftruncate(file, 3 * MIB) == 0);
  struct bellows_device_request request = {.bytes = 3 * MIB, .file = file, .freed = count_freed, .context = &freed};
  struct bellows_device *device;
  request.bytes = 4 * MIB;
  CHECK(bellows_device_add(NULL, &request, sizeof request, &device) == EINVAL);
  request.bytes = 3 * MIB;
  CHECK(bellows_device_add(NULL, &request, sizeof request, &device) == 0);
  size_t count;
  char *unit = (char *)bellows_device_units(device, &count) + 4096;
  CHECK(count == 768);
  CHECK(bellows_device_acquire(device, unit) == 0 && bellows_device_acquire(device, unit) == EBUSY);
  CHECK(bellows_device_retain(device, unit) == 0 && bellows_device_release(device, unit) == 0 && freed == 0);
  strcpy(unit, "written");
  CHECK(bellows_device_remove(device, 10) == EBUSY);
  CHECK(bellows_device_release(device, unit) == 0 && freed == 1 && bellows_device_release(device, unit) == EINVAL);
  CHECK(bellows_device_remove(device, 0) == 0);
  char text[8];
  CHECK(pread(file, text, 8, 4096) == 8 && strcmp(text, "written") == 0);
}

// A child has what its parent had, and its balloons work.
static void forked(void) {
  struct bellows_balloon *balloon;
  CHECK(bellows_balloon_create(NULL, NULL, 0, &balloon) == 0 && bellows_balloon_add_section(balloon) == 0);
  pid_t child = fork();
  if (child == 0) {
    size_t done;
    CHECK(bellows_balloon_deflate(balloon, 2 * MIB, &done) == 0 && done == 2 * MIB);
    CHECK(bellows_balloon_inflate(balloon, MIB, &done) == 0 && done == MIB);
    _exit(9);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 9);
  CHECK(figures(balloon).held == USABLE);
}

int main(void) {
  if (!bellows_balloon_create) return 77;
  balloon();
  pool();
  sub_blocks();
  device();
  forked();
  puts("ok");
  return 0;
}
