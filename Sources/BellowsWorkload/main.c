// bellows-workload SCENARIO [name=value ...]: one scenario under whatever malloc this process has.
//
// `page=FD` names the mapping that the tool shares; without it the program prints a line of its own at the end, so that
// it can be run by hand:  LD_PRELOAD=... bellows-workload spike seconds=5 threads=4 live=268435456
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <signal.h>
#include <unistd.h>

#include "workload-program.h"

static int shared = -1;

static int usage(const char *problem, const char *word) {
  fprintf(stderr, "bellows-workload: %s%s\nusage: bellows-workload SCENARIO [name=value ...]\nscenarios:", problem, word);
  for (const struct scenario *each = scenarios; each->name; each++) fprintf(stderr, " %s", each->name);
  fprintf(stderr, "\nnames: seconds threads seed live least most survivors verify limit trace page\n");
  return 64;
}

static bool set(char *word) {
  char *value = strchr(word, '='), *end;
  if (value == NULL) return false;
  *value++ = 0;
  if (strcmp(word, "trace") == 0) return settings.trace = value, true;
  if (strcmp(word, "seconds") == 0) return settings.seconds = strtod(value, &end), *end == 0 && settings.seconds > 0;
  uint64_t number = strtoull(value, &end, 10);
  if (*end != 0 || end == value) return false;
  struct {
    const char *name;
    uint64_t *place;
  } places[] = {
      {"threads", &settings.threads},     {"seed", &settings.seed},     {"live", &settings.live},
      {"least", &settings.least},         {"most", &settings.most},     {"survivors", &settings.survivors},
      {"verify", &settings.verify},       {"limit", &settings.limit},
  };
  for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
    if (strcmp(word, places[i].name) == 0) return *places[i].place = number, true;
  if (strcmp(word, "page") == 0) return shared = (int)number, true;
  return false;
}

static uint64_t clock_cost(void) {
  uint64_t begin = now();
  for (int i = 0; i < 1000; i++) now();
  return (now() - begin) / 1000;
}

static void wait_for(uint32_t state) {
  while (wl_load32(&page->state) < state) nanosleep(&(struct timespec){0, 1000000}, NULL);
}

int main(int count, char **words) {
  if (count < 2) return usage("which scenario", "");
  settings = (struct settings){.scenario = words[1], .seed = 1, .threads = 4, .live = 64 << 20, .least = 16,
                               .most = 1024, .survivors = 5, .seconds = 5};
  for (int i = 2; i < count; i++)
    if (!set(words[i])) return usage("not understood: ", words[i]);
  const struct scenario *scenario = scenarios;
  while (scenario->name && strcmp(scenario->name, settings.scenario) != 0) scenario++;
  if (scenario->name == NULL) return usage("no such scenario: ", words[1]);
  if (settings.threads < 1 || settings.threads >= WL_LANES || settings.least < 1 || settings.most < settings.least ||
      settings.most > 1 << 30 || settings.survivors > 100 || settings.live < settings.least)
    return usage("out of range: ", "threads 1 to 63, sizes 1 byte to 1 GiB, survivors 0 to 100 percent");

  // Ends with the tool, however the tool ends.
  if (shared >= 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE,
              shared < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, shared, 0);
  if (page == MAP_FAILED) return perror("bellows-workload: the shared page"), 3;
  page->version = WL_VERSION;
  page->size = sizeof *page;
  page->clock_cost = clock_cost();
  scenario->prepare();
  crew_start();
  wl_store32(&page->state, WL_READY);
  if (shared >= 0) wait_for(WL_GO);
  page->start = now();
  publish();
  scenario->run();
  publish();
  wl_store32(&page->state, WL_FINISHED);
  if (shared >= 0) {
    wait_for(WL_RELEASED);
  } else {
    uint64_t operations = 0, live = 0, damaged = 0;
    for (int i = 0; i < WL_LANES; i++) {
      operations += page->lane[i].operations;
      live += page->lane[i].allocated - page->lane[i].freed;
      damaged += page->lane[i].damaged;
    }
    printf("%s: %.2f s, %llu operations, %llu bytes live, %llu damaged, %llu children lost\n", settings.scenario, elapsed(),
           (unsigned long long)operations, (unsigned long long)live, (unsigned long long)damaged,
           (unsigned long long)page->lost);
  }
  // Threads may be waiting for work; the process ends as programs do, with the exit handlers.
  return 0;
}
