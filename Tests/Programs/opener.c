// dlopen, a row for each way to call it, to be compared with libc's alone; and whose malloc a plug-in has that was opened with
// RTLD_DEEPBIND. usage: opener COMMAND FOLDER, where the plug-ins are in
#include <dlfcn.h>
#include <limits.h>

#include "check.h"

static const char *folder;

static const char *in_folder(const char *name) {
  static char paths[4][PATH_MAX];
  static unsigned next;
  char *path = paths[next++ % COUNT(paths)];
  snprintf(path, PATH_MAX, "%s/%s", folder, name);
  return path;
}

static void say(const char *what, const void *handle) {
  const char *error = dlerror();
  printf("%s: %s, %s\n", what, handle ? "a handle" : "NULL", error ? error : "no error");
  CHECK(dlerror() == NULL, "an error is told once");
}

static void rows(int argc, char **argv) {
  (void)argc, (void)argv;
  const int bindings[] = {0, RTLD_DEEPBIND};
  for (size_t i = 0; i < COUNT(bindings); i++) {
    int deep = bindings[i];
    const char *plugin = in_folder(deep ? "plugin.so" : "opening.so");
    printf("with%s RTLD_DEEPBIND\n", deep ? "" : "out");
    say("the program", dlopen(NULL, RTLD_NOW | deep));
    say("nothing", dlopen("", RTLD_NOW | deep));
    say("no such file", dlopen(in_folder("nothing.so"), RTLD_NOW | deep));
    say("no such name", dlopen("libnothing-of-the-kind.so.7", RTLD_LAZY | deep));
    say("no library", dlopen("/etc/passwd", RTLD_NOW | deep));
    say("no mode", dlopen(plugin, deep));
    say("bad mode", dlopen(plugin, 0x40000000 | deep));
    say("a neighbour that only another finds", dlopen("neighbour.so", RTLD_NOW | deep));
    say("not loaded", dlopen(plugin, RTLD_NOW | RTLD_NOLOAD | deep));
    void *handle = dlopen(plugin, RTLD_LAZY | RTLD_LOCAL | deep);
    say("loaded", handle);
    CHECK(handle != NULL);
    say("loaded already", dlopen(plugin, RTLD_NOW | RTLD_NOLOAD | deep));
    CHECK(dlopen(plugin, RTLD_NOW | deep) == handle);
    const char *symbol = deep ? "plugin_make" : "open_neighbour";
    say("its symbol, local", dlsym(RTLD_DEFAULT, symbol));
    say("its symbol, global", (dlopen(plugin, RTLD_NOW | RTLD_GLOBAL | deep), dlsym(RTLD_DEFAULT, symbol)));
    say("its other", dlsym(handle, "nothing_of_the_kind"));
    for (int open = 0; open < 4; open++) printf("closed %d\n", dlclose(handle));
  }
  dlopen("/nothing", RTLD_NOW);
  CHECK(dlopen(NULL, RTLD_NOW) != NULL && dlerror() == NULL, "an earlier error stays");
}

// The caller of libc's dlopen is who called ours: its run path and $ORIGIN are looked at.
static void caller(int argc, char **argv) {
  (void)argc, (void)argv;
  void *opening = dlopen(in_folder("opening.so"), RTLD_NOW);
  CHECK(opening != NULL, "%s", dlerror());
  void *(*open_neighbour)(const char *, int) = (void *(*)(const char *, int))dlsym(opening, "open_neighbour");
  CHECK(open_neighbour != NULL);
  say("found by the caller's run path", open_neighbour("neighbour.so", RTLD_NOW | RTLD_DEEPBIND));
  say("and without the flag", open_neighbour("neighbour.so", RTLD_LAZY));
  say("found beside the caller", open_neighbour("$ORIGIN/private/neighbour.so", RTLD_NOW | RTLD_DEEPBIND));
}

// Whose malloc the plug-in has.
static void whose(int argc, char **argv) {
  (void)argc, (void)argv;
  void *(*opened_early)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "opened_early");
  void *plugin = opened_early != NULL ? opened_early() : NULL;
  if (plugin == NULL) plugin = dlopen(in_folder("plugin.so"), RTLD_NOW | RTLD_DEEPBIND);
  CHECK(plugin != NULL, "%s", dlerror());
  void *(*address)(void) = (void *(*)(void))dlsym(plugin, "plugin_malloc_address");
  void *(*make)(size_t) = (void *(*)(size_t))dlsym(plugin, "plugin_make");
  void (*drop)(void *) = (void (*)(void *))dlsym(plugin, "plugin_free");
  bool shared = address() == dlsym(RTLD_DEFAULT, "malloc");
  printf("%s\n", shared ? "the program's" : "another");
  for (size_t size = 1; size < 200 * MIB; size *= 7) {
    free(make(size));
    if (shared) drop(malloc(size));
    drop(make(size));
  }
}

int main(int argc, char **argv) {
  CHECK(argc > 2);
  folder = argv[2];
  const struct command commands[] = {{"rows", rows}, {"caller", caller}, {"whose", whose}};
  return run_command(commands, COUNT(commands), argc, argv);
}
