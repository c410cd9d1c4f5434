// C++ operator new: as malloc, but failure calls the program's new handler until there is none, and then throws.
// The run-time's functions are those of libstdc++ and libc++, if the program has one of them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>

#include "bellows_process.h"
#include "bellows_shims.h"

typedef void (*handler)(void);
extern handler _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

static bool call_new_handler(void) {
  handler installed = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
  if (installed == NULL) return false;
  installed();
  return true;
}

static void fail(void) {
  if (_ZSt17__throw_bad_allocv) _ZSt17__throw_bad_allocv();
  static const char line[] = "bellows: operator new: out of memory, and no C++ run-time to throw with\n";
  bellows_write(2, (uintptr_t)line, sizeof line - 1);
  bellows_abort();
}

uintptr_t bellows_new_miss(uintptr_t bytes) {
  for (;;) {
    uintptr_t block = bellows_malloc_again(bytes);
    if (block != 0) return block;
    if (!call_new_handler()) fail();
  }
}

// The nothrow forms must turn an exception of the new handler into a null pointer, which takes C++: where a
// handler is installed, the run-time's own form does it, by calling the throwing form here.
static bool has_new_handler(void) { return _ZSt15get_new_handlerv && _ZSt15get_new_handlerv() != NULL; }

__attribute__((visibility("hidden"))) uintptr_t bw_new_nothrow(uintptr_t bytes, uintptr_t tag) {
  uintptr_t block = bellows_malloc_again(bytes);
  if (block != 0 || !has_new_handler()) return block;
  uintptr_t (*next)(uintptr_t, uintptr_t) =
      (uintptr_t(*)(uintptr_t, uintptr_t))dlsym(RTLD_NEXT, "_ZnwmRKSt9nothrow_t");
  return next ? next(bytes, tag) : 0;
}

__attribute__((visibility("hidden"))) uintptr_t bw_new_aligned(uintptr_t bytes, uintptr_t alignment) {
  for (;;) {
    uintptr_t block = bellows_allocate_aligned(alignment, bytes);
    if (block != 0) return block;
    if (!call_new_handler()) fail();
  }
}

__attribute__((visibility("hidden"))) uintptr_t bw_new_aligned_nothrow(uintptr_t bytes, uintptr_t alignment,
                                                                     uintptr_t tag) {
  uintptr_t block = bellows_allocate_aligned(alignment, bytes);
  if (block != 0 || !has_new_handler()) return block;
  uintptr_t (*next)(uintptr_t, uintptr_t, uintptr_t) =
      (uintptr_t(*)(uintptr_t, uintptr_t, uintptr_t))dlsym(RTLD_NEXT, "_ZnwmSt11align_val_tRKSt9nothrow_t");
  return next ? next(bytes, alignment, tag) : 0;
}

// The names of these for the world.
#define NAMED(name, of, ...) \
  __attribute__((alias(#of), visibility("default"))) uintptr_t name(uintptr_t bytes, __VA_ARGS__);
NAMED(_ZnwmRKSt9nothrow_t, bw_new_nothrow, uintptr_t tag)
NAMED(_ZnamRKSt9nothrow_t, bw_new_nothrow, uintptr_t tag)
NAMED(_ZnwmSt11align_val_t, bw_new_aligned, uintptr_t alignment)
NAMED(_ZnamSt11align_val_t, bw_new_aligned, uintptr_t alignment)
NAMED(_ZnwmSt11align_val_tRKSt9nothrow_t, bw_new_aligned_nothrow, uintptr_t alignment, uintptr_t tag)
NAMED(_ZnamSt11align_val_tRKSt9nothrow_t, bw_new_aligned_nothrow, uintptr_t alignment, uintptr_t tag)
