// The time and the processor, from the page of functions that the kernel maps into every process: no system call, and no function of
// the C library's, which a program may replace with one that allocates.
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#include "bellows_calls.h"
#include "bellows_numa.h"
#include "bellows_shims.h"

#ifdef __aarch64__
#define VDSO_CLOCK "__kernel_clock_gettime"
#define VDSO_PROCESSOR ""
#else
#define VDSO_CLOCK "__vdso_clock_gettime"
#define VDSO_PROCESSOR "__vdso_getcpu"
#endif

typedef int clock_function(clockid_t clock, struct timespec *now);
typedef int processor_function(unsigned *processor, unsigned *node, void *unused);

static int clock_by_call(clockid_t clock, struct timespec *now) {
  return (int)bellows_call(SYS_clock_gettime, clock, now);
}
static int processor_by_call(unsigned *processor, unsigned *node, void *unused) {
  return (int)bellows_call(SYS_getcpu, processor, node, unused);
}

static clock_function *clock_now;
static processor_function *processor_now;

__attribute__((minsize)) static uint32_t symbol_count(const uint32_t *hash, const uint32_t *gnu_hash) {
  if (hash != NULL) return hash[1];
  // The highest that a bucket begins with, and on to the end of its chain.
  uint32_t buckets = gnu_hash[0], first = gnu_hash[1], words = gnu_hash[2], last = 0;
  const uint32_t *bucket = gnu_hash + 4 + words * (sizeof(uintptr_t) / 4);
  for (uint32_t i = 0; i < buckets; i++)
    if (bucket[i] > last) last = bucket[i];
  if (last < first) return first;
  while ((bucket[buckets + last - first] & 1) == 0) last++;
  return last + 1;
}

__attribute__((minsize, noinline)) static void look_up(void) {
  const ElfW(Ehdr) *image = (const void *)getauxval(AT_SYSINFO_EHDR);
  clock_function *clock = clock_by_call;
  processor_function *processor = processor_by_call;
  if (image != NULL) {
    const ElfW(Phdr) *headers = (const void *)((uintptr_t)image + image->e_phoff);
    const ElfW(Dyn) *entries = NULL;
    uintptr_t base = 0;
    for (int i = 0; i < image->e_phnum; i++) {
      if (headers[i].p_type == PT_LOAD && base == 0)
        base = (uintptr_t)image + headers[i].p_offset - headers[i].p_vaddr;
    }
    for (int i = 0; i < image->e_phnum; i++)
      if (headers[i].p_type == PT_DYNAMIC) entries = (const void *)(base + headers[i].p_vaddr);
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const uint32_t *hash = NULL, *gnu_hash = NULL;
    for (; entries != NULL && entries->d_tag != DT_NULL; entries++) {
      const void *place = (const void *)(base + entries->d_un.d_ptr);
      if (entries->d_tag == DT_SYMTAB) symbols = place;
      if (entries->d_tag == DT_STRTAB) strings = place;
      if (entries->d_tag == DT_HASH) hash = place;
      if (entries->d_tag == DT_GNU_HASH) gnu_hash = place;
    }
    bool is_whole = symbols != NULL && strings != NULL && (hash != NULL || gnu_hash != NULL);
    for (uint32_t i = 1, count = is_whole ? symbol_count(hash, gnu_hash) : 0; i < count; i++) {
      if (symbols[i].st_shndx == SHN_UNDEF) continue;
      const char *name = strings + symbols[i].st_name;
      if (strcmp(name, VDSO_CLOCK) == 0) clock = (clock_function *)(base + symbols[i].st_value);
      if (strcmp(name, VDSO_PROCESSOR) == 0) processor = (processor_function *)(base + symbols[i].st_value);
    }
  }
  __atomic_store_n(&processor_now, processor, __ATOMIC_RELAXED);
  __atomic_store_n(&clock_now, clock, __ATOMIC_RELEASE);
}

static bool is_known(void) { return __atomic_load_n(&clock_now, __ATOMIC_ACQUIRE) != NULL; }

static uint64_t milliseconds(clockid_t clock) {
  if (__builtin_expect(!is_known(), 0)) look_up();
  struct timespec now = {0};
  clock_now(clock, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t bellows_clock_milliseconds(void) { return milliseconds(CLOCK_MONOTONIC_COARSE); }
uint64_t bellows_wall_milliseconds(void) { return milliseconds(CLOCK_REALTIME); }

intptr_t bellows_current_node(void) {
  if (!is_known()) look_up();
  unsigned processor = 0, node = 0;
  intptr_t result = processor_now(&processor, &node, NULL);
  return result != 0 ? result : (intptr_t)node;
}
