// growth OPS vectors|buffer: what arrays do that do not know their length. `vectors` pushes words onto 300
// arrays that double, and starts one anew at a random length; `buffer` grows one text to 64 MiB by an eighth
// at a time, writing as it goes. An operation is one realloc.
#include "bench.h"

typedef struct {
  uint64_t *words;
  uint32_t length, room, most;
} Vector;

static uint64_t grow_vectors(uint64_t ops) {
  enum { VECTORS = 300 };
  static Vector vectors[VECTORS];
  Random random = random_seeded(3);
  for (uint64_t done = 0; done < ops;) {
    Vector *vector = &vectors[random_below(&random, VECTORS)];
    if (vector->length >= vector->most) {
      free(vector->words);
      *vector = (Vector){.most = 4U << random_below(&random, 13)};
    }
    for (int i = 0; i < 32; i++) {
      if (vector->length == vector->room) {
        vector->room = vector->room == 0 ? 2 : vector->room * 2;
        vector->words = must(realloc(vector->words, vector->room * sizeof *vector->words));
        done++;
      }
      vector->words[vector->length++] = done;
    }
  }
  for (int i = 0; i < VECTORS; i++) free(vectors[i].words);
  return ops;
}

static uint64_t grow_buffer(uint64_t ops) {
  enum { MOST = 64 << 20 };
  for (uint64_t done = 0; done < ops;) {
    char *text = NULL;
    size_t length = 0, room = 4096;
    for (; room < MOST && done < ops; room += room / 8, done++) {
      text = must(realloc(text, room));
      memset(text + length, 'x', room - length);
      length = room;
    }
    keep(text);
    free(text);
  }
  return ops;
}

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  bool vectors = argument_is(argc, argv, 2, "vectors");
  Stopwatch start = stopwatch();
  uint64_t done = vectors ? grow_vectors(ops) : grow_buffer(ops);
  report(done, elapsed(start));
}
