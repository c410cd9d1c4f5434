// NUMA by system calls; see bellows_numa.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bellows_numa.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "bellows_calls.h"

enum {
  MOVE_OWN_PAGES = 1 << 1,
  AT_ADDRESS = 1 << 1,
  ALLOWED = 1 << 2,
  // Kernels are built for up to 1024 nodes and refuse to write into fewer bits than that.
  KERNEL_NODES = 1024,
  KERNEL_PROCESSORS = 8192,
};

intptr_t bellows_move_pages(int process, size_t count, const uintptr_t *addresses, const int *nodes, int *results) {
  return bellows_call(SYS_move_pages, process, count, addresses, nodes, results, nodes ? MOVE_OWN_PAGES : 0);
}

intptr_t bellows_thread_policy_set(unsigned policy, uint64_t nodes) {
  return bellows_call(SYS_set_mempolicy, policy, &nodes, 65ul);
}

static intptr_t get_policy(unsigned *policy, uint64_t *nodes, uintptr_t address, unsigned flags) {
  int mode = 0;
  uint64_t mask[KERNEL_NODES / 64] = {0};
  intptr_t result = bellows_call(SYS_get_mempolicy, flags & ALLOWED ? NULL : &mode, mask, (unsigned long)KERNEL_NODES,
                                 address, flags);
  *nodes = mask[0];
  if (policy) *policy = (unsigned)mode;
  return result;
}

intptr_t bellows_thread_policy(unsigned *policy, uint64_t *nodes) { return get_policy(policy, nodes, 0, 0); }
intptr_t bellows_policy_at(uintptr_t address, unsigned *policy, uint64_t *nodes) {
  return get_policy(policy, nodes, address, AT_ADDRESS);
}
intptr_t bellows_allowed_nodes(uint64_t *nodes) { return get_policy(NULL, nodes, 0, ALLOWED); }

intptr_t bellows_pin_thread(const uint32_t *processors, size_t count) {
  unsigned char set[KERNEL_PROCESSORS / 8] = {0};
  for (size_t i = 0; i < count; i++) {
    if (processors[i] >= KERNEL_PROCESSORS) return -EINVAL;
    set[processors[i] / 8] |= (unsigned char)(1 << processors[i] % 8);
  }
  return bellows_call(SYS_sched_setaffinity, 0, sizeof set, set);
}

intptr_t bellows_thread_processors(uint32_t *processors, size_t room) {
  unsigned char set[KERNEL_PROCESSORS / 8] = {0};
  intptr_t bytes = bellows_call(SYS_sched_getaffinity, 0, sizeof set, set);
  if (bytes < 0) return bytes;
  size_t count = 0;
  for (uint32_t at = 0; at < (uint32_t)bytes * 8; at++) {
    if (!(set[at / 8] & 1 << at % 8)) continue;
    if (count < room) processors[count] = at;
    count++;
  }
  return (intptr_t)count;
}

// Memory that is near: MPOL_DEFAULT, MPOL_LOCAL, and MPOL_PREFERRED of no node, which is how older kernels say it.
static bool takes_what_is_near(void) {
  unsigned mode;
  uint64_t nodes;
  return bellows_thread_policy(&mode, &nodes) == 0 && (mode == 0 || mode == 4 || (mode == 1 && nodes == 0));
}

// Writes "/sys/devices/system/node/node12/NAME" into `path`, which has room for it, without printf: this runs where nothing may
// allocate.
static void node_path(char *path, unsigned node, const char *name) {
  char digits[12];
  strcpy(path, "/sys/devices/system/node/node");
  size_t end = strlen(path), count = 0;
  do digits[count++] = (char)('0' + node % 10);
  while ((node /= 10) > 0);
  while (count > 0) path[end++] = digits[--count];
  path[end++] = '/';
  strcpy(path + end, name);
}

// The file's first bytes as text; the length or -errno.
static intptr_t read_file(const char *path, char *text, size_t room) {
  intptr_t file = bellows_open(path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return file;
  size_t length = 0;
  intptr_t part;
  while (length < room - 1 && (part = bellows_read((int)file, text + length, room - 1 - length)) > 0)
    length += (size_t)part;
  bellows_close((int)file);
  text[length] = 0;
  return (intptr_t)length;
}

static unsigned number(const char **at) {
  unsigned value = 0;
  for (; **at >= '0' && **at <= '9'; ++*at) value = value * 10 + (unsigned)(**at - '0');
  return value;
}

// Whether there may be several nodes. Who cannot tell takes one: nothing else is asked then.
static bool may_be_several(void) {
  char online[512];
  if (read_file("/sys/devices/system/node/online", online, sizeof online) <= 0) return false;
  const char *at = online;
  number(&at);
  return *at == '-' || *at == ',';
}

// Under a system call filter what is asked here might be the end of the process. To ask for the filter (prctl) might, too; the
// dynamic loader opens and reads files. Lines of any length may come before the one that says it.
static bool is_filtered(void) {
  static const char key[] = "\nSeccomp:\t";
  intptr_t file = bellows_open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return true;
  char text[512];
  size_t matched = 0;
  char mode = 0;
  intptr_t got;
  while (mode == 0 && (got = bellows_read((int)file, text, sizeof text)) > 0) {
    for (intptr_t i = 0; i < got && mode == 0; i++) {
      if (matched == sizeof key - 1)
        mode = text[i];
      else
        matched = text[i] == key[matched] ? matched + 1 : text[i] == '\n';
    }
  }
  bellows_close((int)file);
  return mode != 0 && mode != '0';
}

intptr_t bellows_local_node(void) { return takes_what_is_near() ? bellows_current_node() : -ENODEV; }

intptr_t bellows_local_nodes(uint64_t *nodes) {
  *nodes = 1;
  if (!may_be_several()) return 0;
  *nodes = 0;
  intptr_t result = is_filtered() ? 0 : bellows_allowed_nodes(nodes);
  if (result == 0 && (*nodes & (*nodes - 1)) != 0 && !takes_what_is_near()) *nodes = 0;
  return result;
}

intptr_t bellows_node_distances(unsigned node, uint8_t *distances, size_t count) {
  char path[64], online[512], text[4096];
  memset(distances, 0, count);
  intptr_t result = read_file("/sys/devices/system/node/online", online, sizeof online);
  if (result < 0) return result;
  node_path(path, node, "distance");
  if ((result = read_file(path, text, sizeof text)) < 0) return result;
  // One number for each node that is online, in order; "0-2,4" says which these are.
  const char *value = text;
  for (const char *at = online; *at >= '0' && *at <= '9';) {
    unsigned first = number(&at), last = first;
    if (*at == '-') at++, last = number(&at);
    for (unsigned other = first; other <= last; other++) {
      while (*value == ' ') value++;
      unsigned distance = number(&value);
      if (other < count) distances[other] = (uint8_t)(distance < 255 ? distance : 255);
    }
    if (*at == ',') at++;
  }
  return 0;
}

intptr_t bellows_node_bytes(unsigned node, const char *name) {
  char path[64], text[4096];
  node_path(path, node, "meminfo");
  intptr_t result = read_file(path, text, sizeof text);
  if (result < 0) return result;

  size_t name_length = strlen(name);
  for (const char *at = text; (at = strstr(at, name)); at += name_length) {
    if (at == text || at[-1] != ' ' || at[name_length] != ':') continue;
    intptr_t kilobytes = 0;
    for (at += name_length + 1; *at == ' '; at++) {}
    for (; *at >= '0' && *at <= '9'; at++) kilobytes = kilobytes * 10 + (*at - '0');
    return kilobytes * 1024;
  }
  return -ENODATA;
}

intptr_t bellows_node_room(unsigned node) {
  enum { LEAST = 8 << 20, SHARE = 64 };
  intptr_t unused = bellows_node_bytes(node, "MemFree"), all = bellows_node_bytes(node, "MemTotal");
  if (unused < 0 || all < 0) return unused < 0 ? unused : all;
  intptr_t kept = all / SHARE > LEAST ? all / SHARE : LEAST;
  return unused > kept ? unused - kept : 0;
}
