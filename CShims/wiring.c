// The globals of the process heap (bellows_shims.h says what each is for).
#include "bellows_shims.h"

struct bellows_hot_words bellows_hot_;

// Four classes a doubling, from 128 bytes to 32 KiB, behind eight of 16 bytes each (SizeClass.swift; a test compares).
// It lies in what the dynamic loader makes read-only after it has written there, of which a page is resident in any case.
#define QUARTER(d, q) [((4 + (q)) << ((d) + 1)) + 1 ... (5 + (q)) << ((d) + 1)] = 8 + 4 * (d) + (q)
#define DOUBLING(d) QUARTER(d, 0), QUARTER(d, 1), QUARTER(d, 2), QUARTER(d, 3)
__attribute__((section(".data.rel.ro"))) uint8_t bellows_classes_[BELLOWS_CLASS_STEPS] = {
    0, 0, 1, 2, 3, 4, 5, 6, 7, DOUBLING(0), DOUBLING(1), DOUBLING(2), DOUBLING(3),
    DOUBLING(4), DOUBLING(5), DOUBLING(6), DOUBLING(7),
};

const uint64_t bellows_empty_heap_[BELLOWS_EMPTY_HEAP_BYTES / 8];
uint8_t bellows_process_state_[BELLOWS_STATE_BYTES];

_Thread_local struct bellows_thread_words bellows_thread_ = {(uintptr_t)bellows_empty_heap_, 0, 0, 0, 0};
_Thread_local uint32_t bellows_ranks_held_;
