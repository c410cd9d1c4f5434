// System calls, made inline.
//
// Not through libc: its functions are cancellation points, and programs and preloads replace them (torsocks has a `syscall` of
// its own, others `open` and `mmap`), so that a call of ours would end a thread inside free, or land in code that allocates. The
// kernel's own answer comes back, -errno where it refuses; errno is not touched. No retry after EINTR.
//
// The thread sanitizer has to see memory come and go: its builds go through libc.
#ifndef BELLOWS_CALLS_H
#define BELLOWS_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define BELLOWS_CALLS_THROUGH_LIBC 1
#endif
#endif

#ifdef BELLOWS_CALLS_THROUGH_LIBC

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

// Of whoever includes this not all ask for the C library's extensions.
extern void *mremap(void *address, size_t length, size_t new_length, int flags, ...);
extern long syscall(long number, ...);

static inline intptr_t bellows_call6(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                                     uintptr_t f) {
  int saved = errno;
  intptr_t result;
  switch (number) {
    case SYS_mmap: result = (intptr_t)mmap((void *)a, b, (int)c, (int)d, (int)e, (off_t)f); break;
    case SYS_munmap: result = munmap((void *)a, b); break;
    case SYS_mprotect: result = mprotect((void *)a, b, (int)c); break;
    case SYS_madvise: result = madvise((void *)a, b, (int)c); break;
    case SYS_mremap: result = (intptr_t)mremap((void *)a, b, c, (int)d, (void *)e); break;
    default: result = syscall(number, a, b, c, d, e, f);
  }
  if (result == -1) result = -errno;
  errno = saved;
  return result;
}

// ---- The architecture's part ---------------------------------------------------------------------------

#elif defined(__x86_64__)

static inline intptr_t bellows_call6(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                                     uintptr_t f) {
  intptr_t result;
  register uintptr_t r10 __asm__("r10") = d;
  register uintptr_t r8 __asm__("r8") = e;
  register uintptr_t r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

static inline intptr_t bellows_call6(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                                     uintptr_t f) {
  register uintptr_t x8 __asm__("x8") = (uintptr_t)number;
  register uintptr_t x0 __asm__("x0") = a;
  register uintptr_t x1 __asm__("x1") = b;
  register uintptr_t x2 __asm__("x2") = c;
  register uintptr_t x3 __asm__("x3") = d;
  register uintptr_t x4 __asm__("x4") = e;
  register uintptr_t x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return (intptr_t)x0;
}

#else
#error "bellows_calls.h: how are system calls made here?"
#endif

// ---- With as many arguments as the call has: bellows_call(SYS_x, ...) --------------------------------------

#define BELLOWS_CALL_0(n) bellows_call6(n, 0, 0, 0, 0, 0, 0)
#define BELLOWS_CALL_1(n, a) bellows_call6(n, (uintptr_t)(a), 0, 0, 0, 0, 0)
#define BELLOWS_CALL_2(n, a, b) bellows_call6(n, (uintptr_t)(a), (uintptr_t)(b), 0, 0, 0, 0)
#define BELLOWS_CALL_3(n, a, b, c) bellows_call6(n, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), 0, 0, 0)
#define BELLOWS_CALL_4(n, a, b, c, d) \
  bellows_call6(n, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(d), 0, 0)
#define BELLOWS_CALL_5(n, a, b, c, d, e) \
  bellows_call6(n, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(d), (uintptr_t)(e), 0)
#define BELLOWS_CALL_6(n, a, b, c, d, e, f) \
  bellows_call6(n, (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(d), (uintptr_t)(e), (uintptr_t)(f))
#define BELLOWS_CALL_PICK(n, a, b, c, d, e, f, form, ...) form
#define bellows_call(...)                                                                                  \
  BELLOWS_CALL_PICK(__VA_ARGS__, BELLOWS_CALL_6, BELLOWS_CALL_5, BELLOWS_CALL_4, BELLOWS_CALL_3, BELLOWS_CALL_2, \
                    BELLOWS_CALL_1, BELLOWS_CALL_0, 0)                                                            \
  (__VA_ARGS__)

// openat, which every architecture has.
static inline intptr_t bellows_open(const char *path, int flags, int mode) {
  enum { HERE = -100 };
  return bellows_call(SYS_openat, HERE, path, flags, mode);
}
static inline intptr_t bellows_read(int file, void *target, size_t length) {
  return bellows_call(SYS_read, file, target, length);
}
static inline intptr_t bellows_close(int file) { return bellows_call(SYS_close, file); }

#endif
