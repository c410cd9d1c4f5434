// A sandbox that ends the process for every system call that glibc's malloc does not need (firecracker#982,
// cloud-hypervisor#8329, hardened_malloc#97): whenever it comes, and for whom, memory goes on serving.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "check.h"

// What malloc needs, and what ends the program.
static const unsigned allowed[] = {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk,
                                   SYS_futex, SYS_read, SYS_write, SYS_exit, SYS_exit_group,
                                   // What the C library starts threads with.
                                   SYS_clone, SYS_clone3, SYS_rseq, SYS_set_robust_list, SYS_rt_sigprocmask, SYS_rt_sigaction};
enum { FOR_THREADS = 6 };

static void install(bool all, size_t count) {
  struct sock_filter code[2 + COUNT(allowed) + 1];
  size_t at = 0;
  code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < count; i++)
    code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], (unsigned char)(count - i), 0);
  code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {(unsigned short)at, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program) == 0);
}

static void enter(bool all) { install(all, COUNT(allowed) - FOR_THREADS); }

// nanosleep and what a thread's end takes are forbidden: threads wait by futex and never end.
static void nap(long milliseconds) {
  static int quiet;
  struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  syscall(SYS_futex, &quiet, FUTEX_WAIT_PRIVATE, 0, &span, NULL, 0);
}
static void wait_for(int *word) {
  while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0) nap(1);
}
static void set(int *word) { __atomic_store_n(word, 1, __ATOMIC_RELEASE); }

// Small blocks, runs, mappings of their own; all that malloc does, and rests in between, in which a helper looks.
static void serve(void) {
  for (int round = 0; round < 8; round++) {
    static _Thread_local void *blocks[3000];
    for (size_t i = 0; i < COUNT(blocks); i++) {
      size_t size = i % 10 == 0 ? 40000 : 16 + i;
      blocks[i] = i % 3 == 0 ? calloc(1, size) : malloc(size);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], 1, size);
    }
    char *huge = malloc(70 * MIB);
    CHECK(huge != NULL);
    huge[0] = huge[70 * MIB - 1] = 1;
    CHECK((huge = realloc(huge, 90 * MIB)) != NULL);
    for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
    free(huge);
    if (round % 4 == 3) malloc_trim(0);
    nap(30);
  }
}

// A thread's start takes calls that are forbidden afterwards: it says when it is there.
static int is_born, is_there, may_go, is_done[2];

static void *early(void *done) {
  free(laundered(malloc(100)));
  set(&is_born);
  wait_for(&may_go);
  serve();
  set(done);
  for (;;) nap(1000000);
  return NULL;
}
static void *untouched(void *done) {
  set(&is_there);
  wait_for(&may_go);
  serve();
  set(done);
  for (;;) nap(1000000);
  return NULL;
}
static void *filtered(void *done) {
  free(laundered(malloc(100)));
  set(&is_born);
  wait_for(&may_go);
  enter(false);
  return early(done);
}

static void start(void *(*body)(void *), int *done) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, done) == 0);
}
static void finish(void) {
  // printf asks what its file is.
  CHECK(write(STDOUT_FILENO, "ok\n", 3) == 3);
  _exit(0);
}

// alone: one thread, before its heap is large.
static void alone(int argc, char **argv) {
  (void)argc, (void)argv;
  free(laundered(malloc(100)));
  enter(true);
  serve();
  finish();
}

// all [wait=MS] [large]: for all threads; one has used malloc, another has not; the heap is small or large then.
static void all(int argc, char **argv) {
  start(early, &is_done[0]);
  wait_for(&is_born);
  start(untouched, &is_done[1]);
  wait_for(&is_there);
  if (option(argc, argv, "large", 0)) serve();
  nap(option(argc, argv, "wait", 0));
  enter(true);
  set(&may_go);
  serve();
  wait_for(&is_done[0]), wait_for(&is_done[1]);
  finish();
}

// before: the first of several threads is made under a filter, which allows that.
static void before(int argc, char **argv) {
  install(true, COUNT(allowed));
  if (option(argc, argv, "large", 0)) serve();
  start(early, &is_done[0]);
  wait_for(&is_born);
  set(&may_go);
  serve();
  wait_for(&is_done[0]);
  finish();
}

// one: for one thread only. The others are served as ever, and what they free goes back.
static void one(int argc, char **argv) {
  (void)argc, (void)argv;
  start(filtered, &is_done[0]);
  wait_for(&is_born);
  set(&may_go);
  serve();
  wait_for(&is_done[0]);
  finish();
}

// main: for the first thread only.
static void first(int argc, char **argv) {
  (void)argc, (void)argv;
  start(early, &is_done[0]);
  wait_for(&is_born);
  enter(false);
  set(&may_go);
  serve();
  wait_for(&is_done[0]);
  finish();
}

// gives-back: after a filter for all, what is freed goes back without a call of the program's.
static void gives_back(int argc, char **argv) {
  (void)argc, (void)argv;
  start(early, &is_done[0]);
  wait_for(&is_born);
  nap(50);
  int figures = open("/proc/self/statm", O_RDONLY);
  static char *blocks[2000];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = memset(malloc(50000), 1, 50000);
  enter(true);
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  nap(1500);
  char text[128];
  ssize_t length = read(figures, text, sizeof text - 1);
  CHECK(length > 0);
  text[length] = 0;
  long resident = strtol(strchr(text, ' '), NULL, 10) * 4;
  CHECK(resident < 40000, "%ld KiB", resident);
  finish();
}

// inherited: a service manager's filter, which knows what programs did when it was written.
static void threads(int argc, char **argv) {
  (void)argc, (void)argv;
  start(early, &is_done[0]);
  wait_for(&is_born);
  set(&may_go);
  serve();
  wait_for(&is_done[0]);
  finish();
}
static void inherited(int argc, char **argv) {
  (void)argc, (void)argv;
  static const unsigned forbidden[] = {SYS_close_range, SYS_memfd_create, SYS_membarrier, SYS_process_vm_readv,
                                       SYS_fchmod, SYS_ftruncate};
  struct sock_filter code[COUNT(forbidden) + 3];
  size_t count = COUNT(forbidden), at = 0;
  code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < count; i++)
    code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden[i], (unsigned char)(count - i), 0);
  code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  struct sock_fprog program = {(unsigned short)at, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
  execl("/proc/self/exe", "sandbox", "threads", NULL);
  CHECK(false);
}

int main(int argc, char **argv) {
  const struct command commands[] = {
      {"alone", alone}, {"all", all}, {"before", before}, {"one", one}, {"first", first}, {"gives-back", gives_back},
      {"threads", threads}, {"inherited", inherited}};
  return run_command(commands, COUNT(commands), argc, argv);
}
