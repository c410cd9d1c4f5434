// What the malloc of a process needs beside the engine: thread exit, fork, environment, glibc's own heap.
#ifndef BELLOWS_PROCESS_H
#define BELLOWS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bellows.h"

void bellows_set_errno(int value);
int bellows_errno(void);

// ---- For readers in other processes ----------------------------------------------------------------------

// Where the process header is (bellows_header.h); Process.swift fills it.
uintptr_t bellows_header_address(void);

// ---- Threads ------------------------------------------------------------------------------------------

// Makes bellows_thread_ended (Swift) run when the calling thread ends, with `heap`; false if it cannot.
bool bellows_thread_watch(uintptr_t heap);
// Makes the key for it. False: no key is left, and heaps of ended threads are not reused.
bool bellows_thread_watch_start(void);
void bellows_thread_ended(uintptr_t heap);

// ---- The helper thread ----------------------------------------------------------------------------------

// Starts it, with every signal blocked, a small stack and the name "bellows". False: no thread to be had.
bool bellows_helper_start(void);
void bellows_helper_main(void);
// ---- The control thread (Control.swift) -----------------------------------------------------------------

// Two threads, started like the helper. The holder has a table of descriptors of its own with nothing in it but the
// shared page (bellows_control.h); the worker does what is asked, with the program's table: the program's listeners
// run in it.
bool bellows_holder_start(void);
bool bellows_worker_start(void);
void bellows_holder_main(void);
void bellows_worker_main(void);
// In the holder: opens the shared page. Answers its address, or 0.
uintptr_t bellows_control_open(void);

// What the front end remembers about control, limits and the log, zero at start.
struct bellows_watch {
  uint32_t control;            // Control.State
  uint32_t holder;             // Control.Holder
  uint64_t control_page;       // address, 0: none
  uintptr_t limit_function;    // called when a limit is crossed, and its argument
  uintptr_t limit_context;
  uint32_t limit_busy;
  int32_t log_descriptor;
  uint32_t log_is_json;
  uint32_t log_kind;           // 0 none, 1 a descriptor, 2 a file
  uint64_t log_returned;       // pages returned, as of the last line about it
  uint64_t log_time;           // and when that was
  char log_path[512];
};
uintptr_t bellows_watch_address(void);
void bellows_limit_call(uintptr_t function, uintptr_t context, int which, uintptr_t held);
// Appends to the log file; opened for each line, so that it outlives a program that closes what it does not know.
void bellows_log_append(uintptr_t path, uintptr_t text, uintptr_t length);
// The time in milliseconds since 1970.
uint64_t bellows_wall_milliseconds(void);
// Makes a path absolute in `target`, 512 bytes; false where it does not fit.
bool bellows_absolute_path(uintptr_t path, uintptr_t length, uintptr_t target);

// ---- Threads of the process -------------------------------------------------------------------------------

// Whether the process never had a second thread.
bool bellows_is_single_threaded(void);
// Whether `own` threads of ours and a main thread that has ended are all that is left.
bool bellows_is_last_thread(uint32_t own);
uint32_t bellows_process_id(void);
// Whether thread `tid`, with `stack` an address on its stack and its two words at `words`, is blocked in a system
// call, other than to wait for `lock`, and was not interrupted in a hit path (Heap+Seize.swift). Takes about 50 us.
bool bellows_thread_is_parked(uint32_t tid, uintptr_t stack, uintptr_t words, uintptr_t lock);
// Whether the calling thread is under a seccomp filter.
bool bellows_is_filtered(void);
// Registers for bellows_barrier, which makes every running thread pass a memory barrier.
void bellows_barrier_start(void);
void bellows_barrier(void);
void bellows_sleep_milliseconds(uint64_t milliseconds);

// ---- Listeners -------------------------------------------------------------------------------------------

enum { BELLOWS_LISTENERS = 16, BELLOWS_LISTENER_BYTES = 16 };
// A table of listeners (bellows.h) in zeroed memory of BELLOWS_LISTENERS * BELLOWS_LISTENER_BYTES. Adding and removing
// answer 0 or an errno.
int bellows_listeners_add(uintptr_t table, uintptr_t function, uintptr_t context);
int bellows_listeners_remove(uintptr_t table, uintptr_t function, uintptr_t context);
// Tells all of them, in order; to BELLOWS_GOING_OFFLINE the first errno that one answers ends it, and its number is in
// the upper half of the answer.
intptr_t bellows_listeners_tell(uintptr_t table, uint32_t event, uintptr_t start, uintptr_t bytes);

// Tells a program how far a drain is (bellows_drain_progress).
int bellows_drain_tell(uintptr_t function, uintptr_t context, uintptr_t done, uintptr_t total);
// The library's own static storage that is not part of its file.
uintptr_t bellows_storage_start(void);
uintptr_t bellows_storage_end(void);

// Sets an element of a report's arrays, which Swift has as tuples.
static inline void bellows_report_pieces(uintptr_t report, uint32_t order, uint32_t count) {
  ((struct bellows_offline_report *)report)->pieces[order] = count;
}
static inline void bellows_report_blocker(uintptr_t report, uint32_t place, struct bellows_blocker blocker) {
  ((struct bellows_offline_report *)report)->blockers[place] = blocker;
}

// ---- Start and fork: called from C, defined in Swift -----------------------------------------------------

// Makes the three below run around fork. Called once, before any constructor registers its own: what runs before the fork is
// run in the reverse order, and what runs after it in this, so that other libraries' handlers find malloc at work.
void bellows_fork_watch_start(void);
void bellows_started(void);
void bellows_fork_prepare(void);
void bellows_fork_parent(void);
void bellows_fork_child(void);
void bellows_ended(void);
// Makes bellows_ended run at exit.
void bellows_at_exit(void);

// ---- Environment --------------------------------------------------------------------------------------

// The i-th entry of the environment that starts with "BELLOWS_", behind that prefix; 0 at the end. Nothing
// in a set-user-ID program.
uintptr_t bellows_environment(uintptr_t i);

// Whether plug-ins may be bound to libc's malloc (plugin.c): by a switch, or because that is the program's, too.
bool bellows_keeps_deep_binding(void);  // Swift

// ---- glibc's own heap -----------------------------------------------------------------------------------
// Blocks that glibc's malloc handed out reach our free when glibc was bound first: RTLD_DEEPBIND plug-ins,
// auditors. Found with dlsym(RTLD_NEXT), which may allocate: no lock may be held.

// At set-up: remembers where the break is.
void bellows_glibc_start(void);
// Whether glibc's malloc has handed out memory and `block` looks like a chunk of it.
bool bellows_glibc_owns(uintptr_t block);
void bellows_glibc_free(uintptr_t block);
uintptr_t bellows_glibc_usable_size(uintptr_t block);
// For systems where Bellows steps aside.
uintptr_t bellows_glibc_allocate(uintptr_t bytes, uintptr_t alignment);
uintptr_t bellows_glibc_reallocate(uintptr_t block, uintptr_t bytes);

// ---- operator new -----------------------------------------------------------------------------------------
// In C, because an exception is thrown through it: Embedded Swift functions have no unwind tables. The Swift
// hit path jumps here.

uintptr_t bellows_new_miss(uintptr_t bytes);
uintptr_t bellows_malloc_again(uintptr_t bytes);                             // Swift
uintptr_t bellows_allocate_aligned(uintptr_t alignment, uintptr_t bytes);  // Swift

// ---- Structures of the malloc ABI ------------------------------------------------------------------------

struct bellows_mallinfo {
  int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct bellows_mallinfo2 {
  size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
void bellows_file_write(uintptr_t file, uintptr_t text, uintptr_t length);

#endif
