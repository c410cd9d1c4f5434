// dlopen, without RTLD_DEEPBIND.
//
// The flag makes a plug-in look into its own libraries before the program's: libc is one of them, so it would have libc's malloc
// and the program ours, and each would free what the other handed out (PHP loads its extensions so; the sanitizers and other
// mallocs fail alike). Without it the plug-in shares the program's heap, and the rest of what the program exports.
//
// Everything else is libc's: the call is a jump, because libc's dlopen looks at who called it (for the run path, the
// namespace, $ORIGIN). dlmopen is left alone: a namespace of its own has a libc of its own.
#define _GNU_SOURCE
#include <dlfcn.h>

#include "bellows_process.h"

typedef void *open_function(const char *, int);

__attribute__((visibility("default"))) void *dlopen(const char *file, int mode) {
  static open_function *next;
  open_function *function = __atomic_load_n(&next, __ATOMIC_RELAXED);
  if (function == NULL) {
    // The next one's: another preloaded library's, or libc's. A look-up that succeeds allocates nothing.
    function = (open_function *)dlsym(RTLD_NEXT, "dlopen");
    if (function == NULL) return NULL;
    __atomic_store_n(&next, function, __ATOMIC_RELAXED);
  }
  if ((mode & RTLD_DEEPBIND) != 0 && !bellows_keeps_deep_binding()) mode &= ~RTLD_DEEPBIND;
  __attribute__((musttail)) return function(file, mode);
}
