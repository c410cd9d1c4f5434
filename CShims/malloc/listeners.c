// Listeners to sections that go and come: a table of function and context.
#include <errno.h>

#include "bellows.h"
#include "bellows_process.h"
#include "bellows_shims.h"

struct entry {
  uintptr_t function;  // 0: free; 1: being written
  uintptr_t context;
};

int bellows_listeners_add(uintptr_t table, uintptr_t function, uintptr_t context) {
  for (size_t i = 0; i < BELLOWS_LISTENERS; i++) {
    struct entry *entry = (struct entry *)table + i;
    if (!bellows_compare_exchange((uintptr_t)&entry->function, 0, 1)) continue;
    entry->context = context;
    bellows_store_release((uintptr_t)&entry->function, function);
    return 0;
  }
  return ENOSPC;
}

int bellows_listeners_remove(uintptr_t table, uintptr_t function, uintptr_t context) {
  for (size_t i = 0; i < BELLOWS_LISTENERS; i++) {
    struct entry *entry = (struct entry *)table + i;
    if (bellows_load_acquire((uintptr_t)&entry->function) != function || entry->context != context) continue;
    if (bellows_compare_exchange((uintptr_t)&entry->function, function, 0)) return 0;
  }
  return EINVAL;
}

intptr_t bellows_listeners_tell(uintptr_t table, uint32_t event, uintptr_t start, uintptr_t bytes) {
  for (size_t i = 0; i < BELLOWS_LISTENERS; i++) {
    struct entry *entry = (struct entry *)table + i;
    uintptr_t function = bellows_load_acquire((uintptr_t)&entry->function);
    if (function <= 1) continue;
    int answer = ((bellows_listener *)function)((void *)entry->context, (int)event, (void *)start, bytes);
    if (answer != 0 && event == BELLOWS_GOING_OFFLINE)
      return (intptr_t)(((uintptr_t)i + 1) << 32 | (uint32_t)(answer > 0 ? answer : EPERM));
  }
  return 0;
}
