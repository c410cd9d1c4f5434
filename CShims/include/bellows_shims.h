// The OS edge of Bellows.
#ifndef BELLOWS_SHIMS_H
#define BELLOWS_SHIMS_H
#include <stdbool.h>
#include <stdint.h>
#endif
