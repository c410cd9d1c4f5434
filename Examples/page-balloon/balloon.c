// A page balloon below malloc: a section joins the malloc heap of this program with nothing behind its pages; they become
// memory as the balloon lets them.
//
//   cc -O2 -o balloon Examples/page-balloon/balloon.c $(pkg-config --cflags --libs bellows) && ./balloon
#include <stdio.h>
#include <string.h>

#include "bellows.h"

// Weak, so that it also runs without the library, which is preloaded then.
#pragma weak bellows_balloon_create
#pragma weak bellows_balloon_destroy
#pragma weak bellows_balloon_add_section
#pragma weak bellows_balloon_deflate
#pragma weak bellows_balloon_inflate
#pragma weak bellows_balloon_figures

static void show(const char *what, struct bellows_balloon *balloon) {
  struct bellows_balloon_figures now;
  bellows_balloon_figures(balloon, &now, sizeof now);
  long resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%*d %ld", &resident) != 1) resident = 0;
  if (file) fclose(file);
  printf("%-40s held %4zu MiB, managed %4zu MiB, process resident %4ld MiB\n", what, now.held >> 20, now.managed >> 20,
         resident >> 8);
}

int main(void) {
  if (!bellows_balloon_create) {
    puts("malloc is not Bellows here: no balloon");
    return 0;
  }
  struct bellows_balloon *balloon;
  struct bellows_balloon_options options = {.floor = 8 << 20, .ignore_shortage = 1};
  int error = bellows_balloon_create(NULL, &options, sizeof options, &balloon);
  if (!error) error = bellows_balloon_add_section(balloon);
  if (error) {
    fprintf(stderr, "no balloon: %s\n", strerror(error));
    return 1;
  }
  show("a section came online into the balloon", balloon);
  size_t done;
  bellows_balloon_deflate(balloon, 64 << 20, &done);
  show("deflated by 64 MiB", balloon);
  bellows_balloon_inflate(balloon, 48 << 20, &done);
  show("inflated by 48 MiB", balloon);
  bellows_balloon_destroy(balloon);
  return 0;
}
