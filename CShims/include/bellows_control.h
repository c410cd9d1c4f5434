// The page that a process which takes commands shares with whoever may open it: one request at a time, one answer.
//
// It is a memfd that one thread of the process alone has open (its table of descriptors is its own), sealed in its size and readable for its user only.
// The tool opens it through /proc/PID/task/TID/fd, where the kernel checks who asks; no port and no file name exist. Where there
// is no /proc it takes the thread's descriptor (pidfd_getfd), which the kernel checks alike.
//
//        tool: request written            thread: takes it            thread: answer written
//   IDLE ─────────────────────► REQUESTED ────────────────► TAKEN ──────────────────────────► DONE ─► IDLE
//     ▲      tool gave up, or      │                          │                                 tool has read it
//     ├──── the thread: too late ──┘                          │
//     └──── the thread: nobody holds the lock ────────────────┘
//
// `state` holds the request's number above its two bits of phase, so that an answer is never taken for another
// request's. A tool holds a lock on the whole file (F_SETLK) from before its request until it has read the answer; the
// kernel opens it when its holder ends, however that comes. What is asked without it is not done, and a request ends
// within 50 ms when the lock is gone, `cancelled` is not 0, or `state` is not what the process made it.
//
// Both sides take nothing that the other one wrote for granted; whoever may open the page may write anything at any time.
// The process writes the words up to `version` anew, and a TAKEN of which it knows nothing back to IDLE, whenever it is
// woken by `state`. So a tool that finds them wrong wakes it, and asks; under the lock it may overwrite any state.
#ifndef BELLOWS_CONTROL_H
#define BELLOWS_CONTROL_H

#include <stdint.h>

#include "bellows.h"

#define BELLOWS_CONTROL_NAME "bellows-control"
#define BELLOWS_CONTROL_MAGIC 0x006c7274436c6c42

enum { BELLOWS_CONTROL_LAYOUT = 3, BELLOWS_CONTROL_BYTES = 8192 };

enum { BELLOWS_IDLE, BELLOWS_REQUESTED, BELLOWS_TAKEN, BELLOWS_DONE };

enum {
  BELLOWS_ASK_TRIM = 1,  // (bytes to keep)                    -> bytes returned, free and resident bytes left
  BELLOWS_ASK_LIMIT,     // (soft, hard; ~0: leave it as it is) -> soft, hard, held
  BELLOWS_ASK_OFFLINE,   // (bytes, or an address in a section, flags, milliseconds) -> report
  BELLOWS_ASK_ONLINE,    // (bytes, or an address in a section)  -> bytes that came
  BELLOWS_ASK_DRAIN,     // (node, milliseconds)               -> bytes moved, of how many, as it goes on; drain
  BELLOWS_ASK_HOME,      // the same, the other way
};

struct bellows_control {
  uint64_t magic;
  uint32_t layout;
  uint32_t process;   // its number in its own PID namespace
  char version[16];
  uint64_t header;    // the address of its bellows_header
  uint32_t state;     // a futex: number << 2 | phase
  int cancelled;      // not 0: nobody waits for the request any more

  // The tool's.
  uint32_t command;
  uint32_t reserved;
  uint64_t deadline;  // CLOCK_MONOTONIC in milliseconds: later than this the request is dropped
  uint64_t arguments[8];

  // The process'.
  int32_t error;      // an errno, or 0
  uint32_t unused;
  uint64_t results[8];
  struct bellows_offline_report report;
  struct bellows_drain_report drain;
};

_Static_assert(sizeof(struct bellows_control) <= BELLOWS_CONTROL_BYTES, "fits the shared pages");

static inline uintptr_t bellows_control_state(uintptr_t page) {
  return (uintptr_t) & ((struct bellows_control *)page)->state;
}
static inline uintptr_t bellows_control_cancelled(uintptr_t page) {
  return (uintptr_t) & ((struct bellows_control *)page)->cancelled;
}
static inline uint64_t bellows_control_argument(uintptr_t page, int index) {
  return __atomic_load_n(&((struct bellows_control *)page)->arguments[index & 7], __ATOMIC_RELAXED);
}
static inline void bellows_control_set_argument(uintptr_t page, int index, uint64_t value) {
  __atomic_store_n(&((struct bellows_control *)page)->arguments[index & 7], value, __ATOMIC_RELAXED);
}
static inline uint64_t bellows_control_result(uintptr_t page, int index) {
  return __atomic_load_n(&((struct bellows_control *)page)->results[index & 7], __ATOMIC_RELAXED);
}
static inline void bellows_control_set_result(uintptr_t page, int index, uint64_t value) {
  __atomic_store_n(&((struct bellows_control *)page)->results[index & 7], value, __ATOMIC_RELAXED);
}
static inline uintptr_t bellows_control_report(uintptr_t page) {
  return (uintptr_t) & ((struct bellows_control *)page)->report;
}
static inline uintptr_t bellows_control_drain(uintptr_t page) {
  return (uintptr_t) & ((struct bellows_control *)page)->drain;
}
// The report has tables, which Swift takes for tuples.
static inline uint32_t bellows_control_pieces(uintptr_t page, int order) {
  return ((struct bellows_control *)page)->report.pieces[order % 19];
}
static inline struct bellows_blocker bellows_control_blocker(uintptr_t page, int index) {
  return ((struct bellows_control *)page)->report.blockers[index % 48];
}

#endif
