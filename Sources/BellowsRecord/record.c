// libbellows-record.so: stands before malloc, passes every call on, and writes down what it saw (trace.h).
//
// What it adds to a call is a reading of the clock and some bytes in the thread's own buffer of 64 KiB; a full buffer is
// written with one system call under no lock of its own. It allocates nothing with malloc. Whether an address is
// recorded is a function of the address, so that a block's end is recorded exactly if its beginning is. A program that the
// process becomes by exec is recorded too, and its recording replaces the one before.
//
// A child has a file of its own, the name with its number behind: from its fork, or from its start where it is a program of
// its own. What it frees of its parent's blocks is in it, and their allocation is not.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "trace.h"

enum { BUFFER = 65536, LONGEST_EVENT = 1 + 10 + 10 + 10, EARLY = 65536 };

struct buffer {
  struct buffer *next; // all buffers ever made, for the end of the process
  atomic_uint owner;   // 1 while a thread has it
  uint32_t thread;
  uint64_t last_time, last_place;
  struct trace_chunk chunk; // written with the events, in one piece
  unsigned char events[BUFFER];
};

enum { NO_FILE = -1, FILE_NOT_YET = -2 }; // a child's file is made when it has something to write
static _Atomic(struct buffer *) buffers;
static atomic_int file = NO_FILE;
static atomic_int process; // who records: a child of vfork shares this memory and does not
static int parent;
static bool has_children;
static char given[4000], path[4032]; // as named, and of this process
static atomic_uint threads;
static uint64_t start;
static uint32_t sampled = 1;
static pthread_key_t end_of_thread;
static __thread struct buffer *mine __attribute__((tls_model("initial-exec")));
static __thread bool inside __attribute__((tls_model("initial-exec")));

static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void *(*next_memalign)(size_t, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_valloc)(size_t);
static void *(*next_pvalloc)(size_t);

// dlsym may allocate before the allocator is known: such blocks come from here and are never given back.
static char early[EARLY] __attribute__((aligned(16)));
static atomic_size_t early_used;

static bool is_early(const void *block) { return (const char *)block >= early && (const char *)block < early + EARLY; }

static void *early_block(size_t size) {
  size_t place = atomic_fetch_add(&early_used, (size + 31) & ~(size_t)15);
  if (place + size + 16 > EARLY) return errno = ENOMEM, NULL;
  memcpy(early + place, &size, sizeof size);
  return early + place + 16;
}

static uint64_t clock_at(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t now(void) { return clock_at(CLOCK_MONOTONIC) - start; }

// Makes the file and writes the header; NO_FILE where that cannot be, which is said.
static int make_file(void) {
  int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (to < 0) {
    fprintf(stderr, "bellows: warning: %s cannot be written: %s; nothing is recorded\n", path, strerror(errno));
    return NO_FILE;
  }
  // Out of the way of programs that count on low numbers.
  int high = fcntl(to, F_DUPFD_CLOEXEC, 900);
  if (high >= 0) {
    close(to);
    to = high;
  }
  struct trace_header header = {.schema = TRACE_SCHEMA, .sampled = sampled, .process = (uint32_t)atomic_load(&process),
                                .parent = (uint32_t)parent};
  memcpy(header.magic, "BLWTRACE", 8);
  header.start = clock_at(CLOCK_REALTIME) - now();
  strncpy(header.command, program_invocation_short_name, sizeof header.command - 1);
  if (write(to, &header, sizeof header) == (ssize_t)sizeof header) return to;
  close(to);
  return NO_FILE;
}

static atomic_flag making = ATOMIC_FLAG_INIT;

static int open_file(void) {
  int to;
  // Threads of a child may come here at once: one makes the file.
  while ((to = atomic_load(&file)) == FILE_NOT_YET) {
    if (atomic_flag_test_and_set(&making)) {
      sched_yield();
      continue;
    }
    if (atomic_load(&file) == FILE_NOT_YET) atomic_store(&file, make_file());
    atomic_flag_clear(&making);
  }
  return to;
}

static void flush(struct buffer *buffer) {
  struct trace_chunk *chunk = &buffer->chunk;
  if (chunk->length > 0 && atomic_load(&process) == getpid()) {
    bool was_inside = inside;
    inside = true;
    int to = open_file();
    // Appended in one piece: chunks of threads do not mix.
    size_t size = sizeof *chunk + chunk->length;
    if (to >= 0 && write(to, chunk, size) != (ssize_t)size && errno != EINTR) atomic_store(&file, NO_FILE);
    inside = was_inside;
  }
  chunk->length = chunk->events = 0;
  buffer->last_place = 0;
}

static struct buffer *take_buffer(void) {
  struct buffer *buffer;
  for (buffer = atomic_load(&buffers); buffer; buffer = buffer->next) {
    unsigned none = 0;
    if (atomic_compare_exchange_strong(&buffer->owner, &none, 1)) break;
  }
  if (buffer == NULL) {
    buffer = mmap(NULL, sizeof *buffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) return NULL;
    atomic_store(&buffer->owner, 1);
    buffer->chunk.magic = TRACE_CHUNK_MAGIC;
    buffer->next = atomic_load(&buffers);
    while (!atomic_compare_exchange_weak(&buffers, &buffer->next, buffer)) {
    }
  }
  buffer->thread = atomic_fetch_add(&threads, 1);
  mine = buffer;
  // Tells of the thread's end; may allocate, which passes unrecorded.
  inside = true;
  pthread_setspecific(end_of_thread, buffer);
  inside = false;
  return buffer;
}

static void give_buffer_back(void *argument) {
  struct buffer *buffer = argument;
  flush(buffer);
  mine = NULL;
  atomic_store(&buffer->owner, 0);
}

static unsigned char *put(unsigned char *to, uint64_t number) {
  while (number >= 128) *to++ = (unsigned char)(number | 128), number >>= 7;
  *to++ = (unsigned char)number;
  return to;
}

static bool is_recorded(const void *block) {
  if (atomic_load_explicit(&file, memory_order_relaxed) == NO_FILE || inside) return false;
  // A multiplicative hash: neighbours are chosen independently.
  return sampled == 1 || ((uint64_t)(uintptr_t)block >> 3) * 0x9E3779B97F4A7C15 >> 32 < (UINT64_C(1) << 32) / sampled;
}

static void note(enum trace_kind kind, const void *block, size_t size, size_t alignment) {
  struct buffer *buffer = mine ? mine : take_buffer();
  if (buffer == NULL) return;
  struct trace_chunk *chunk = &buffer->chunk;
  if (chunk->length + LONGEST_EVENT > BUFFER) flush(buffer);
  uint64_t time = now(), place = (uint64_t)(uintptr_t)block / 8;
  if (chunk->length == 0) {
    chunk->time = buffer->last_time = time;
    chunk->thread = buffer->thread;
  }
  int64_t step = (int64_t)(place - buffer->last_place);
  unsigned char *to = buffer->events + chunk->length;
  *to++ = (unsigned char)kind;
  to = put(to, time - buffer->last_time);
  to = put(to, (uint64_t)step << 1 ^ (uint64_t)(step >> 63));
  if (kind == TRACE_ALLOCATE || kind == TRACE_MOVED || kind == TRACE_ALLOCATE_ALIGNED) to = put(to, size);
  // The power of two that the allocator made of it.
  if (kind == TRACE_ALLOCATE_ALIGNED) *to++ = alignment <= 1 ? 0 : (unsigned char)(64 - __builtin_clzll(alignment - 1));
  chunk->length = (uint32_t)(to - buffer->events);
  chunk->events++;
  buffer->last_time = time;
  buffer->last_place = place;
}

static void *find(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  return found;
}

// Finds the allocator behind this library; before that, and while dlsym looks, blocks are early ones.
static bool is_ready(void) {
  static atomic_int state; // 0: not looked, 1: looking, 2: found
  if (atomic_load(&state) == 2) return true;
  int none = 0;
  if (!atomic_compare_exchange_strong(&state, &none, 1)) return false;
  *(void **)&next_malloc = find("malloc");
  *(void **)&next_calloc = find("calloc");
  *(void **)&next_realloc = find("realloc");
  *(void **)&next_free = find("free");
  *(void **)&next_memalign = find("memalign");
  *(void **)&next_posix_memalign = find("posix_memalign");
  *(void **)&next_aligned_alloc = find("aligned_alloc");
  *(void **)&next_valloc = find("valloc");
  *(void **)&next_pvalloc = find("pvalloc");
  atomic_store(&state, 2);
  return true;
}

static inline void *allocated(void *block, size_t size) {
  if (block && is_recorded(block)) {
    int error = errno;
    note(TRACE_ALLOCATE, block, size, 0);
    errno = error;
  }
  return block;
}

static void *allocated_aligned(void *block, size_t alignment, size_t size) {
  if (block && is_recorded(block)) {
    int error = errno;
    note(TRACE_ALLOCATE_ALIGNED, block, size, alignment);
    errno = error;
  }
  return block;
}

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t size) { return is_ready() ? allocated(next_malloc(size), size) : early_block(size); }

EXPORT void *calloc(size_t count, size_t size) {
  // Early blocks are zero: they are used once.
  return is_ready() ? allocated(next_calloc(count, size), count * size) : early_block(count * size);
}

EXPORT void free(void *block) {
  if (block == NULL || is_early(block)) return;
  int error = errno;
  if (is_recorded(block)) note(TRACE_FREE, block, 0, 0);
  next_free(block);
  errno = error;
}

EXPORT void *realloc(void *block, size_t size) {
  if (block == NULL) return malloc(size);
  if (is_early(block)) {
    size_t old;
    memcpy(&old, (char *)block - 16, sizeof old);
    void *copy = malloc(size);
    return copy ? memcpy(copy, block, old < size ? old : size) : NULL;
  }
  // Whether the new address will be recorded is not known yet, so both ends are noted by their own address.
  bool from = is_recorded(block);
  if (from) note(TRACE_MOVING, block, 0, 0);
  void *result = next_realloc(block, size);
  int error = errno;
  if (result && is_recorded(result)) note(TRACE_MOVED, result, size, 0);
  else if (from) note(TRACE_MOVED, result || size == 0 ? NULL : block, 0, 0);
  errno = error;
  return result;
}

EXPORT void *reallocarray(void *block, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) return errno = ENOMEM, NULL;
  return realloc(block, bytes);
}

EXPORT int posix_memalign(void **to, size_t alignment, size_t size) {
  if (!is_ready()) return ENOMEM;
  int code = next_posix_memalign(to, alignment, size);
  if (code == 0) allocated_aligned(*to, alignment, size);
  return code;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  return is_ready() ? allocated_aligned(next_aligned_alloc(alignment, size), alignment, size) : NULL;
}

EXPORT void *memalign(size_t alignment, size_t size) {
  return is_ready() ? allocated_aligned(next_memalign(alignment, size), alignment, size) : NULL;
}

EXPORT void *valloc(size_t size) {
  return is_ready() && next_valloc ? allocated_aligned(next_valloc(size), (size_t)getpagesize(), size) : NULL;
}

EXPORT void *pvalloc(size_t size) {
  size_t page = (size_t)getpagesize(), whole = (size + page - 1) / page * page;
  return is_ready() && next_pvalloc ? allocated_aligned(next_pvalloc(size), page, whole) : NULL;
}

// Debian's C++ library takes its blocks from malloc; so operator new and delete come by here.

static void flush_all(void) {
  if (atomic_load(&process) != getpid()) return;
  for (struct buffer *buffer = atomic_load(&buffers); buffer; buffer = buffer->next)
    if (atomic_load(&buffer->owner) != 0 || buffer->chunk.length > 0) flush(buffer);
}

// What was not written yet is the parent's, and so is the file.
static void begin_in_child(void) {
  int old = atomic_load(&file);
  if (old >= 0) close(old);
  atomic_flag_clear(&making);
  for (struct buffer *buffer = atomic_load(&buffers); buffer; buffer = buffer->next) {
    buffer->chunk.length = buffer->chunk.events = 0;
    buffer->last_place = 0;
    atomic_store(&buffer->owner, buffer == mine);
  }
  atomic_store(&threads, mine ? 1 : 0);
  if (mine) mine->thread = 0;
  parent = atomic_load(&process);
  atomic_store(&process, getpid());
  start = clock_at(CLOCK_MONOTONIC);
  snprintf(path, sizeof path, "%s.%d", given, getpid());
  atomic_store(&file, old == NO_FILE || !has_children ? NO_FILE : FILE_NOT_YET);
}

__attribute__((constructor)) static void begin(void) {
  is_ready();
  start = clock_at(CLOCK_MONOTONIC);
  atomic_store(&process, getpid());
  const char *name = getenv("BELLOWS_TRACE"), *rate = getenv("BELLOWS_TRACE_SAMPLED");
  const char *children = getenv("BELLOWS_TRACE_CHILDREN");
  if (name == NULL || strlen(name) >= sizeof given) return;
  has_children = children == NULL || strcmp(children, "0") != 0;
  // A child has another number than the process that is recorded; a program that this process becomes has the same, and
  // begins the file anew: of a script that ends in exec the program counts.
  const char *first = getenv("BELLOWS_TRACE_PROCESS");
  char own[16];
  snprintf(own, sizeof own, "%d", (int)getpid());
  strcpy(given, name);
  if (first == NULL || strcmp(first, own) == 0) {
    strcpy(path, name);
  } else {
    if (!has_children) return;
    parent = getppid();
    snprintf(path, sizeof path, "%s.%s", name, own);
  }
  if (rate && atoi(rate) > 0) sampled = (uint32_t)atoi(rate);
  int to = make_file();
  if (to < 0) return;
  if (first == NULL) setenv("BELLOWS_TRACE_PROCESS", own, 1);
  if (pthread_key_create(&end_of_thread, give_buffer_back) != 0) return;
  pthread_atfork(NULL, NULL, begin_in_child);
  atomic_store(&file, to);
}

// After all other destructors, as it was loaded first. Threads that still run may lose what they are writing.
__attribute__((destructor)) static void end(void) {
  flush_all();
  atomic_store(&file, NO_FILE);
}

// The end of most forked children, which runs no destructor.
EXPORT __attribute__((noreturn)) void _exit(int status) {
  flush_all();
  syscall(SYS_exit_group, status);
  __builtin_unreachable();
}

EXPORT __attribute__((noreturn)) void _Exit(int status) { _exit(status); }
