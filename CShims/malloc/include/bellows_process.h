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

// ---- Threads of ours (Helper.swift, Control.swift) --------------------------------------------------------

// At the start: looks for the function that makes them.
void bellows_threads_start(void);
// Starts one, with every signal blocked and a small stack. False: no thread to be had. The helper is not started
// where the caller is another process than `process`; 0: that is not asked.
bool bellows_helper_start(uint32_t process);
bool bellows_worker_start(void);
// In the helper, when it ends and nobody waits for that; in who waits.
void bellows_helper_join(void);
void bellows_helper_main(void);
void bellows_worker_main(void);
// Waits by a futex, and may end early.
void bellows_sleep_milliseconds(uint64_t milliseconds);
uint32_t bellows_process_id(void);
// Whether the process never had a second thread.
bool bellows_is_single_threaded(void);

// What the helper knows of its own standing (sight.c). The helper's own, but for the first one.
enum {
  BELLOWS_CLEAR,
  BELLOWS_BLIND,     // no table of its own, or no /proc: it cannot know, and makes no call that malloc does not need
  BELLOWS_FILTERED,  // the same, for ever
  BELLOWS_DIFFERS,   // it has rights that the main thread has not, or the other way round
};
// Whether a filter is in force: asked at the start, once. Whether one was seen by anybody until now: a load.
bool bellows_is_filtered(void);
bool bellows_saw_filter(void);
// Whether the program may have put a filter in force: it has libseccomp, or its executable may have called prctl.
bool bellows_may_filter(void);
// The program's own code, of which none has run before, may do so from now on.
void bellows_filters_start(void);
// From now on every look says BELLOWS_BLIND, until the next bellows_sight_open.
void bellows_sight_close(void);
// Takes a table of descriptors of its own, with `keep` alone in it (-1: nothing), and looks. The thread gets the name. `is_wanted`:
// where there is no /proc, a filter is asked for in another way, this once.
uint32_t bellows_sight_open(int keep, uintptr_t name, bool is_wanted);
uint32_t bellows_sight_look(void);
// As of the last look: how many threads the process has, and whether the helper holds any capability.
uint32_t bellows_sight_threads(void);
bool bellows_sight_has_capability(void);
// A file of another thread in /proc, or -errno.
intptr_t bellows_sight_open_task(uint32_t tid, const char *name, int flags);
void bellows_sight_name_task(uint32_t tid, uintptr_t name);
// Whether that thread has no filter.
bool bellows_sight_is_clear(uint32_t tid);
// Whether thread `tid`, with `stack` an address on its stack and its two words at `words`, is blocked in a system
// call, other than to wait for `lock`, and was not interrupted in a hit path (Heap+Seize.swift). Takes about 50 us.
bool bellows_thread_is_parked(uint32_t process, uint32_t tid, uintptr_t stack, uintptr_t words, uintptr_t lock);
// Registers for bellows_barrier, which makes every running thread pass a memory barrier; false: it does not.
void bellows_barrier_start(void);
bool bellows_barrier(void);

// What others ask of the helper (Errand.swift). Zero at start.
struct bellows_errand {
  uint32_t state;
  uint32_t kind;
  uint32_t thread;
  uint32_t answer;
  uintptr_t stack;
  uintptr_t words;
  uintptr_t lock;
  uintptr_t bytes;
};

// ---- Control and limits -------------------------------------------------------------------------------------

// In the helper, whose table of descriptors is its own: opens the shared page (bellows_control.h). Its address, or 0.
uintptr_t bellows_control_open(void);
void bellows_control_close(uintptr_t page);
// In the child of a fork: the page is its parent's. Where a listener forked, the child goes on among the worker's steps.
void bellows_control_leave(uintptr_t page);

// What the front end remembers about its threads, control, limits and the log, zero at start.
struct bellows_watch {
  uint32_t control;            // Control.State
  uint32_t bell;               // a futex that the helper waits on: rung by whoever wants it
  uint64_t control_page;       // address, 0: none
  uintptr_t limit_function;    // called when a limit is crossed, and its argument
  uintptr_t limit_context;
  uint32_t limit_busy;
  uint32_t log_is_json;
  int32_t log_descriptor;
  uint32_t log_kind;           // 0 none, 1 a descriptor, 2 a file
  uint64_t log_returned;       // pages returned, as of the last line about it
  uint64_t log_time;           // and when that was
  uint32_t thread_ended;       // one of the program's threads has ended, and the helper has not looked yet
  uint32_t has_begun;          // the helper has: a futex
  uint32_t worker;             // the worker's number: a futex
  uint32_t is_blind;           // the helper is not to look: malloc's own calls suffice for it
  uint32_t is_unjoined;        // a helper has ended by itself, and nobody has waited for that
  uint32_t drains;             // drains that are under way, and homecomings
  uint64_t helper_failed;      // when no thread was to be had for it, 0: never
  struct bellows_errand errand;
  char log_path[512];
};
uintptr_t bellows_watch_address(void);
// Where the words are that are waited for or exchanged.
enum {
  BELLOWS_WATCH_CONTROL = offsetof(struct bellows_watch, control),
  BELLOWS_WATCH_BELL = offsetof(struct bellows_watch, bell),
  BELLOWS_WATCH_LIMIT_FUNCTION = offsetof(struct bellows_watch, limit_function),
  BELLOWS_WATCH_LIMIT_CONTEXT = offsetof(struct bellows_watch, limit_context),
  BELLOWS_WATCH_LIMIT_BUSY = offsetof(struct bellows_watch, limit_busy),
  BELLOWS_WATCH_THREAD_ENDED = offsetof(struct bellows_watch, thread_ended),
  BELLOWS_WATCH_IS_UNJOINED = offsetof(struct bellows_watch, is_unjoined),
  BELLOWS_WATCH_DRAINS = offsetof(struct bellows_watch, drains),
  BELLOWS_WATCH_HAS_BEGUN = offsetof(struct bellows_watch, has_begun),
  BELLOWS_WATCH_WORKER = offsetof(struct bellows_watch, worker),
  BELLOWS_WATCH_ERRAND = offsetof(struct bellows_watch, errand),
  BELLOWS_WATCH_LOG_PATH = offsetof(struct bellows_watch, log_path),
};
void bellows_limit_call(uintptr_t function, uintptr_t context, int which, uintptr_t held);

// ---- The log (log.c) ----------------------------------------------------------------------------------------

// Any thread: puts a line where the helper finds it. One that finds no room is counted as lost.
void bellows_log_put(uintptr_t text, uintptr_t length);
// Lines put and not yet written, and lines lost since that was last asked.
uint32_t bellows_log_waiting(void);
uint32_t bellows_log_lost(void);
void bellows_log_lose(uint32_t lines);
// The helper: opens the file at `path`, or takes `descriptor` over, which at the start is in its table. What it finds later
// must be what it was at the start.
void bellows_log_open(uintptr_t path, int descriptor);
bool bellows_log_was_opened(void);
bool bellows_log_is_open(void);
// The helper: writes a line without waiting, and all that were put, of which those count as lost that cannot be written.
bool bellows_log_write(uintptr_t text, uintptr_t length);
void bellows_log_write_waiting(void);
// The child of a fork has none of its parent's lines.
void bellows_log_forget(void);
// A new helper: what another one had open was in that one's table.
void bellows_log_leave(void);
// Makes a path absolute in `target`, 512 bytes; false where it does not fit.
bool bellows_absolute_path(uintptr_t path, uintptr_t length, uintptr_t target);
// Makes bellows_log_ended run at exit.
void bellows_log_at_exit(void);
void bellows_log_ended(void);

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
// The stack of a thread of its own: 0 the helper, 1 the worker; 0 bytes where there is none.
enum { BELLOWS_OWN_THREADS = 2 };
struct bellows_stack {
  uintptr_t start, bytes;
};
struct bellows_stack bellows_own_stack(int thread);

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
void bellows_glibc_forget(uint32_t parent);
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
