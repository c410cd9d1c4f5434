// words OPS: text building. Words are copied, kept in chained lists, joined into growing lines, and a list is
// dropped whole when its line is full; an operation is one word.
#include "bench.h"

typedef struct Word {
  struct Word *next;
  char *text;
} Word;

enum { LISTS = 512, LINE = 3000 };
typedef struct {
  Word *words;
  char *line;
  size_t length, room;
} List;
static List lists[LISTS];

static void drop(List *list) {
  for (Word *word = list->words, *next; word != NULL; word = next) {
    next = word->next;
    free(word->text);
    free(word);
  }
  free(list->line);
  *list = (List){0};
}

static void add(List *list, const char *text, size_t length) {
  Word *word = must(malloc(sizeof *word));
  *word = (Word){list->words, must(malloc(length + 1))};
  memcpy(word->text, text, length);
  word->text[length] = 0;
  list->words = word;
  if (list->length + length + 1 > list->room) {
    list->room = (list->length + length + 1) * 3 / 2;
    list->line = must(realloc(list->line, list->room));
  }
  memcpy(list->line + list->length, text, length);
  list->length += length;
  list->line[list->length++] = ' ';
}

int main(int argc, char **argv) {
  uint64_t ops = argument(argc, argv, 1);
  Random random = random_seeded(5);
  char letters[256];
  for (int i = 0; i < 256; i++) letters[i] = (char)('a' + random_below(&random, 26));
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    uint64_t draw = random_next(&random);
    List *list = &lists[draw % LISTS];
    add(list, letters + (draw >> 32) % 192, 2 + (draw >> 20) % 40);
    if (list->length > LINE) drop(list);
  }
  Stopwatch taken = elapsed(start);
  for (int i = 0; i < LISTS; i++) drop(&lists[i]);
  report(ops, taken);
}
