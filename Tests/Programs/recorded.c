/* What `bellows record` must see: blocks with an alignment, and children. Prints each child's number.
 *
 *   recorded [children]
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sizes that nothing else here asks for, so that they are found again. */
enum { FIRST = 70001, PLAIN = 80001, CHILD = 90001, GRANDCHILD = 100001, PROGRAM = 110001 };

static void aligned(void) {
  void *block;
  for (size_t shift = 4; shift <= 21; shift++) {
    size_t alignment = (size_t)1 << shift;
    if (posix_memalign(&block, alignment, FIRST) != 0) abort();
    free(block);
    free(aligned_alloc(alignment, FIRST + 1));
    free(memalign(alignment, FIRST + 2));
  }
  volatile size_t odd = 48; /* made a power of two by the allocator */
  free(memalign(odd, FIRST + 3));
  free(valloc(FIRST + 4));
  free(malloc(PLAIN));
}

static void in_child(void *inherited) {
  free(inherited);
  for (int i = 0; i < 10; i++) free(malloc(CHILD));
  pid_t child = fork();
  if (child == 0) {
    free(malloc(GRANDCHILD));
    exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) _exit(1);
  printf("grandchild %d\n", (int)child);
  fflush(stdout);
  /* No exit handlers, as most forked children end. */
  _exit(0);
}

int main(int count, char **words) {
  if (count > 1 && strcmp(words[1], "program") == 0) {
    free(malloc(PROGRAM));
    return 0;
  }
  setvbuf(stdout, NULL, _IONBF, 0);
  aligned();
  if (count < 2) return 0;
  void *block = malloc(PLAIN + 1);
  pid_t child = fork();
  if (child == 0) in_child(block);
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) return 1;
  printf("child %d\n", (int)child);
  child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "recorded", "program", NULL);
    _exit(1);
  }
  if (waitpid(child, &status, 0) != child || status != 0) return 1;
  printf("program %d\n", (int)child);
  free(block);
  return 0;
}
