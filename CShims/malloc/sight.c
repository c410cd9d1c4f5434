// What the helper knows of its own standing: a table of descriptors of its own, and in it the kernel's account of it and of
// the main thread.
//
// A filter may come at any time, for one thread or for all, and end the process for whatever glibc's malloc does not need;
// asking for it with prctl or opening a file is such a call. So the two accounts (/proc/.../status) are opened once and
// rewound after each look, when no filter was there; the next look is a read, which is allowed, and the kernel writes the
// account at that moment. Rewound and not opened again: it goes on where /proc cannot be reached any more (chroot).
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#include "bellows_calls.h"
#include "bellows_process.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
enum { UNSHARE_TABLE = 1 << 1 };

// What a status file says of a thread.
struct standing {
  uint64_t rights;  // a digest of users, groups, capabilities and no_new_privs
  uint32_t threads;
  bool is_filtered;
  bool has_capability;
};

static int own = -1, leader = -1, tasks = -1;
static bool is_filtered;  // a filter was seen: nothing beyond what malloc needs, for ever
static struct standing last;

// Takes a file apart as it is read: a line of groups may be longer than any buffer. False: it cannot be read.
__attribute__((minsize)) static bool read_standing(int file, struct standing *standing) {
  static const char *const names[] = {"Uid",    "Gid",    "Groups", "CapInh",     "CapPrm",
                                      "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Threads", "Seccomp"};
  enum { CAPABILITIES_HELD = 4, RIGHTS = 9, THREADS = 9, SECCOMP = 10, NONE = 11 };
  *standing = (struct standing){.rights = 0xcbf29ce484222325};
  char text[4096], key[12];
  size_t length = 0, field = NONE;
  bool in_value = false, is_over = false, has_text = false;
  while (!is_over) {
    intptr_t got = bellows_read(file, text, sizeof text);
    // A file that ends with the buffer has one more read, which says so.
    if (got < 0 || (got == 0 && !has_text)) return false;
    has_text = true;
    // Less than there is room for: that was the end.
    is_over = got < (intptr_t)sizeof text;
    for (intptr_t i = 0; i < got; i++) {
      char byte = text[i];
      if (byte == '\n') {
        in_value = false, length = 0;
      } else if (!in_value && byte == ':') {
        in_value = true;
        for (field = 0; field < NONE; field++)
          if (strlen(names[field]) == length && memcmp(names[field], key, length) == 0) break;
      } else if (!in_value) {
        if (length < sizeof key) key[length] = byte;
        length++;
      } else if (field < RIGHTS) {
        standing->rights = (standing->rights ^ (unsigned char)byte ^ field << 8) * 0x100000001b3;
        if (field == CAPABILITIES_HELD && byte > '0') standing->has_capability = true;
      } else if (field == THREADS && byte >= '0') {
        standing->threads = standing->threads * 10 + (uint32_t)(byte - '0');
      } else if (field == SECCOMP && byte > '0') {
        standing->is_filtered = true;
      }
    }
  }
  return true;
}

static bool was_asked;
bool bellows_is_filtered(void) {
  if (!was_asked) {
    struct standing standing;
    intptr_t file = bellows_open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
    // A folder of its own without /proc: at the start the question itself may be asked.
    bool is_clear = file >= 0 ? read_standing((int)file, &standing) && !standing.is_filtered
                              : bellows_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0;
    if (file >= 0) bellows_close((int)file);
    was_asked = true;
    if (!is_clear) is_filtered = true;
  }
  return is_filtered;
}

bool bellows_saw_filter(void) { return is_filtered; }

// ---- What the executable is made for -----------------------------------------------------------------------

extern void seccomp_load(void) __attribute__((weak));

// Where the executable has the address of `name`, a library's, or NULL; and in `is_late` whether the first call puts it there: until then it is
// one in the executable.
static struct {
  uintptr_t first, end;
} executable;
__attribute__((minsize)) static const uintptr_t *place_of(const char *name, bool *is_late) {
  const ElfW(Phdr) *headers = (const void *)getauxval(AT_PHDR);
  const ElfW(Dyn) *entries = NULL;
  uintptr_t base = 0, first = UINTPTR_MAX, end = 0;
  for (unsigned long i = 0, count = getauxval(AT_PHNUM); headers != NULL && i < count; i++) {
    if (headers[i].p_type == PT_PHDR) base = (uintptr_t)headers - headers[i].p_vaddr;
    if (headers[i].p_type == PT_DYNAMIC) entries = (const void *)(base + headers[i].p_vaddr);
    if (headers[i].p_type != PT_LOAD) continue;
    if (base + headers[i].p_vaddr < first) first = base + headers[i].p_vaddr;
    if (base + headers[i].p_vaddr + headers[i].p_memsz > end) end = base + headers[i].p_vaddr + headers[i].p_memsz;
  }
  uintptr_t symbols = 0, strings = 0, tables[2] = {0}, bytes[2] = {0};
  for (; entries != NULL && entries->d_tag != DT_NULL; entries++) {
    // The loader writes addresses over what the file has there, or not.
    uintptr_t place = entries->d_un.d_ptr < base ? base + entries->d_un.d_ptr : entries->d_un.d_ptr;
    switch (entries->d_tag) {
      case DT_SYMTAB: symbols = place; break;
      case DT_STRTAB: strings = place; break;
      case DT_RELA: tables[0] = place; break;
      case DT_RELASZ: bytes[0] = entries->d_un.d_val; break;
      case DT_JMPREL: tables[1] = place; break;
      case DT_PLTRELSZ: bytes[1] = entries->d_un.d_val; break;
    }
  }
  executable.first = first, executable.end = end;
  if (symbols == 0 || strings == 0) return NULL;
  for (int table = 0; table < 2; table++) {
    const ElfW(Rela) *entry = (const void *)tables[table];
    for (size_t i = 0; entry != NULL && i < bytes[table] / sizeof *entry; i++) {
      size_t symbol = entry[i].r_info >> 32;
      if (symbol == 0 || strcmp((const char *)strings + ((const ElfW(Sym) *)symbols)[symbol].st_name, name) != 0)
        continue;
      *is_late = table == 1;
      return (const uintptr_t *)(base + entry[i].r_offset);
    }
  }
  return NULL;
}

static enum { NOT_BEGUN, NOT_KNOWN, NEVER, ALWAYS, ONCE_CALLED } filters;
static const uintptr_t *called_by;
void bellows_filters_start(void) { __atomic_store_n(&filters, NOT_KNOWN, __ATOMIC_RELAXED); }

bool bellows_may_filter(void) {
  if (__atomic_load_n(&filters, __ATOMIC_ACQUIRE) == NOT_KNOWN) {
    bool is_late = false;
    called_by = place_of("prctl", &is_late);
    bool is_always = seccomp_load != NULL || (called_by != NULL && !is_late);
    __atomic_store_n(&filters, is_always ? ALWAYS : called_by == NULL ? NEVER : ONCE_CALLED, __ATOMIC_RELEASE);
  }
  switch (__atomic_load_n(&filters, __ATOMIC_ACQUIRE)) {
    case ALWAYS: return true;
    case ONCE_CALLED: return *called_by < executable.first || *called_by >= executable.end;
    default: return false;
  }
}

static bool take_own_table(int keep) {
  if (keep < 0) return bellows_call(SYS_close_range, 0, ~0u, UNSHARE_TABLE) == 0;
  if (bellows_call(SYS_close_range, keep + 1, ~0u, UNSHARE_TABLE) != 0) return false;
  return keep == 0 || bellows_call(SYS_close_range, 0, keep - 1, 0) == 0;
}

static void rewind_account(int file) {
  if (file >= 0) bellows_call(SYS_lseek, file, 0, 0);
}

void bellows_sight_close(void) {
  own = leader = tasks = -1;
  last = (struct standing){0};
}

uint32_t bellows_sight_open(int keep, uintptr_t name, bool is_wanted) {
  bellows_sight_close();
  if (!take_own_table(keep)) return BELLOWS_BLIND;
  own = (int)bellows_open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
  uint32_t seen = bellows_sight_look();
  // Without /proc there is this one look, for what was asked for, and none after it.
  if (own < 0 && is_wanted && bellows_call(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0) seen = BELLOWS_CLEAR;
  if (seen != BELLOWS_CLEAR) return seen;
  bellows_call(SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
  if (own < 0) return BELLOWS_CLEAR;
  // /proc/self is the main thread, whatever its number is in the namespace of /proc.
  leader = (int)bellows_open("/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
  tasks = (int)bellows_open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  return bellows_sight_look();
}

uint32_t bellows_sight_look(void) {
  if (is_filtered) return BELLOWS_FILTERED;
  if (own < 0) return BELLOWS_BLIND;
  struct standing mine, main = {0};
  // Its own last: from there to the end of the calls that follow is the time in which a filter is not seen.
  bool knows_main = leader >= 0 && read_standing(leader, &main);
  if (!read_standing(own, &mine) || mine.is_filtered) {
    is_filtered = true;
    last.has_capability = false;
    return BELLOWS_FILTERED;
  }
  rewind_account(own);
  rewind_account(leader);
  last = mine;
  return knows_main && main.rights != mine.rights ? BELLOWS_DIFFERS : BELLOWS_CLEAR;
}

uint32_t bellows_sight_threads(void) { return last.threads; }
bool bellows_sight_has_capability(void) { return last.has_capability; }

// ---- Other threads ----------------------------------------------------------------------------------------

intptr_t bellows_sight_open_task(uint32_t tid, const char *name, int flags) {
  char path[32], digits[12];
  size_t at = 0, count = 0;
  do digits[count++] = (char)('0' + tid % 10);
  while ((tid /= 10) != 0);
  while (count > 0) path[at++] = digits[--count];
  path[at++] = '/';
  strcpy(path + at, name);
  return tasks < 0 ? -1 : bellows_call(SYS_openat, tasks, path, flags | O_CLOEXEC, 0);
}

void bellows_sight_name_task(uint32_t tid, uintptr_t name) {
  intptr_t file = bellows_sight_open_task(tid, "comm", O_WRONLY);
  if (file < 0) return;
  bellows_call(SYS_write, file, name, strlen((const char *)name));
  bellows_close((int)file);
}

bool bellows_sight_is_clear(uint32_t tid) {
  struct standing standing;
  intptr_t file = bellows_sight_open_task(tid, "status", O_RDONLY);
  if (file < 0) return false;
  bool is_clear = read_standing((int)file, &standing) && !standing.is_filtered;
  bellows_close((int)file);
  return is_clear;
}
