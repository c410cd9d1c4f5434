// Rights that the main thread gives up, namespaces that want a single thread, and how many threads there are.
#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

static void *work(void *argument) {
  static _Thread_local void *blocks[2000];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = memset(malloc(9000), 1, 9000);
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  return argument;
}
static void *work_and_wait(void *argument) {
  work(NULL);
  for (;;) pause();
  return argument;
}
static void start(void *(*body)(void *), bool joins) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
  if (joins) pthread_join(thread, NULL);
}

// Calls `see` with the text of each thread's status but those of the program's own; answers how many threads there are.
static int for_each_thread(void (*see)(const char *)) {
  DIR *folder = opendir("/proc/self/task");
  CHECK(folder != NULL);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    char path[300], text[8192];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    int file = open(path, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (length <= 0) continue;
    text[length] = 0, count++;
    if (see != NULL) see(text);
  }
  closedir(folder);
  return count;
}
static void expect_no_rights(const char *status) {
  if (strncmp(status, "Name:\tbellows", 13) != 0) return;
  CHECK(strstr(status, "CapEff:\t0000000000000000") && strstr(status, "NoNewPrivs:\t1"), "%s", status);
}

// dropped [large] [threads]: no thread of the library keeps what the main thread gave up.
static void dropped(int argc, char **argv) {
  if (option(argc, argv, "threads", 0)) start(work, true), start(work_and_wait, false);
  if (option(argc, argv, "large", 0)) work(NULL), free(memset(malloc(20 * MIB), 1, 20 * MIB));
  usleep(300000);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof none);
  CHECK(syscall(SYS_capset, &header, none) == 0);
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  usleep(800000);
  for_each_thread(expect_no_rights);
  // And memory goes on serving.
  work(NULL);
}

// setuid: the C library has every thread follow, and aborts where one cannot.
static void become_another(int argc, char **argv) {
  (void)argc, (void)argv;
  start(work_and_wait, false);
  work(NULL);
  usleep(300000);
  int threads = for_each_thread(NULL);
  CHECK(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
  usleep(300000);
  work(NULL);
  CHECK(geteuid() == 65534);
  // They followed, and have what the program has: no reason to go.
  CHECK(for_each_thread(NULL) == threads, "%d, were %d", for_each_thread(NULL), threads);
}

// unshare: what wants a single thread works when the program's threads have ended.
static void unshare_users(int argc, char **argv) {
  (void)argc, (void)argv;
  for (int round = 0; round < 3; round++) {
    start(work, true);
    for (int tries = 0; for_each_thread(NULL) > 1 && tries < 300; tries++) rest(10);
    CHECK(for_each_thread(NULL) == 1, "round %d", round);
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EPERM || WEXITSTATUS(status) == ENOSPC, "%#x", status);
  }
  CHECK(unshare(CLONE_NEWUSER) == 0 || errno == EPERM || errno == ENOSPC);
}

// again: the program has called prctl. A helper comes with the first thread each time, and has gone when the last has ended.
static int seen;
static void *count_here(void *argument) {
  free(laundered(malloc(100)));
  seen = for_each_thread(NULL);
  return argument;
}
static void come_again(int argc, char **argv) {
  (void)argc, (void)argv;
  CHECK(prctl(PR_SET_NAME, "again", 0, 0, 0) == 0);
  for (int round = 0; round < 50; round++) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, count_here, NULL) == 0 && pthread_join(thread, NULL) == 0);
    // Who has ended is still listed for a moment.
    for (int tries = 0; for_each_thread(NULL) > 1 && tries < 300; tries++) rest(10);
    CHECK(seen == 3 && for_each_thread(NULL) == 1, "round %d: %d, then %d", round, seen, for_each_thread(NULL));
  }
}

// count N [large] [thread]: how many threads there are in the end.
static void count_threads(int argc, char **argv) {
  if (option(argc, argv, "large", 0)) work(NULL), free(laundered(memset(malloc(20 * MIB), 1, 20 * MIB)));
  else for (size_t i = 0; i < 1000; i++) free(laundered(malloc(i)));
  if (option(argc, argv, "thread", 0)) start(work_and_wait, false);
  long most = number_at(argc, argv, 0, 1);
  for (int tries = 0; for_each_thread(NULL) != most && tries < 200; tries++) rest(10);
  CHECK(for_each_thread(NULL) == most, "%d", for_each_thread(NULL));
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"dropped", dropped}, {"setuid", become_another},
                                     {"unshare", unshare_users}, {"again", come_again}, {"count", count_threads}};
  return run_command(commands, COUNT(commands), argc, argv);
}
