// tree OPS: an ordered map as a treap. Node, key string and value are three blocks; each operation erases the
// key if it is there and else inserts it, so that the map holds about half of all keys.
#include "bench.h"

typedef struct Node {
  struct Node *left, *right;
  uint64_t priority;
  char *key, *value;
} Node;

static Node *merge(Node *a, Node *b) {
  if (a == NULL) return b;
  if (b == NULL) return a;
  if (a->priority > b->priority) {
    a->right = merge(a->right, b);
    return a;
  }
  b->left = merge(a, b->left);
  return b;
}

/// Splits into keys below `key` and the others.
static void split(Node *node, const char *key, Node **below, Node **rest) {
  if (node == NULL) {
    *below = *rest = NULL;
  } else if (strcmp(node->key, key) < 0) {
    split(node->right, key, &node->right, rest);
    *below = node;
  } else {
    split(node->left, key, below, &node->left);
    *rest = node;
  }
}

static void erase(Node **link) {
  Node *node = *link;
  *link = merge(node->left, node->right);
  free(node->key);
  free(node->value);
  free(node);
}

static void insert(Node **link, const char *key, Random *random) {
  Node *node = must(malloc(sizeof *node));
  size_t length = strlen(key) + 1;
  size_t room = 16 + random_below(random, 120);
  *node = (Node){.priority = random_next(random), .key = must(malloc(length)), .value = must(malloc(room))};
  memcpy(node->key, key, length);
  memset(node->value, 'v', room);
  while (*link != NULL && (*link)->priority > node->priority)
    link = strcmp((*link)->key, key) < 0 ? &(*link)->right : &(*link)->left;
  split(*link, key, &node->left, &node->right);
  *link = node;
}

int main(int argc, char **argv) {
  enum { KEYS = 20000 };
  uint64_t ops = argument(argc, argv, 1);
  Random random = random_seeded(11);
  Node *root = NULL;
  Stopwatch start = stopwatch();
  for (uint64_t i = 0; i < ops; i++) {
    // The number in digits, and a tail whose length depends on it.
    char key[40];
    uint32_t number = random_below(&random, KEYS);
    int length = 0;
    for (uint32_t rest = number * 2654435761U; rest != 0; rest /= 10) key[length++] = (char)('0' + rest % 10);
    for (uint32_t tail = number % 24; tail > 0; tail--) key[length++] = 'x';
    key[length] = 0;

    Node **link = &root;
    int order;
    while (*link != NULL && (order = strcmp((*link)->key, key)) != 0)
      link = order < 0 ? &(*link)->right : &(*link)->left;
    if (*link != NULL)
      erase(link);
    else
      insert(&root, key, &random);
  }
  Stopwatch taken = elapsed(start);
  while (root != NULL) erase(&root);
  report(ops, taken);
}
