// Is a thread blocked, and outside the hit paths? The kernel's view of it, and its stack.
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "bellows_calls.h"
#include "bellows_process.h"

// The hit paths. They make no calls, so an address inside one is on a stack only where a signal interrupted it.
void bw_malloc(void);
void bw_malloc_miss(void);
void bw_calloc(void);
void bw_new(void);
void bw_free(void);
void bw_free_tail(void);
void bw_free_tail_full(void);
void bw_free_full(void);
void bw_aligned_hit(void);
void bw_free_sized(void);

static bool in_hit_path(uintptr_t word) {
  // Their sizes are a little above the code's (a test looks): what is too much only makes for refusals.
  static const struct {
    void (*start)(void);
    uintptr_t bytes;
  } paths[] = {{bw_malloc, 80}, {bw_malloc_miss, 576}, {bw_calloc, 160},    {bw_new, 80},
               {bw_free, 128},  {bw_free_tail, 96},    {bw_free_sized, 128}, {bw_free_full, 80},
               {bw_aligned_hit, 448}, {bw_free_tail_full, 32}};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    if (word - (uintptr_t)paths[i].start < paths[i].bytes) return true;
  return false;
}

// The last `room` - 1 bytes at most of a thread's file NAME in /proc, with a 0 behind them.
// A list of groups, say, may make it long. After a look of its own: a filter may have come
// since the last one.
static bool read_task(uint32_t tid, const char *name, char *text, size_t room) {
  if (bellows_sight_look() != BELLOWS_CLEAR) return false;
  intptr_t file = bellows_sight_open_task(tid, name, O_RDONLY);
  if (file < 0) return false;
  size_t length = 0;
  intptr_t got;
  while ((got = bellows_read((int)file, text + length, room - 1 - length)) > 0) {
    length += (size_t)got;
    if (length < room - 1) continue;
    // The second half stays.
    memmove(text, text + (room - 1) / 2, length -= (room - 1) / 2);
  }
  bellows_close((int)file);
  if (got < 0 || length == 0) return false;
  text[length] = 0;
  return true;
}

// "NUMBER ARG*6 STACK COUNTER" of a thread in a system call; other forms where it runs or blocks elsewhere. Not
// good enough: a thread that waits for `lock`, its heap's, since it is in a slow path that has work to do; and one
// that waits for a child of vfork, which runs on its memory.
static bool blocked_at(const char *text, uintptr_t lock, uintptr_t *stack) {
  if (text[0] < '0' || text[0] > '9') return false;
  long number = strtol(text, NULL, 10);
  if (number == SYS_clone || number == SYS_clone3) return false;
#ifdef SYS_vfork
  if (number == SYS_vfork) return false;
#endif
  const char *place = text;
  for (int field = 0; field < 7; field++) {
    place = strchr(place, ' ');
    if (place == NULL) return false;
    place++;
    if (field == 0 && number == SYS_futex && strtoull(place, NULL, 16) == lock) return false;
  }
  *stack = strtoull(place, NULL, 16);
  return *stack != 0;
}

// From the stack pointer to the end of the stack: no word in a hit path. More than 1 MiB is not looked at but refused.
//
// The C library puts a thread's own storage, with the `words` in it, at the top of its stack: frames end there. Where
// the words are elsewhere (the first thread's), they end with the mapping, or later, if a readable one lies behind it.
static bool stack_is_clean(uint32_t process, uintptr_t stack, uintptr_t known, uintptr_t words_end) {
  enum { CHUNK = 4096, LIMIT = 1 << 20 };
  if (known - stack > LIMIT && stack - known > LIMIT) return false;
  uintptr_t words[CHUNK / sizeof(uintptr_t)];
  uintptr_t place = stack & ~(uintptr_t)7;
  for (;;) {
    if (place >= words_end && known < words_end && stack < words_end) return place > known;
    if (place - stack > LIMIT) return false;
    size_t length = CHUNK - place % CHUNK;
    struct iovec here = {words, length}, there = {(void *)place, length};
    intptr_t got = bellows_call(SYS_process_vm_readv, process, &here, 1, &there, 1, 0);
    if (got < 0) return got == -EFAULT && place > known;
    for (size_t i = 0; i < (size_t)got / sizeof *words; i++)
      if (in_hit_path(words[i])) return false;
    if ((size_t)got < length) return place + (uintptr_t)got > known;
    place += length;
  }
}

bool bellows_thread_is_parked(uint32_t process, uint32_t tid, uintptr_t known, uintptr_t thread_words, uintptr_t lock) {
  char before[256], after[256], switches[2048], switches_after[2048];
  uintptr_t stack = 0;
  if (!read_task(tid, "syscall", before, sizeof before) || !blocked_at(before, lock, &stack)) return false;
  if (!read_task(tid, "status", switches, sizeof switches)) return false;
  if (bellows_sight_look() != BELLOWS_CLEAR || !stack_is_clean(process, stack, known, thread_words)) return false;
  // It must not have run meanwhile, or what was read of its stack means nothing.
  if (!read_task(tid, "status", switches_after, sizeof switches_after)) return false;
  if (!read_task(tid, "syscall", after, sizeof after) || strcmp(before, after) != 0) return false;
  const char *one = strstr(switches, "voluntary_ctxt"), *other = strstr(switches_after, "voluntary_ctxt");
  return one != NULL && other != NULL && strcmp(one, other) == 0;
}

void bellows_barrier_start(void) {
  bellows_call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

bool bellows_barrier(void) {
  return bellows_call(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
