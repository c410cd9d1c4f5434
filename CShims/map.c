#include "bellows_shims.h"
