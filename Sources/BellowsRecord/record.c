// libbellows-record.so: stands before malloc, passes every call on, and writes down what it saw (trace.h).
//
// What it adds to a call is a reading of the clock and some bytes in the thread's own buffer of 64 KiB; a full buffer is
// written with one system call under no lock of its own. It allocates nothing with malloc. Whether an address is
// recorded is a function of the address, so that a block's end is recorded exactly if its beginning is. Children are
// not recorded; a program that the process becomes by exec is, and its recording replaces the one before.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static _Atomic(struct buffer *) buffers;
static atomic_int file = -1;
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

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec - start;
}

static void flush(struct buffer *buffer) {
  struct trace_chunk *chunk = &buffer->chunk;
  int to = atomic_load(&file);
  if (chunk->length > 0 && to >= 0) {
    // Appended in one piece: chunks of threads do not mix.
    size_t size = sizeof *chunk + chunk->length;
    if (write(to, chunk, size) != (ssize_t)size && errno != EINTR) atomic_store(&file, -1);
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
  if (atomic_load_explicit(&file, memory_order_relaxed) < 0 || inside) return false;
  // A multiplicative hash: neighbours are chosen independently.
  return sampled == 1 || ((uint64_t)(uintptr_t)block >> 3) * 0x9E3779B97F4A7C15 >> 32 < (UINT64_C(1) << 32) / sampled;
}

static void note(enum trace_kind kind, const void *block, size_t size) {
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
  if (kind == TRACE_ALLOCATE || kind == TRACE_MOVED) to = put(to, size);
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
  atomic_store(&state, 2);
  return true;
}

static inline void *allocated(void *block, size_t size) {
  if (block && is_recorded(block)) {
    int error = errno;
    note(TRACE_ALLOCATE, block, size);
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
  if (is_recorded(block)) note(TRACE_FREE, block, 0);
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
  if (from) note(TRACE_MOVING, block, 0);
  void *result = next_realloc(block, size);
  int error = errno;
  if (result && is_recorded(result)) note(TRACE_MOVED, result, size);
  else if (from) note(TRACE_MOVED, result || size == 0 ? NULL : block, 0);
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
  if (code == 0) allocated(*to, size);
  return code;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  return is_ready() ? allocated(next_aligned_alloc(alignment, size), size) : NULL;
}

EXPORT void *memalign(size_t alignment, size_t size) {
  return is_ready() ? allocated(next_memalign(alignment, size), size) : NULL;
}

// Debian's C++ library takes its blocks from malloc; so operator new and delete come by here.

static void stop_in_child(void) {
  // The file is the parent's.
  atomic_store(&file, -1);
  mine = NULL;
}

__attribute__((constructor)) static void begin(void) {
  is_ready();
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  start = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
  const char *path = getenv("BELLOWS_TRACE"), *rate = getenv("BELLOWS_TRACE_SAMPLED");
  if (path == NULL) return;
  // A child has another number than the process that is recorded; a program that this process becomes has the same, and
  // begins the file anew: of a script that ends in exec the program counts.
  const char *process = getenv("BELLOWS_TRACE_PROCESS");
  char own[16];
  snprintf(own, sizeof own, "%d", (int)getpid());
  if (process && strcmp(process, own) != 0) return;
  if (rate && atoi(rate) > 0) sampled = (uint32_t)atoi(rate);
  int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (to < 0) {
    fprintf(stderr, "bellows: warning: %s cannot be written: %s; nothing is recorded\n", path, strerror(errno));
    return;
  }
  // Out of the way of programs that count on low numbers.
  int high = fcntl(to, F_DUPFD_CLOEXEC, 900);
  if (high >= 0) {
    close(to);
    to = high;
  }
  struct trace_header header = {.schema = TRACE_SCHEMA, .sampled = sampled, .process = (uint32_t)getpid()};
  memcpy(header.magic, "BLWTRACE", 8);
  clock_gettime(CLOCK_REALTIME, &time);
  header.start = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
  strncpy(header.command, program_invocation_short_name, sizeof header.command - 1);
  if (write(to, &header, sizeof header) != (ssize_t)sizeof header) return;
  setenv("BELLOWS_TRACE_PROCESS", own, 1);
  if (pthread_key_create(&end_of_thread, give_buffer_back) != 0) return;
  pthread_atfork(NULL, NULL, stop_in_child);
  atomic_store(&file, to);
}

// After all other destructors, as it was loaded first. Threads that still run may lose what they are writing.
__attribute__((destructor)) static void end(void) {
  int to = atomic_load(&file);
  if (to < 0) return;
  for (struct buffer *buffer = atomic_load(&buffers); buffer; buffer = buffer->next)
    if (atomic_load(&buffer->owner) != 0 || buffer->chunk.length > 0) flush(buffer);
  atomic_store(&file, -1);
}
