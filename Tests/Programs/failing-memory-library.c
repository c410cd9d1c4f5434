// Preloaded beside the library under test: once armed, fails the n-th of the memory system calls that the library makes (or all
// from the n-th on) with ENOMEM. The library makes them by the instruction, so a filter of the kernel's turns those that come
// from its code into a signal, whose handler makes the call itself or answers for it. A thread with all signals
// blocked cannot bear that: to be run with BELLOWS_THREAD=0.
#include <errno.h>
#include <dlfcn.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static _Atomic long calls, first_failing = -1, failed;
static _Atomic int all_following;

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

static void trapped(int signal, siginfo_t *info, void *context) {
  (void)signal;
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  r[REG_RAX] = fails() ? -ENOMEM
                       : raw(info->si_syscall, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
}

// The code of the object that malloc is in.
struct code {
  uintptr_t malloc, start, end;
};
static int find_code(struct dl_phdr_info *object, size_t size, void *argument) {
  (void)size;
  struct code *code = argument;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    uintptr_t start = object->dlpi_addr + part->p_vaddr;
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || code->malloc - start >= part->p_memsz) continue;
    code->start = start, code->end = start + part->p_memsz;
    return 1;
  }
  return 0;
}

static void stand_in_the_way(void) {
  static int done;
  if (done++) return;
  struct code code = {.malloc = (uintptr_t)dlsym(RTLD_DEFAULT, "malloc")};
  if (!dl_iterate_phdr(find_code, &code) || code.start >> 32 != code.end >> 32) abort();
  struct sigaction action = {.sa_sigaction = trapped, .sa_flags = (int)(SA_SIGINFO | SA_NODEFER | SA_RESTART)};
  if (sigaction(SIGSYS, &action, NULL) != 0) abort();
#define NUMBER offsetof(struct seccomp_data, nr)
#define PLACE offsetof(struct seccomp_data, instruction_pointer)
#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, what)
#define UNLESS(test, value, skip) BPF_JUMP(BPF_JMP | test | BPF_K, (uint32_t)(value), 0, skip)
#define IF(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
  struct sock_filter program[] = {
      LOAD(PLACE + 4), UNLESS(BPF_JEQ, code.start >> 32, 12), LOAD(PLACE), UNLESS(BPF_JGE, code.start, 10),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)code.end, 9, 0), LOAD(NUMBER), IF(SYS_mmap, 6), IF(SYS_munmap, 5),
      IF(SYS_mprotect, 4), IF(SYS_madvise, 3), IF(SYS_mremap, 2), IF(SYS_mbind, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) abort();
}

// n < 0 disarms. Calls are counted from 1 after arming.
void failing_memory_arm(long n, int and_all_following) {
  stand_in_the_way();
  first_failing = -1;
  calls = 0;
  failed = 0;
  all_following = and_all_following;
  first_failing = n;
}
long failing_memory_calls(void) { return calls; }
long failing_memory_failed(void) { return failed; }
