// What the malloc of a process needs beside the engine: thread exit, fork, environment, glibc's own heap.
#ifndef BELLOWS_PROCESS_H
#define BELLOWS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void bellows_set_errno(int value);
int bellows_errno(void);

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
// Whether the process never had a second thread.
bool bellows_is_single_threaded(void);
// Whether the calling thread and a main thread that has ended are all that is left.
bool bellows_is_last_thread(void);
uint32_t bellows_process_id(void);
// Whether thread `tid`, with `stack` an address on its stack, is blocked in a system call, other than to wait for
// `lock`, and was not interrupted in a hit path (Heap+Seize.swift). Takes about 50 us.
bool bellows_thread_is_parked(uint32_t tid, uintptr_t stack, uintptr_t lock);
// Whether the calling thread is under a seccomp filter.
bool bellows_is_filtered(void);
// Registers for bellows_barrier, which makes every running thread pass a memory barrier.
void bellows_barrier_start(void);
void bellows_barrier(void);
void bellows_sleep_milliseconds(uint64_t milliseconds);

// ---- Start and fork: called from C, defined in Swift -----------------------------------------------------

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

// ---- glibc's own heap -----------------------------------------------------------------------------------
// Blocks that glibc's malloc handed out reach our free when glibc was bound first: RTLD_DEEPBIND plug-ins,
// auditors. Found with dlsym(RTLD_NEXT), which may allocate: no lock may be held.

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
// The descriptor of a FILE, after its buffer was flushed; -1: it has none.
int bellows_file_descriptor(uintptr_t file);
void bellows_file_write(uintptr_t file, uintptr_t text, uintptr_t length);

#endif
