// Wrong uses of the heap, one per sub-command. Each prints the pointer that it is going to misuse,
// then does it; that the process survives is told apart by the line "survived".
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

#include "check.h"

static char in_data[64] = "static", in_bss[64];

static void *announced(void *pointer) {
  printf("pointer %#zx\n", (size_t)(uintptr_t)pointer);
  return laundered(pointer);
}
static char *block_of(size_t size) {
  char *block = malloc(size);
  CHECK(block != NULL);
  block[0] = block[size - 1] = 1;
  return laundered(block);
}
static void *from_another_thread(void *block) {
  free(block);
  return NULL;
}
static void free_elsewhere(void *block) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, from_another_thread, block) == 0);
  pthread_join(thread, NULL);
}
static void *unmapped(void) {
  void *page = own_memory(64 * KIB);
  munmap(page, 64 * KIB);
  return page;
}
static void *function_named(const char *name) {
  void *function = dlsym(RTLD_DEFAULT, name);
  CHECK(function != NULL, "%s", name);
  return function;
}

// Pointers that never came from malloc.
static void *foreign(const char *kind) {
  char in_stack[64];
  if (strcmp(kind, "null-page") == 0) return (void *)0x10;
  if (strcmp(kind, "wild") == 0) return (void *)0xdead00000000beef;
  if (strcmp(kind, "kernel") == 0) return (void *)0xffffffff81000000;
  if (strcmp(kind, "low") == 0) return (void *)0x7b0000100040;
  if (strcmp(kind, "unmapped") == 0) return unmapped();
  if (strcmp(kind, "mapped") == 0) return (char *)own_memory(64 * KIB) + 64;
  if (strcmp(kind, "stack") == 0) return laundered(in_stack + (16 - (uintptr_t)in_stack % 16) % 16);
  if (strcmp(kind, "data") == 0) return in_data;
  if (strcmp(kind, "bss") == 0) return in_bss;
  if (strcmp(kind, "code") == 0) return (void *)((uintptr_t)foreign & ~(uintptr_t)15);
  if (strcmp(kind, "odd") == 0) return (void *)0x7f0000000001;
  // Where the heap keeps its own records: near the start of the 128 MiB around a block.
  if (strcmp(kind, "records") == 0) return (void *)(((uintptr_t)block_of(100) & ~(128 * MIB - 1)) + 4160);
  if (strcmp(kind, "records-start") == 0) return (void *)((uintptr_t)block_of(100) & ~(128 * MIB - 1));
  // Memory of the heap that it never handed out.
  if (strcmp(kind, "never-given") == 0) return (void *)(((uintptr_t)block_of(100) | (128 * MIB - 1)) - 65535);
  CHECK(false, "no kind %s", kind);
}
// Pointers into live blocks.
static void *interior(const char *kind) {
  if (strcmp(kind, "large") == 0) return block_of(100000) + 4096;
  if (strcmp(kind, "large-16") == 0) return block_of(100000) + 16;
  if (strcmp(kind, "megabytes") == 0) return block_of(10 * MIB) + 5 * MIB;
  if (strcmp(kind, "huge") == 0) return block_of(100 * MIB) + 50 * MIB;
  if (strcmp(kind, "huge-16") == 0) return block_of(100 * MIB) + 16;
  if (strcmp(kind, "small") == 0) return block_of(200) + 16;
  if (strcmp(kind, "small-odd") == 0) return block_of(200) + 1;
  if (strcmp(kind, "middle") == 0) return block_of(20000) + 4096;
  CHECK(false, "no kind %s", kind);
}
static size_t size_named(const char *kind) {
  return strcmp(kind, "huge") == 0        ? 100 * MIB
         : strcmp(kind, "megabytes") == 0 ? 10 * MIB
         : strcmp(kind, "large") == 0     ? 100000
         : strcmp(kind, "middle") == 0    ? 20000
                                          : 64;
}

static void misuse(const char *how, void *pointer) {
  announced(pointer);
  if (strcmp(how, "free") == 0)
    free(pointer);
  else if (strcmp(how, "realloc") == 0)
    laundered(realloc(pointer, 5000));
  else if (strcmp(how, "usable-size") == 0)
    printf("usable %zu\n", malloc_usable_size(pointer));
  else
    ((void (*)(void *))function_named(how))(pointer);
}

// misuse foreign|interior KIND HOW
static void use_foreign(int argc, char **argv) {
  CHECK(argc == 2);
  misuse(argv[1], foreign(argv[0]));
}
static void use_interior(int argc, char **argv) {
  CHECK(argc == 2);
  misuse(argv[1], interior(argv[0]));
}

// double SIZE WHEN: freed twice at once, with another block freed between, by another thread.
static void use_double(int argc, char **argv) {
  CHECK(argc >= 2);
  size_t size = size_named(argv[0]);
  char *block = block_of(size), *neighbours[8];
  for (size_t i = 0; i < COUNT(neighbours); i++) neighbours[i] = block_of(size < MIB ? size : 64);
  const char *how = argc > 2 ? argv[2] : "free";
  if (strcmp(argv[1], "last") == 0) {
    free(block);
  } else if (strcmp(argv[1], "between") == 0) {
    free(block);
    for (size_t i = 0; i < COUNT(neighbours); i++) free(neighbours[i]);
  } else if (strcmp(argv[1], "freed-by-thread") == 0) {
    free_elsewhere(block);
  } else if (strcmp(argv[1], "by-thread") == 0) {
    free(block), free(neighbours[0]);
    announced(block);
    free_elsewhere(block);
    return;
  } else {
    CHECK(false, "no case %s", argv[1]);
  }
  misuse(how, block);
}

// sized FUNCTION SIZE WRONG: a block of SIZE bytes is freed as one of WRONG bytes.
static void use_sized(int argc, char **argv) {
  CHECK(argc == 3);
  size_t size = strtoul(argv[1], NULL, 0), wrong = strtoul(argv[2], NULL, 0);
  void *function = function_named(argv[0]);
  if (strcmp(argv[0], "free_aligned_sized") == 0) {
    void *block = announced(aligned_alloc(64, size));
    ((void (*)(void *, size_t, size_t))function)(block, 64, wrong);
  } else if (strstr(argv[0], "align_val_t") != NULL) {
    void *block = announced(((void *(*)(size_t, size_t))function_named("_ZnwmSt11align_val_t"))(size, 64));
    ((void (*)(void *, size_t, size_t))function)(block, wrong, 64);
  } else {
    void *block = announced(block_of(size));
    ((void (*)(void *, size_t))function)(block, wrong);
  }
}

// correct: the same functions used rightly, which no check may complain of.
static void correct(int argc, char **argv) {
  (void)argc, (void)argv;
  void (*free_sized_)(void *, size_t) = function_named("free_sized");
  void (*delete_)(void *, size_t) = function_named("_ZdlPvm");
  char *blocks[2000];
  uint64_t random = 1;
  for (size_t i = 0; i < COUNT(blocks); i++) {
    size_t size = i % 5 ? log_uniform(&random, 16) : log_uniform(&random, 12);
    blocks[i] = block_of(size);
    if (i % 3 == 0) free_sized_(blocks[i], size), blocks[i] = NULL;
    if (i % 3 == 1) delete_(blocks[i], size), blocks[i] = NULL;
    if (i % 7 == 2 && blocks[i] != NULL) free_elsewhere(blocks[i]), blocks[i] = NULL;
    if (i % 11 == 2 && blocks[i] != NULL) blocks[i] = realloc(blocks[i], size * 2);
  }
  for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
  for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 2) free(aligned_alloc(alignment, 100));
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"foreign", use_foreign},
                                     {"interior", use_interior},
                                     {"double", use_double},
                                     {"sized", use_sized},
                                     {"correct", correct}};
  // No buffer: stdio would allocate one, perhaps where a freed block was, and then it is a live block.
  setvbuf(stdout, NULL, _IONBF, 0);
  int status = run_command(commands, COUNT(commands), argc, argv);
  printf("survived\n");
  return status;
}
