// What the programs of the node rows share: the nodes of the machine, and where pages lie as the kernel says it.
#pragma once

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include "support.h"

enum { most_nodes = 8 };

static int nodes[most_nodes], node_count;
static cpu_set_t processors[most_nodes];

// Nodes that have both memory and processors.
static inline void find_nodes(void) {
  for (int node = 0; node < 64 && node_count < most_nodes; node++) {
    char path[96], text[256] = "";
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length < 2) continue;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/meminfo", node);
    if (kernel_figure(path, "MemTotal:") == 0) continue;
    cpu_set_t *set = &processors[node_count];
    CPU_ZERO(set);
    for (char *at = text; *at >= '0' && *at <= '9';) {
      long first = strtol(at, &at, 10), last = first;
      if (*at == '-') last = strtol(at + 1, &at, 10);
      for (long cpu = first; cpu <= last; cpu++) CPU_SET(cpu, set);
      if (*at == ',') at++;
    }
    nodes[node_count++] = node;
  }
  if (node_count < 2) die("this machine has %d nodes with memory and processors", node_count);
}

static inline void run_on(int place) {
  if (sched_setaffinity(0, sizeof processors[place], &processors[place])) die("cannot run on node %d", nodes[place]);
  unsigned cpu, node;
  if (syscall(SYS_getcpu, &cpu, &node, NULL) || (int)node != nodes[place]) die("runs on node %u, not %d", node, nodes[place]);
}

// How many of the pages of a block lie on each node.
static inline void count_pages(const void *block, size_t size, size_t *counts) {
  uintptr_t first = (uintptr_t)block & ~(uintptr_t)4095, end = (uintptr_t)block + size;
  void *pages[64];
  int status[64];
  while (first < end) {
    size_t count = 0;
    for (; first < end && count < 64; first += 4096) pages[count++] = (void *)first;
    if (syscall(SYS_move_pages, 0, count, pages, NULL, status, 0)) die("move_pages: %s", strerror(errno));
    for (size_t i = 0; i < count; i++) {
      if (status[i] < 0 || status[i] >= 64) die("page %p has been written and lies nowhere: %d", pages[i], status[i]);
      counts[status[i]]++;
    }
  }
}

static inline void pause_for(long milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static inline void in_thread(void *(*body)(void *), uintptr_t place) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, (void *)place) || pthread_join(thread, NULL)) die("no thread");
}
