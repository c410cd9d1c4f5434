// An auditor (LD_AUDIT): it lives in a namespace of its own with a libc of its own, is called from
// inside the dynamic linker before the program starts, and allocates there.
#include <link.h>

#include "check.h"

static char *names[64];
static size_t count;

unsigned la_version(unsigned version) {
  free(malloc(100));
  return version < LAV_CURRENT ? version : LAV_CURRENT;
}
unsigned la_objopen(struct link_map *map, Lmid_t namespace, uintptr_t *cookie) {
  (void)namespace, (void)cookie;
  if (count < COUNT(names)) names[count++] = strdup(map->l_name);
  free(malloc(100000));
  return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
void la_preinit(uintptr_t *cookie) {
  (void)cookie;
  for (size_t i = 0; i < count; i++) free(names[i]);
}
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags,
                       const char *name) {
  (void)index, (void)from, (void)to, (void)flags, (void)name;
  free(malloc(64));
  return symbol->st_value;
}
