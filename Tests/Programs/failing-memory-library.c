// Preloaded before the library under test: stands in the way of its memory system calls and, once
// armed, fails the n-th of them (or all from the n-th on) with ENOMEM. The calls themselves are
// made here by the instruction, so that nothing comes between.
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>

static _Atomic long calls, first_failing = -1, failed;
static _Atomic int all_following;

// n < 0 disarms. Calls are counted from 1 after arming.
void failing_memory_arm(long n, int and_all_following) {
  first_failing = -1;
  calls = 0;
  failed = 0;
  all_following = and_all_following;
  first_failing = n;
}
long failing_memory_calls(void) { return calls; }
long failing_memory_failed(void) { return failed; }

static int fails(void) {
  long call = ++calls, first = first_failing;
  if (first < 0 || call < first || (call > first && !all_following)) return 0;
  failed++;
  return 1;
}
static long raw(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
static long made(long number, long a, long b, long c, long d, long e, long f) {
  long result = fails() ? -ENOMEM : raw(number, a, b, c, d, e, f);
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  return (void *)made(SYS_mmap, (long)address, (long)length, protection, flags, file, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  return (void *)made(SYS_mmap, (long)address, (long)length, protection, flags, file, offset);
}
int munmap(void *address, size_t length) {
  return (int)made(SYS_munmap, (long)address, (long)length, 0, 0, 0, 0);
}
int mprotect(void *address, size_t length, int protection) {
  return (int)made(SYS_mprotect, (long)address, (long)length, protection, 0, 0, 0);
}
int madvise(void *address, size_t length, int advice) {
  return (int)made(SYS_madvise, (long)address, (long)length, advice, 0, 0, 0);
}
ssize_t process_madvise(int process, const void *vector, size_t count, int advice, unsigned flags) {
  return made(SYS_process_madvise, process, (long)vector, (long)count, advice, flags, 0);
}
long mbind(void *address, unsigned long length, int mode, const unsigned long *nodes, unsigned long highest,
           unsigned flags) {
  return made(SYS_mbind, (long)address, (long)length, mode, (long)nodes, (long)highest, flags);
}
void *mremap(void *address, size_t length, size_t new_length, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  long target = (flags & 2 /* MREMAP_FIXED */) || (flags & 4 /* MREMAP_DONTUNMAP */) ? va_arg(arguments, long) : 0;
  va_end(arguments);
  return (void *)made(SYS_mremap, (long)address, (long)length, (long)new_length, flags, target, 0);
}
// The same calls by their numbers.
long syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
  va_end(arguments);
  switch (number) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_mremap:
    case SYS_mbind:
    case SYS_process_madvise: return made(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    default: break;
  }
  long result = raw(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
