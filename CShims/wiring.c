// The globals of the process heap (bellows_shims.h says what each is for).
#include "bellows_shims.h"

struct bellows_hot_words bellows_hot_;
uint8_t bellows_classes_[BELLOWS_CLASS_STEPS];
const uint64_t bellows_empty_heap_[BELLOWS_EMPTY_HEAP_BYTES / 8];
uint8_t bellows_process_state_[BELLOWS_STATE_BYTES];

_Thread_local struct bellows_thread_words bellows_thread_ = {(uintptr_t)bellows_empty_heap_, 0};
_Thread_local uint32_t bellows_ranks_held_;
