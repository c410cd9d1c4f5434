// The header for readers in other processes (bellows_header.h says what it is for).
#include "bellows_header.h"
#include "bellows_process.h"

extern struct bellows_header bellows_process_header __attribute__((visibility("default")));

struct bellows_header bellows_process_header = {
    .magic = BELLOWS_HEADER_MAGIC,
    .layout = BELLOWS_HEADER_LAYOUT,
    .bytes = sizeof(struct bellows_header),
    .version = BELLOWS_VERSION_TEXT,
};

uintptr_t bellows_header_address(void) { return (uintptr_t)&bellows_process_header; }
