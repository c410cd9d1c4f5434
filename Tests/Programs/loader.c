// Loading code late: the library itself by dlopen from many threads, and plug-ins whose malloc is
// another one.
//   loader late LIBRARY · loader deep-bind PLUGIN · loader plugins PLUGIN
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

#include "check.h"

static const char *path;
static pthread_barrier_t barrier;

static void use(void *library) {
  void *(*malloc_)(size_t) = (void *(*)(size_t))dlsym(library, "malloc");
  void *(*realloc_)(void *, size_t) = (void *(*)(void *, size_t))dlsym(library, "realloc");
  void (*free_)(void *) = (void (*)(void *))dlsym(library, "free");
  CHECK(malloc_ != NULL && realloc_ != NULL && free_ != NULL);
  CHECK((void *)(uintptr_t)malloc_ != (void *)(uintptr_t)malloc, "the library is preloaded: nothing is tested");
  void *blocks[200];
  for (size_t i = 0; i < COUNT(blocks); i++) {
    size_t size = i % 50 == 49 ? 3 * MIB : i * 37;
    CHECK((blocks[i] = malloc_(size)) != NULL);
    pattern_write(blocks[i], size, i);
    CHECK((blocks[i] = realloc_(blocks[i], size + 100)) != NULL);
    pattern_check_kept(blocks[i], size, size, i);
  }
  for (size_t i = 0; i < COUNT(blocks); i++) free_(blocks[i]);
}
static void *load_and_use(void *argument) {
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 3; i++) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL, "%s", dlerror());
    use(library);
    CHECK(dlclose(library) == 0);
  }
  return argument;  // and the thread ends after the library may have gone
}
static void late(int argc, char **argv) {
  CHECK(argc == 1);
  path = argv[0];
  for (int round = 0; round < 5; round++) {
    pthread_t threads[64];
    pthread_barrier_init(&barrier, NULL, 64);
    for (int i = 0; i < 64; i++) CHECK(pthread_create(&threads[i], NULL, load_and_use, NULL) == 0);
    for (int i = 0; i < 64; i++) pthread_join(threads[i], NULL);
  }
}

static void *(*plugin_make)(size_t), *(*plugin_make_aligned)(size_t, size_t), *(*plugin_malloc_address)(void);
static void (*plugin_free)(void *);
static void open_plugin(const char *name, int flags) {
  void *plugin = dlopen(name, RTLD_NOW | flags);
  CHECK(plugin != NULL, "%s", dlerror());
  plugin_make = (void *(*)(size_t))dlsym(plugin, "plugin_make");
  plugin_make_aligned = (void *(*)(size_t, size_t))dlsym(plugin, "plugin_make_aligned");
  plugin_malloc_address = (void *(*)(void))dlsym(plugin, "plugin_malloc_address");
  plugin_free = (void (*)(void *))dlsym(plugin, "plugin_free");
  CHECK(plugin_make && plugin_make_aligned && plugin_malloc_address && plugin_free);
}
static void all_are(const char *block, size_t size, char value) {
  for (size_t i = 0; i < size; i++) CHECK(block[i] == value, "byte %zu of %zu", i, size);
}
static void exchange(void) {
  const size_t sizes[] = {1, 24, 100, 1000, 5000, 40000, 100000, 200000, 3 * MIB, 40 * MIB};
  for (int round = 0; round < 3; round++)
    for (size_t i = 0; i < (round == 0 ? COUNT(sizes) : COUNT(sizes) - 2); i++) {
      size_t size = sizes[i];
      char *block = plugin_make(size);
      CHECK(block != NULL && malloc_usable_size(block) >= size);
      all_are(block, size, 'p');
      free(block);  // the plug-in's block, our free
      block = plugin_make(size);
      CHECK((block = realloc(block, size * 2)) != NULL, "size %zu", size);
      all_are(block, size, 'p');
      memset(block, 'q', size * 2);
      CHECK((block = realloc(block, size)) != NULL);
      all_are(block, size, 'q');
      free(block);
      block = plugin_make_aligned(256, size);
      all_are(block, size, 'p');
      free(block);
      plugin_free(plugin_make(size));  // its own block in its own free
    }
}
static void *exchange_in_thread(void *argument) {
  exchange();  // glibc's arena of this thread is not its main one
  return argument;
}
static void deep_bind(int argc, char **argv) {
  CHECK(argc == 1);
  open_plugin(argv[0], RTLD_DEEPBIND);
  void *malloc_here = dlsym(RTLD_DEFAULT, "malloc");
  printf("the plug-in's malloc is %s\n", plugin_malloc_address() == malloc_here ? "ours" : "another");
  exchange();
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, exchange_in_thread, NULL) == 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}
// An ordinary plug-in: one heap for all, blocks go both ways.
static void plugins(int argc, char **argv) {
  CHECK(argc == 1);
  open_plugin(argv[0], RTLD_LOCAL);
  exchange();
  for (size_t size = 1; size < 100 * MIB; size *= 5) plugin_free(malloc(size)), free(plugin_make(size));
}

int main(int argc, char **argv) {
  const struct command commands[] = {{"late", late}, {"deep-bind", deep_bind}, {"plugins", plugins}};
  return run_command(commands, COUNT(commands), argc, argv);
}
