// Nothing is compiled here: the target is a header.
#include "workload.h"

_Static_assert(sizeof(struct wl_lane) == 128, "two cache lines");
_Static_assert(sizeof(struct wl_replay_step) == 24, "the layout of a file");
