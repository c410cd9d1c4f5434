// What the threads of control know about the request under way and about whoever asked (Control+Client.swift).
#ifndef BELLOWS_CLIENT_H
#define BELLOWS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

struct bellows_client {
  uint32_t phase;      // a futex: Control.Client.Phase
  uint32_t cancelled;  // not 0: the request under way is to end
  uint32_t state;      // what the page's word is while it is under way
  int32_t file;        // the helper's descriptor of the page; -1: none
};
uintptr_t bellows_client_address(void);

// Whether anybody else has a lock on the file.
bool bellows_client_is_locked(int file);

#endif
